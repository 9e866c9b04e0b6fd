import Cluster
import Diagnostics
import Glibc
import Messaging
import Optimization
import SharedMemory

/// Server and workers that share memory, in one process and one thread: nobody ever has to wait.
struct MemoryCarrier {
  let server: ServerChannels
  let workers: [WorkerChannel]
  let weights: PayloadPool

  init(workers incarnations: [Incarnation]) throws(Failure) {
    let byteCount = ModelShape.cifar10.parameterCount * MemoryLayout<Int32>.stride
    server = try ServerChannels()
    weights = server.weights(byteCount: byteCount)
    var workers: [WorkerChannel] = []
    for incarnation in incarnations {
      let worker = try WorkerChannel(incarnation: incarnation, gradientByteCount: byteCount)
      let answer = try server.attach(
        worker.offer(processID: getpid()), worker: incarnation, processID: getpid())
      try worker.attach(answer, server: StepCase.server)
      workers.append(worker)
    }
    self.workers = workers
  }
}

/// One step of a cluster without what the workers compute: each pushes a gradient, the server adds them up, updates the
/// weights, and answers with new work.
struct StepCase: CountedCase {
  enum Carrier {
    /// Messages are handed over as they are.
    case none
    case memory(MemoryCarrier)
  }

  static let server = Incarnation(1)
  static let workers = [Incarnation(10), Incarnation(11)]
  private static let coordinator = Incarnation(2)
  private static let run = RunID(1)
  private static let epoch = MembershipEpoch(1)
  private static let batchSize = 64

  private let carrier: Carrier
  private var machine: ServerMachine
  private var actions: [ServerMachine.Action] = []
  /// What each worker was sent last.
  private var work: [(work: Message.Work, addressing: Addressing)?] = workers.map { _ in nil }
  private let gradient = Payload(concatenating: [Int32](repeating: 1, count: ModelShape.cifar10.parameterCount))

  init(carrier: Carrier, kernel: KernelVariant) {
    self.carrier = carrier
    let plan = plan(.softmaxCrossEntropy, batchSize: Self.batchSize, exampleCount: 4096)
    machine = ServerMachine(
      incarnation: Self.server, endpoint: "", processID: 1, host: "", timing: Timing(), kernel: kernel,
      makePool: { byteCount, limit in
        if case .memory(let memory) = carrier {
          memory.weights
        } else {
          PayloadPool(byteCount: byteCount, limit: limit)
        }
      })
    handle(.begin)
    let half = plan.shardCount / 2
    let assignment = Message.Assignment(members: [
      Message.Assignment.Member(incarnation: Self.workers[0], shards: ShardSet(range: 0..<half)),
      Message.Assignment.Member(incarnation: Self.workers[1], shards: ShardSet(range: half..<plan.shardCount)),
    ])
    hear(.welcome(Message.Welcome(rank: 0, plan: plan, serverEndpoint: "", meanImage: .empty)))
    hear(.start(TrainingSnapshot(beginning: plan)))
    hear(.assignment(assignment))
  }

  var amount: Int {
    let parameters = ModelShape.cifar10.parameterCount
    // Gradient and weights of every worker.
    if case .memory = carrier { return Self.workers.count * 2 * parameters * MemoryLayout<Int32>.stride }
    return parameters
  }

  var unit: String { if case .memory = carrier { "byte" } else { "parameter" } }

  mutating func repeatOnce(_ repetition: Int) {
    for index in Self.workers.indices { push(from: index) }
  }

  func complaint(after repetitions: Int) -> String? {
    machine.step == repetitions ? nil : "the server stands at step \(machine.step) after \(repetitions)"
  }

  private mutating func push(from index: Int) {
    guard let (work, addressing) = work[index] else { return }
    self.work[index] = nil
    let examples = work.item.shards.count * Self.batchSize / 16
    let push = Message.Push(
      item: work.item, statistics: MinibatchStatistics(examples: examples, lossSum: 1, correct: 0, isFinite: true),
      gradient: gradient(of: index))
    let message = Message.push(push)
    let envelope = envelope(message, from: Self.workers[index], addressing)
    guard case .memory(let memory) = carrier else {
      handle(.received(message, envelope))
      return
    }
    guard memory.workers[index].send(message, envelope) == .sent,
      case .message(let arrived, let sealed)? = memory.server.receive()
    else { return }
    handle(.received(arrived, sealed))
  }

  /// Where a worker would have computed it; what it is does not matter.
  private func gradient(of index: Int) -> Payload {
    if case .memory(let memory) = carrier { memory.workers[index].gradients.make { _ in } } else { gradient }
  }

  private func envelope(_ message: Message, from sender: Incarnation, _ addressing: Addressing) -> Envelope {
    Envelope(
      type: message.type, run: addressing.run, membershipEpoch: addressing.membershipEpoch, incarnation: sender,
      step: addressing.step, sequence: 1)
  }

  private mutating func hear(_ message: Message) {
    let addressing = Addressing(run: Self.run, membershipEpoch: Self.epoch, step: 0)
    handle(.received(message, envelope(message, from: Self.coordinator, addressing)))
  }

  private mutating func handle(_ event: ServerMachine.Event) {
    machine.handle(event, at: Instant(nanoseconds: 1), into: &actions)
    for action in actions {
      guard case .send(.work(let work), .node(.worker, let worker), let addressing) = action,
        let index = Self.workers.firstIndex(of: worker)
      else { continue }
      deliver(work, addressing, to: index)
    }
    actions.removeAll(keepingCapacity: true)
  }

  private mutating func deliver(_ work: Message.Work, _ addressing: Addressing, to index: Int) {
    guard case .memory(let memory) = carrier else {
      self.work[index] = (work, addressing)
      return
    }
    let message = Message.work(work)
    guard
      memory.server.send(message, envelope(message, from: Self.server, addressing), to: Self.workers[index]) == .sent,
      case .message(.work(let arrived), _)? = memory.workers[index].receive()
    else { return }
    self.work[index] = (arrived, addressing)
  }
}
