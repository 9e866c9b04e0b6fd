import Cluster
import Datasets
import Diagnostics
import Glibc
import Messaging
import Optimization
import SharedMemory

/// A plan with everything plain, for measuring: a constant learning rate of a half, no penalty, weights from zero.
func plainPlan(
  batchSize: Int, shards: Int, exampleCount: Int, consistency: ConsistencyModel = .bsp(backup: 0)
) throws(Failure) -> TrainingPlan {
  let steps: UInt64 = 1_000_000_000
  let plan = TrainingPlan(exampleCount: exampleCount, batchSize: batchSize, shardCount: shards, totalSteps: steps) {
    $0.learningRate.base = 0.5
    $0.consistency = consistency
  }
  try plan.validate()
  return plan
}

extension TrainingPlan {
  /// What every element of a push must be so that the pushes of one step together lower every weight of this plain plan
  /// by exactly 2⁻²⁰: with that, weights tell how many pushes went into them.
  func countingGradient(pushesPerStep: Int) -> Int32 {
    Int32(Double(fixedPointScale) * Double(batchSize) * 0x1p-20 / Double(learningRate.base) / Double(pushesPerStep))
  }
}

/// The gradient of one step after the other, drawn and gathered as in a training, on one thread.
final class GradientRun {
  private let rig: Rig
  private let plan: TrainingPlan
  private let shards: ShardSet
  private let backend: KernelBackend
  private let parameters: ParameterVector
  private var sum: [Int32]
  private var step: UInt64 = 0

  /// - Parameter computing: of these shards alone; nil for all.
  init(
    _ rig: Rig, kernel: KernelVariant, loss: Loss = .softmaxCrossEntropy, batchSize: Int, shards: Int,
    computing: ShardSet? = nil
  ) throws(Failure) {
    var plan = try plainPlan(batchSize: batchSize, shards: shards, exampleCount: rig.dataset.count)
    (plan.loss, plan.initialStandardDeviation) = (loss, 0.01)
    self.rig = rig
    self.plan = plan
    self.shards = computing ?? plan.allShards
    backend = KernelBackend(plan: plan, examples: rig.dataset.examples, meanImage: rig.mean, kernel: kernel)
    parameters = .initial(plan: plan)
    sum = [Int32](repeating: 0, count: plan.shape.parameterCount)
  }

  func run() {
    compute(with: backend, at: step)
    step += 1
  }

  private func compute(with backend: KernelBackend, at step: UInt64) {
    parameters.withUnsafePointer { parameters in
      _ = backend.gradient(parameters: parameters, step: step, shards: shards, into: &sum)
    }
  }

  /// The gradient must have the bits of the portable kernels and agree with the reference in double precision.
  func verify() throws(Failure) {
    compute(with: backend, at: 0)
    let computed = sum
    compute(
      with: KernelBackend(plan: plan, examples: rig.dataset.examples, meanImage: rig.mean, kernel: .portable), at: 0)
    guard sum == computed else { throw Failure(.internalError, "the gradient has other bits than the portable one") }
    var sampler = MinibatchSampler(split: DataSplit(plan: plan), batchSize: plan.batchSize, seed: plan.seed)
    let indices = shards.flatMap { sampler.minibatch(shard: $0, step: 0) }
    let exact = ReferenceTrainer(plan: plan).lossAndGradient(
      rig.dataset.examples.minibatch(at: indices, meanImage: rig.mean), at: parameters.values.map(Double.init)
    ).gradient
    let count = Double(indices.count)
    let error = zip(sum, exact).map { abs(Double($0) / Double(plan.fixedPointScale) - $1 * count) }.max() ?? .nan
    // Half a unit per shard, and floats of size up to the sum's.
    let allowed = Double(shards.count) * 0.5 / Double(plan.fixedPointScale) + count * 4e-6
    guard error <= allowed else {
      throw Failure(
        .internalError, "the gradient differs from double precision", found: "\(error)", expected: "\(allowed)")
    }
  }
}

/// The addition of one push to another, in integers and in floats.
final class Sums {
  private let kernel: KernelVariant
  private let integers: UnsafeMutableBufferPointer<Int32>
  private let floats: UnsafeMutableBufferPointer<Float>
  private let pushedFloats: [Float]
  /// As it lies in a message: at any address.
  private let pushed: UnsafeMutableRawPointer

  init(_ kernel: KernelVariant) {
    self.kernel = kernel
    let count = ModelShape.cifar10.parameterCount
    integers = .allocate(capacity: count)
    integers.initialize(repeating: 1)
    floats = .allocate(capacity: count)
    floats.initialize(repeating: 1)
    pushedFloats = [Float](repeating: 1, count: count)
    pushed = .allocate(byteCount: 4 * count + 1, alignment: 64)
    for index in 0..<count { (pushed + 1 + 4 * index).storeBytes(of: 1, as: Int32.self) }
  }

  deinit {
    integers.deallocate()
    floats.deallocate()
    pushed.deallocate()
  }

  func addIntegers() {
    kernel.add(UnsafeRawPointer(integers.baseAddress.unsafelyUnwrapped), pushed + 1, into: integers)
  }

  func addFloats() {
    pushedFloats.withUnsafeBufferPointer { pushed in
      for index in 0..<floats.count { floats[index] += pushed[index] }
    }
  }

  func verify() throws(Failure) {
    for _ in 0..<3 {
      addIntegers()
      addFloats()
    }
    guard integers.allSatisfy({ $0 == 4 }), floats.allSatisfy({ $0 == 4 }) else {
      throw Failure(.internalError, "the sums are wrong")
    }
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
      worker.offer(processID: getpid()), worker: incarnation, processID: getpid())
    try worker.attach(answer, server: serverIncarnation)
  }

  func run() { _ = exchange(value: 1) }

  /// What arrived at the server, and at the worker.
  private func exchange(value: Int32) -> (Message, Message)? {
    let shards = ShardSet(range: 0..<8)
    let statistics = MinibatchStatistics(examples: 256, lossSum: 1, correct: 1, isFinite: true)
    let gradient = worker.gradients.make { $0.storeBytes(of: value, as: Int32.self) }
    let push = Message.push(
      Message.Push(
        item: WorkItem(id: WorkItem.ID(sequence), step: 0, shards: shards), statistics: statistics, gradient: gradient))
    guard case .sent = worker.send(push, envelope(push, from: incarnation)),
      case .message(let pushed, _) = server.receive()
    else { return nil }
    let parameters = weights.make { $0.storeBytes(of: value, as: Int32.self) }
    let work = Message.work(
      Message.Work(item: WorkItem(id: WorkItem.ID(sequence), step: 0, shards: shards), parameters: parameters))
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
  private var machine: ServerMachine
  private var work: [WorkItem]
  private let gradient: Payload
  private var actions: [ServerMachine.Action] = []
  private var steps: UInt64 = 0

  /// - Parameter workers: a power of two.
  /// Verified: after some steps every weight has moved once for each.
  init(workers: Int, kernel: KernelVariant) throws(Failure) {
    let plan = try plainPlan(batchSize: workers, shards: workers, exampleCount: 50_000)
    work = Array(repeating: WorkItem(id: WorkItem.ID(0), step: 0, shards: ShardSet()), count: workers)
    let value = plan.countingGradient(pushesPerStep: workers)
    gradient = Payload(concatenating: [Int32](repeating: value, count: plan.shape.parameterCount))
    machine = ServerMachine(
      incarnation: Incarnation(2), endpoint: "", processID: 1, host: "", timing: Timing(), kernel: kernel)
    hear(.welcome(Message.Welcome(rank: 0, plan: plan, serverEndpoint: "", meanImage: .empty)), from: 1)
    hear(.start(TrainingSnapshot(beginning: plan)), from: 1)
    let members = (0..<workers).map {
      Message.Assignment.Member(incarnation: Incarnation(10 + UInt64($0)), shards: ShardSet(range: $0..<$0 + 1))
    }
    hear(.assignment(Message.Assignment(members: members)), from: 1)
    try verify()
  }

  /// One step: every worker answers the work it was given.
  func run() {
    for worker in work.indices {
      let statistics = MinibatchStatistics(examples: 1, lossSum: 1, correct: 0, isFinite: true)
      let push = Message.Push(
        item: work[worker], statistics: statistics,
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
    for case .send(.work(let work), .node(.worker, let worker), _) in actions {
      self.work[Int(worker.value) - 10] = work.item
    }
    actions.removeAll(keepingCapacity: true)
  }

  private func verify() throws(Failure) {
    for _ in 0..<10 { run() }
    let expected = -Float(steps) * 0x1p-20
    guard machine.step == steps, let values = machine.trainingState?.parameters.values,
      values.allSatisfy({ $0 == expected })
    else { throw Failure(.internalError, "the server machine of \(work.count) workers has other weights") }
  }
}
