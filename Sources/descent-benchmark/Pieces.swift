import Cluster
import Datasets
import Diagnostics
import Glibc
import Messaging
import Optimization
import SharedMemory

let ownProcessID = getpid()

/// Gradients of the real examples, on one thread.
final class GradientPieces {
  private let dataset: CIFAR10Dataset
  private let mean: [Float]
  private let parameters: [Float]
  private let kernel: KernelVariant

  init(_ suite: Suite) throws(Failure) {
    kernel = suite.machine.kernel
    dataset = try CIFAR10Dataset(directory: suite.data, part: .training)
    mean = dataset.meanImage(over: (0..<UInt32(dataset.count)).map { $0 })
    var plan = try plainPlan(batchSize: 16, shards: 16, exampleCount: dataset.count)
    plan.initialStandardDeviation = 0.01
    parameters = ParameterVector.initial(plan: plan).values
  }

  /// The variant of the kernel that runs must give the bits of the portable one.
  func verify() throws(Failure) {
    let plan = try plan(batchSize: 32, shards: 4)
    let sums = [kernel, .portable].map { variant in
      let kernel = KernelBackend(plan: plan, examples: dataset.examples, meanImage: mean, kernel: variant)
      var sum = [Int32](repeating: 0, count: plan.shape.parameterCount)
      parameters.withUnsafeBufferPointer {
        _ = kernel.gradient(
          parameters: $0.baseAddress.unsafelyUnwrapped, step: 0, shards: plan.allShards, into: &sum)
      }
      return sum
    }
    guard sums[0] == sums[1], sums[0].contains(where: { $0 != 0 }) else {
      throw Failure(.internalError, "the gradient has other bits than the portable one")
    }
  }

  /// The gradient of so many examples of so many shards, of another step every time.
  func run(shards: Int, examples: Int) -> () -> Void {
    guard let plan = try? plainPlan(batchSize: examples, shards: shards, exampleCount: dataset.count) else {
      preconditionFailure("no plan of \(examples) examples in \(shards) shards")
    }
    return run(plan, shards: plan.allShards)
  }

  /// The gradient of some of a plan's shards.
  func run(_ plan: TrainingPlan, shards: ShardSet) -> () -> Void {
    let kernel = KernelBackend(plan: plan, examples: dataset.examples, meanImage: mean, kernel: kernel)
    var sum = [Int32](repeating: 0, count: plan.shape.parameterCount)
    var step: UInt64 = 0
    return { [parameters] in
      _ = parameters.withUnsafeBufferPointer {
        kernel.gradient(parameters: $0.baseAddress.unsafelyUnwrapped, step: step, shards: shards, into: &sum)
      }
      step += 1
    }
  }

  /// A plan for these examples.
  func plan(batchSize: Int, shards: Int) throws(Failure) -> TrainingPlan {
    try plainPlan(batchSize: batchSize, shards: shards, exampleCount: dataset.count)
  }
}

/// A push and its answer through shared memory, both ends in turn on one thread: what the two processes spend on it.
final class MemoryExchange {
  private let worker: WorkerChannel
  private let server: ServerChannels
  private let weights: PayloadPool
  private let incarnation = Incarnation(3)
  private let serverIncarnation = Incarnation(2)
  private var sequence: UInt64 = 0

  init() throws(Failure) {
    let byteCount = ModelShape.cifar10.parameterCount * 4
    worker = try WorkerChannel(incarnation: incarnation, gradientByteCount: byteCount)
    server = try ServerChannels()
    weights = server.weights(byteCount: byteCount)
    let answer = try server.attach(
      worker.offer(processID: ownProcessID), worker: incarnation, processID: ownProcessID)
    try worker.attach(answer, server: serverIncarnation)
  }

  func run() { _ = exchange(value: 1) }

  /// What arrived at the server, and at the worker.
  private func exchange(value: Int32) -> (Message, Message)? {
    let shards = ShardSet(range: 0..<8)
    let statistics = MinibatchStatistics(examples: 256, lossSum: 1, correct: 1, isFinite: true)
    let gradient = worker.gradients.make { $0.storeBytes(of: value, as: Int32.self) }
    let push = Message.push(Message.Push(ticket: sequence, shards: shards, statistics: statistics, gradient: gradient))
    guard case .sent = worker.send(push, envelope(push, from: incarnation)),
      case .message(let pushed, _) = server.receive()
    else { return nil }
    let parameters = weights.make { $0.storeBytes(of: value, as: Int32.self) }
    let work = Message.work(Message.Work(ticket: sequence, shards: shards, parameters: parameters))
    guard case .sent = server.send(work, envelope(work, from: serverIncarnation), to: incarnation),
      case .message(let answered, _) = worker.receive()
    else { return nil }
    return (pushed, answered)
  }

  private func envelope(_ message: Message, from sender: Incarnation) -> Envelope {
    sequence += 1
    return Envelope(
      type: message.type, run: RunID(1), membershipEpoch: MembershipEpoch(1), incarnation: sender, step: sequence,
      sequence: sequence)
  }

  func verify() throws(Failure) {
    for value in [3, 4, 5, 6, 7, 8] as [Int32] {
      guard case (.push(let push), .work(let work))? = exchange(value: value),
        push.gradient.bytes.load(as: Int32.self) == value, work.parameters.bytes.load(as: Int32.self) == value,
        push.gradient.count == 4 * ModelShape.cifar10.parameterCount
      else { throw Failure(.internalError, "what was exchanged through memory did not arrive") }
    }
  }
}

/// A server machine whose workers all push once for each step; the messages take no way.
final class ServerStep {
  private let plan: TrainingPlan
  private var machine: ServerMachine
  private var work: [(ticket: UInt64, step: UInt64)]
  private let gradient: Payload
  private var actions: [ServerMachine.Action] = []
  private var steps: UInt64 = 0

  /// - Parameter workers: a power of two.
  init(workers: Int, kernel: KernelVariant) {
    guard let plan = try? plainPlan(batchSize: workers, shards: workers, exampleCount: 50_000) else {
      preconditionFailure("no plan for \(workers) workers")
    }
    self.plan = plan
    work = Array(repeating: (0, 0), count: workers)
    let value = plan.countingGradient(pushesPerStep: workers)
    gradient = Payload(concatenating: [Int32](repeating: value, count: plan.shape.parameterCount))
    machine = ServerMachine(
      incarnation: Incarnation(2), endpoint: "", processID: 1, host: "", timing: Cluster.Timing(), kernel: kernel)
    hear(.welcome(Message.Welcome(rank: 0, plan: plan, serverEndpoint: "", meanImage: .empty)), from: 1)
    hear(.start(TrainingSnapshot(beginning: plan)), from: 1)
    let members = (0..<workers).map {
      Message.Assignment.Member(incarnation: Incarnation(10 + UInt64($0)), shards: ShardSet(range: $0..<$0 + 1))
    }
    hear(.assignment(Message.Assignment(members: members)), from: 1)
  }

  /// One step: every worker answers the work it was given.
  func run() {
    for worker in work.indices {
      let statistics = MinibatchStatistics(examples: 1, lossSum: 1, correct: 0, isFinite: true)
      let push = Message.Push(
        ticket: work[worker].ticket, shards: ShardSet(range: worker..<worker + 1), statistics: statistics,
        gradient: gradient)
      hear(.push(push), from: 10 + UInt64(worker), step: work[worker].step)
    }
    steps += 1
  }

  private func hear(_ message: Message, from sender: UInt64, step: UInt64 = 0) {
    let envelope = Envelope(
      type: message.type, run: RunID(1), membershipEpoch: MembershipEpoch(1), incarnation: Incarnation(sender),
      step: step, sequence: 0)
    machine.handle(.received(message, envelope), at: Instant(nanoseconds: 1 + steps), into: &actions)
    for case .send(.work(let work), .node(.worker, let worker), let addressing) in actions {
      self.work[Int(worker.value) - 10] = (work.ticket, addressing.step)
    }
    actions.removeAll(keepingCapacity: true)
  }

  /// After some steps every weight must have moved once for each.
  func verify() throws(Failure) {
    for _ in 0..<10 { run() }
    let expected = -Float(steps) * 0x1p-20
    guard machine.step == steps, let values = machine.trainingState?.parameters.values,
      values.allSatisfy({ $0 == expected })
    else { throw Failure(.internalError, "the server machine of \(work.count) workers has other weights") }
  }
}
