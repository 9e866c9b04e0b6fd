import Cluster
import Diagnostics
import Messaging
import Optimization
import Transport

private let serverIncarnation = Incarnation(1)

private func workerIncarnation(_ index: Int) -> Incarnation { Incarnation(10 + UInt64(index)) }

/// Server and workers that share memory, in one process and one thread: no message is ever waited for.
package struct MemoryCarrier {
  let server: MemoryChannels
  let workers: [MemoryChannels]
  let weights: PayloadPool
  let gradients: [PayloadPool]

  package init(workers count: Int) throws(Failure) {
    let byteCount = ModelShape.cifar10.parameterCount * MemoryLayout<Int32>.stride
    server = try MemoryChannels(weightsByteCount: byteCount, count: 4 * count + 2)
    weights = server.payloads(byteCount: byteCount)
    var workers: [MemoryChannels] = []
    for incarnation in (0..<count).map(workerIncarnation) {
      let worker = try MemoryChannels(worker: incarnation, gradientByteCount: byteCount)
      try server.attach(worker.offer, from: incarnation)
      try worker.attach(server.offer, from: serverIncarnation)
      workers.append(worker)
    }
    self.workers = workers
    gradients = workers.map { $0.payloads(byteCount: byteCount) }
  }

  /// Sends a push from a worker to the server.
  /// - Returns: what arrived.
  func transfer(_ push: Message, _ envelope: Envelope, from worker: Int) -> (Message, Envelope)? {
    guard workers[worker].send(push, envelope) == .sent, case .message(let arrived, let sealed)? = server.receive()
    else { return nil }
    return (arrived, sealed)
  }

  /// Sends work from the server to a worker.
  /// - Returns: what arrived.
  func transfer(_ work: Message, _ envelope: Envelope, to worker: Int) -> Message.Work? {
    guard server.send(work, envelope, to: workerIncarnation(worker)) == .sent,
      case .message(.work(let arrived), _)? = workers[worker].receive()
    else { return nil }
    return arrived
  }
}

/// A push and its answer through shared memory, both ends in turn: what the two processes spend on it.
package struct MemoryExchange: Piece {
  private let carrier: MemoryCarrier
  private var sequence: UInt64 = 0

  package init() throws(Failure) { carrier = try MemoryCarrier(workers: 1) }

  package var amount: Int { 1 }
  package var unit: String { "exchange" }

  package mutating func run() { _ = exchange(value: 1) }

  /// What arrived at the server, and at the worker.
  private mutating func exchange(value: Int32) -> (Message, Message.Work)? {
    let item = WorkItem(id: WorkItem.ID(sequence), step: 0, shards: ShardSet(range: 0..<8))
    let statistics = MinibatchStatistics(examples: 256, lossSum: 1, correct: 1, isFinite: true)
    let gradient = carrier.gradients[0].make { $0.storeBytes(of: value, as: Int32.self) }
    let push = Message.push(Message.Push(item: item, statistics: statistics, gradient: gradient))
    guard let (pushed, _) = carrier.transfer(push, envelope(push, from: workerIncarnation(0)), from: 0) else {
      return nil
    }
    let parameters = carrier.weights.make { $0.storeBytes(of: value, as: Int32.self) }
    let work = Message.work(Message.Work(item: item, parameters: parameters))
    guard let answered = carrier.transfer(work, envelope(work, from: serverIncarnation), to: 0) else { return nil }
    return (pushed, answered)
  }

  private mutating func envelope(_ message: Message, from sender: Incarnation) -> Envelope {
    sequence += 1
    return Envelope(
      type: message.type, run: RunID(1), membershipEpoch: MembershipEpoch(1), incarnation: sender, step: sequence,
      sequence: sequence)
  }

  package mutating func verify() throws(Failure) {
    for value in [3, 4, 5, 6, 7, 8] as [Int32] {
      guard case (.push(let push), let work)? = exchange(value: value),
        push.gradient.bytes.load(as: Int32.self) == value, work.parameters.bytes.load(as: Int32.self) == value,
        push.gradient.count == 4 * ModelShape.cifar10.parameterCount
      else { throw Failure(.internalError, "what was exchanged through memory did not arrive") }
    }
  }
}

/// One step of a cluster without what the workers compute: each pushes a gradient, the server adds them up, updates the
/// weights, and answers with new work.
package struct ServerStep: Piece {
  private let plan: TrainingPlan
  /// Nil where messages are handed over as they are.
  private let carrier: MemoryCarrier?
  /// Whether each worker takes longer than the one before it.
  private let isUneven: Bool
  /// Of so many shards; made when first needed.
  private var gradients: [Payload?]
  private var machine: ServerMachine
  private var actions: [ServerMachine.Action] = []
  /// What each worker was sent last.
  private var work: [(work: Message.Work, addressing: Addressing)?]
  private var steps: UInt64 = 0
  private var now = Instant(nanoseconds: 1)
  private var stepBegan = Instant(nanoseconds: 1)

  /// - Parameters:
  ///   - workers: a power of two, as many shards, or a divisor of them.
  ///   - batchSize: a power of two as well; nil for as many examples as shards.
  ///   - isUneven: the first worker answers after a microsecond, the next one after two, and so on: shards move from the
  ///     slow to the fast ones in every step. The model is then a small one, and what counts is the scheduling.
  package init(
    workers: Int, shards: Int? = nil, batchSize: Int? = nil, throughMemory: Bool = false, isUneven: Bool = false,
    kernel: KernelVariant
  ) throws(Failure) {
    let shards = shards ?? workers
    plan = try plainPlan(batchSize: batchSize ?? shards, shards: shards, exampleCount: 50_000) {
      if isUneven { $0.shape = ModelShape(classes: 2, pixels: 3) }
    }
    self.isUneven = isUneven
    let carrier = throughMemory ? try MemoryCarrier(workers: workers) : nil
    self.carrier = carrier
    gradients = Array(repeating: nil, count: shards + 1)
    work = Array(repeating: nil, count: workers)
    machine = ServerMachine(
      incarnation: serverIncarnation, endpoint: "", processID: 1, host: "", timing: Timing(), kernel: kernel,
      makePool: { byteCount, limit in carrier?.weights ?? PayloadPool(byteCount: byteCount, limit: limit) })
    handle(.begin)
    hear(.welcome(Message.Welcome(plan: plan, serverEndpoint: "", meanImage: .empty)))
    hear(.start(TrainingSnapshot(beginning: plan)))
    let each = shards / workers
    let members = (0..<workers).map {
      Message.Assignment.Member(
        incarnation: workerIncarnation($0), name: "worker-\($0 + 1)@host",
        shards: ShardSet(range: $0 * each..<($0 + 1) * each))
    }
    hear(.assignment(Message.Assignment(members: members)))
  }

  /// Through memory the gradients and weights of all workers.
  package var amount: Int {
    if isUneven { return work.count }
    let parameters = plan.shape.parameterCount
    return carrier == nil ? parameters : work.count * 2 * parameters * MemoryLayout<Int32>.stride
  }

  package var unit: String { isUneven ? "worker" : carrier == nil ? "parameter" : "byte" }

  package mutating func run() {
    stepBegan = now
    for worker in work.indices { push(from: worker) }
    steps += 1
  }

  /// Every weight has moved once for each step. What workers did not write into shared memory are zeros.
  package func verify() throws(Failure) {
    let expected = carrier == nil ? -Float(steps) * 0x1p-20 : 0
    guard steps > 0, machine.step == steps, let values = machine.trainingState?.parameters.values,
      values.allSatisfy({ $0 == expected })
    else { throw Failure(.internalError, "the server machine of \(work.count) workers has other weights") }
  }

  private mutating func push(from worker: Int) {
    guard let (work, addressing) = work[worker] else { return }
    self.work[worker] = nil
    let shards = work.item.shards.count
    let examples = shards * plan.examplesPerShard
    let push = Message.Push(
      item: work.item, statistics: MinibatchStatistics(examples: examples, lossSum: 1, correct: 0, isFinite: true),
      gradient: carrier?.gradients[worker].make { _ in } ?? gradient(ofShards: shards))
    let message = Message.push(push)
    let envelope = envelope(message, from: workerIncarnation(worker), addressing)
    if isUneven { now = stepBegan + .seconds(1e-6 * Double(worker + 1)) }
    guard let carrier else { return handle(.received(message, envelope)) }
    if let (arrived, sealed) = carrier.transfer(message, envelope, from: worker) { handle(.received(arrived, sealed)) }
  }

  private mutating func gradient(ofShards count: Int) -> Payload {
    if let known = gradients[count] { return known }
    let value = Int32(count) * plan.countingGradient(pushesPerStep: plan.shardCount)
    let made = Payload(concatenating: [Int32](repeating: value, count: plan.shape.parameterCount))
    gradients[count] = made
    return made
  }

  private func envelope(_ message: Message, from sender: Incarnation, _ addressing: Addressing) -> Envelope {
    Envelope(
      type: message.type, run: addressing.run, membershipEpoch: addressing.membershipEpoch, incarnation: sender,
      step: addressing.step, sequence: 1)
  }

  /// Hands over a message of the coordinator.
  private mutating func hear(_ message: Message) {
    let addressing = Addressing(run: RunID(1), membershipEpoch: MembershipEpoch(1), step: 0)
    handle(.received(message, envelope(message, from: Incarnation(2), addressing)))
  }

  private mutating func handle(_ event: ServerMachine.Event) {
    machine.handle(event, at: now, into: &actions)
    for case .send(.work(let sent), .node(.worker, let incarnation), let addressing) in actions {
      let worker = Int(incarnation.value - workerIncarnation(0).value)
      let message = Message.work(sent)
      let arrived =
        carrier.map { $0.transfer(message, envelope(message, from: serverIncarnation, addressing), to: worker) } ?? sent
      work[worker] = arrived.map { ($0, addressing) }
    }
    actions.removeAll(keepingCapacity: true)
  }
}
