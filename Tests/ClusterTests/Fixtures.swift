import Cluster
import Diagnostics
import Messaging
import Optimization
import TestSupport
import Testing

let run = RunID(7)
let coordinatorNumber = Incarnation(1)
let serverNumber = Incarnation(2)
let workerNumbers = [Incarnation(10), Incarnation(11), Incarnation(12)]
let dataset: UInt64 = 0xDA7A

/// 4 shards of 2 examples a step, no velocity, everything from zero.
func plan(
  _ consistency: ConsistencyModel = .bsp(backup: 0), steps: UInt64 = 10, evaluateEvery: UInt64 = 1_000,
  checkpointEvery: UInt64 = 1_000
) -> TrainingPlan {
  TrainingPlan(exampleCount: 100, batchSize: 8, shardCount: 4, totalSteps: steps) {
    $0.validationCount = 20
    $0.evaluateEvery = evaluateEvery
    $0.checkpointEvery = checkpointEvery
    $0.consistency = consistency
  }
}

func shards(_ numbers: Int...) -> ShardSet { ShardSet(numbers) }

/// One that moves every parameter by the same amount.
func gradient(of value: Int32 = 1, count: Int = ModelShape.cifar10.parameterCount) -> Payload {
  Payload(concatenating: [Int32](repeating: value, count: count))
}

/// A machine, its clock, and the envelopes of what it receives.
struct Stage<Machine: NodeMachine> {
  typealias Action = Machine.Action

  var machine: Machine
  var now = Instant(nanoseconds: 5_000_000_000)
  /// What goes onto the envelopes of what it hears.
  var epoch = MembershipEpoch(1)
  var written: Instant?

  init(_ machine: Machine) { self.machine = machine }

  mutating func happens(_ event: Machine.Event) -> [Action] {
    var actions: [Action] = []
    machine.handle(event, at: now, into: &actions)
    return actions
  }

  mutating func hears(
    _ message: Message, from sender: Incarnation, epoch: MembershipEpoch? = nil, step: UInt64 = 0
  ) -> [Action] {
    var envelope = Envelope(
      type: message.type, run: run, membershipEpoch: epoch ?? self.epoch, incarnation: sender, step: step,
      sequence: 0)
    envelope.written = written
    return happens(.received(message, envelope))
  }

  /// Lets time pass, and the machine look at the clock whenever it wants to.
  mutating func passes(_ interval: Interval, meanwhile: (inout Stage) -> [Action] = { _ in [] }) -> [Action] {
    let end = now + interval
    var actions: [Action] = []
    var inVain = 0
    while let deadline = machine.nextDeadline, deadline <= end {
      // A machine that never moves its deadline would keep its process busy for ever, and this test.
      inVain = deadline > now ? 0 : inVain + 1
      guard inVain < 1_000 else {
        Issue.record("a deadline that has passed stays the next one")
        break
      }
      now = max(now, deadline)
      actions += happens(.deadline)
      actions += meanwhile(&self)
    }
    now = end
    return actions
  }
}

/// A supervisor and its clock.
protocol SupervisionStage {
  associatedtype Machine: ProcessSupervisor
  var supervisor: Machine { get set }
  var now: Instant { get set }
}

extension SupervisionStage {
  mutating func happens(_ event: Supervisor.Event) -> [Supervisor.Action] {
    var actions: [Supervisor.Action] = []
    supervisor.handle(event, at: now, into: &actions)
    return actions
  }

  /// Lets time pass, and the supervisor look at the clock whenever it wants to.
  mutating func passes(_ interval: Interval) -> [Supervisor.Action] {
    let end = now + interval
    var actions: [Supervisor.Action] = []
    while let deadline = supervisor.nextDeadline, deadline <= end {
      now = max(now, deadline)
      actions += happens(.deadline)
    }
    now = end
    return actions
  }
}

/// What the tests read of an action.
protocol ReadableAction {
  var sent: (message: Message, to: Destination, addressing: Addressing)? { get }
  var noted: (event: String, text: String)? { get }
  var stopped: Diagnostics.ExitStatus? { get }
}

extension NodeAction: ReadableAction {
  var sent: (message: Message, to: Destination, addressing: Addressing)? {
    if case .send(let message, let to, let addressing) = self { (message, to, addressing) } else { nil }
  }
  var noted: (event: String, text: String)? {
    if case .note(_, let event, let text) = self { (event, text) } else { nil }
  }
  var stopped: Diagnostics.ExitStatus? { if case .stop(let status, _) = self { status } else { nil } }
}

extension [WorkerMachine.Action] {
  /// Whether the process rejoins as another incarnation.
  var rejoins: Bool { contains { if case .request(.member(.rejoin)) = $0 { true } else { false } } }
}

extension [ServerMachine.Action] {
  /// Whether the process rejoins as another incarnation.
  var rejoins: Bool { contains { if case .request(.rejoin) = $0 { true } else { false } } }
}

extension [CoordinatorMachine.Action] {
  var writes: [RunState] { compactMap { if case .request(.write(let state, _)) = $0 { state } else { nil } } }

  /// Serial numbers of the snapshots to evaluate.
  func evaluations(_ wanted: EvaluationSplit) -> [UInt64] {
    compactMap { if case .request(.evaluate(let serial, wanted, _, _)) = $0 { serial } else { nil } }
  }

  var outcome: RunOutcome? {
    compactMap { if case .request(.observe(.finished(let outcome))) = $0 { outcome } else { nil } }.last
  }
}

extension Array where Element: ReadableAction {
  var sent: [(message: Message, to: Destination, addressing: Addressing)] {
    compactMap(\.sent)
  }

  func work(for worker: Incarnation) -> (work: Message.Work, addressing: Addressing)? {
    for case (.work(let work), .node(.worker, worker), let addressing) in sent { return (work, addressing) }
    return nil
  }

  var snapshots: [(snapshot: Message.Snapshot, step: UInt64)] {
    sent.compactMap { if case .snapshot(let snapshot) = $0.message { (snapshot, $0.addressing.step) } else { nil } }
  }

  var end: Diagnostics.ExitStatus? { compactMap(\.stopped).last }

  /// Whether the coordinator answers that it does not know the node.
  func isStranger(_ destination: Destination) -> Bool {
    sent.contains { if case .notAMember = $0.message { $0.to == destination } else { false } }
  }

  func ending(for destination: Destination) -> ExitReason? {
    for case (let message, destination, _) in sent {
      switch message {
      case .refusal(let ending), .stop(let ending): return ending
      default: continue
      }
    }
    return nil
  }

  var assignments: [(Message.Assignment, MembershipEpoch)] {
    sent.compactMap {
      if case .assignment(let value) = $0.message { (value, $0.addressing.membershipEpoch) } else { nil }
    }
  }

  func notes(_ event: String) -> [String] { compactMap(\.noted).filter { $0.event == event }.map(\.text) }
}

/// A worker that the coordinator has welcomed.
func joinedWorker() -> Stage<WorkerMachine> {
  var worker = Stage(
    WorkerMachine(
      incarnation: workerNumbers[0], name: "worker-1", processID: 1, host: "host", datasetFingerprint: dataset,
      resumeHint: "Resume it", timing: Timing()))
  _ = worker.happens(.begin)
  let welcome = Message.Welcome(plan: plan(), serverEndpoint: "ipc://server", meanImage: .empty)
  _ = worker.hears(.welcome(welcome), from: coordinatorNumber)
  return worker
}

/// A server that runs with the given members.
struct ServerStage {
  var stage: Stage<ServerMachine>
  let plan: TrainingPlan
  /// What each worker was sent last.
  private(set) var work: [Incarnation: (work: Message.Work, addressing: Addressing)] = [:]
  private(set) var snapshots: [(snapshot: Message.Snapshot, step: UInt64)] = []

  init(
    _ plan: TrainingPlan, members: [(Incarnation, ShardSet)], incarnation: Incarnation = serverNumber,
    state: OptimizerState? = nil, processors: Int = .max
  ) {
    self.plan = plan
    stage = Stage(
      ServerMachine(
        incarnation: incarnation, endpoint: "ipc://server", processID: 1, host: "host", timing: Timing(),
        processors: processors, kernel: .best))
    _ = stage.happens(.begin)
    _ = stage.hears(
      .welcome(Message.Welcome(plan: plan, serverEndpoint: "", meanImage: .empty)), from: coordinatorNumber)
    var start = TrainingSnapshot(beginning: plan)
    if let state { start.state = state }
    _ = stage.hears(.start(start), from: coordinatorNumber)
    _ = assign(members, epoch: 1)
  }

  private mutating func note(_ actions: [ServerMachine.Action]) -> [ServerMachine.Action] {
    for case (.work(let work), .node(_, let worker), let addressing) in actions.sent {
      self.work[worker] = (work, addressing)
    }
    snapshots += actions.snapshots
    return actions
  }

  mutating func passes(_ interval: Interval) -> [ServerMachine.Action] { note(stage.passes(interval)) }

  mutating func assign(_ members: [(Incarnation, ShardSet)], epoch: UInt64) -> [ServerMachine.Action] {
    let assignment = Message.Assignment(
      members: members.map {
        Message.Assignment.Member(incarnation: $0.0, name: "worker-\($0.0.value)@host", shards: $0.1)
      })
    return note(stage.hears(.assignment(assignment), from: coordinatorNumber, epoch: MembershipEpoch(epoch)))
  }

  mutating func hears(_ message: Message, from sender: Incarnation, epoch: UInt64 = 1, step: UInt64 = 0)
    -> [ServerMachine.Action]
  {
    note(stage.hears(message, from: sender, epoch: MembershipEpoch(epoch), step: step))
  }

  /// The worker answers the work it was sent last; `change` makes it answer otherwise.
  mutating func push(
    _ worker: Incarnation, change: (inout Message.Push, inout Addressing) -> Void = { _, _ in }
  ) -> [ServerMachine.Action] {
    guard let (work, addressing) = work[worker] else { return [] }
    return push(worker, answering: work, addressing, change: change)
  }

  mutating func push(
    _ worker: Incarnation, answering work: Message.Work, _ addressing: Addressing,
    change: (inout Message.Push, inout Addressing) -> Void = { _, _ in }
  ) -> [ServerMachine.Action] {
    var addressing = addressing
    var push = Message.Push(
      item: work.item,
      statistics: MinibatchStatistics(
        examples: work.item.shards.count * plan.examplesPerShard, lossSum: 1, correct: 0, isFinite: true),
      gradient: gradient())
    change(&push, &addressing)
    // As the codec would.
    push.item.step = addressing.step
    return hears(.push(push), from: worker, epoch: addressing.membershipEpoch.value, step: addressing.step)
  }

  var step: UInt64 { stage.machine.step }
  /// Shards of the open step that are in.
  var received: ShardSet { scheduler?.received ?? ShardSet() }
  var scheduler: WorkScheduler? { stage.machine.dataPlane?.scheduler }
}

/// A coordinator.
func coordinatorStage(
  _ plan: TrainingPlan, workers: Int = 1, minimum: Int = 1, rule: StoppingRule = StoppingRule(),
  initial: RunState? = nil
) -> Stage<CoordinatorMachine> {
  var stage = Stage(
    CoordinatorMachine(
      run,
      controller: RunController(plan: plan, rule: rule, initial: initial ?? RunState(beginning: plan), checkpoint: nil),
      timing: Timing(), expectedWorkers: workers, minimumWorkers: minimum, datasetFingerprint: dataset,
      meanImage: .empty,
      checkpointInterval: nil))
  _ = stage.happens(.begin)
  // The state before the first step.
  if (initial?.step ?? 0) == 0 { _ = stage.evaluated(0) }
  return stage
}

func join(_ role: NodeRole, name: String? = nil, dataset: UInt64 = dataset, formerExit: String = "") -> Message {
  .join(
    Message.Join(
      role: role, name: name ?? (role == .worker ? "worker-1" : "\(role)"), processID: 1, host: "host",
      datasetFingerprint: role == .worker ? dataset : 0, endpoint: role == .server ? "ipc://server" : "",
      formerExit: formerExit))
}

extension Stage<CoordinatorMachine> {
  /// The server and these workers join, and the training begins.
  mutating func gather(_ workers: [Incarnation]) -> [Action] {
    var actions = hears(join(.server), from: serverNumber)
    actions += hears(.heartbeat(Message.Heartbeat(isReady: true)), from: serverNumber)
    for worker in workers { actions += hears(join(.worker), from: worker) }
    return actions
  }

  mutating func heartbeats(from nodes: [Incarnation]) -> [Action] {
    let heartbeat = Message.Heartbeat(isReady: true) { $0.assignmentEpoch = MembershipEpoch(99) }
    return nodes.flatMap { hears(.heartbeat(heartbeat), from: $0) }
  }

  mutating func snapshot(
    _ serial: UInt64, step: UInt64, _ occasion: Message.Snapshot.Occasion, plan: TrainingPlan
  ) -> [Action] {
    var training = TrainingSnapshot(beginning: plan)
    training.step = step
    training.shardClocks = Array(repeating: step, count: plan.shardCount)
    training.totals.examples = step * UInt64(plan.batchSize)
    let snapshot = Message.Snapshot(
      serial: serial, occasion: occasion, training: training, interval: .zero, gradientNorm: 1, stepSecondsP50: 0,
      stepSecondsP99: 0)
    return hears(.snapshot(snapshot), from: serverNumber, step: step)
  }

  mutating func evaluated(_ serial: UInt64, correct: Int = 0, loss: Int64 = 1 << 24) -> [Action] {
    let evaluation = Evaluation(
      MinibatchStatistics(examples: 20, lossSum: 20 * loss, correct: correct),
      confusion: Array(repeating: 0, count: 100))
    return happens(.outcome(.evaluated(serial: serial, .validation, evaluation)))
  }
}
