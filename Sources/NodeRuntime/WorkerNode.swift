import Cluster
import Datasets
import Diagnostics
import Messaging
import Optimization
import Synchronization
import ZeroMQTransport

/// Runs a worker until the coordinator, a signal or silence ends it.
///
/// Its training files must have the same bytes as the coordinator's.
/// - Throws: what kept it from beginning; how it ended otherwise is the result.
public func runWorker(_ options: NodeOptions) throws(Failure) -> Message.Ending {
  try runWorker(options, in: NodeProcess(diesWithParent: options.diesWithParent))
}

/// The same with other gradients than those of the data, for measuring what the rest of a worker costs.
package func runWorker(
  _ options: NodeOptions, backend: @escaping (TrainingPlan) -> any GradientBackend
) throws(Failure) -> Message.Ending {
  try runWorker(options, in: NodeProcess(diesWithParent: options.diesWithParent), backend: backend)
}

package func runWorker(
  _ options: NodeOptions, in process: NodeProcess, backend: ((TrainingPlan) -> any GradientBackend)? = nil
) throws(Failure) -> Message.Ending {
  let security = try options.openSecurity(as: .worker)
  // Before the rendezvous, so that the files are checked while the others start.
  let dataset = try CIFAR10Dataset(directory: options.settings.dataDirectory, part: .training)
  guard let visit = try CoordinatorVisit(options, process) else { return .stoppedWhileWaiting }
  let log = try process.log(role: .worker, meeting: visit.meeting, options: options)
  let context = try MessagingContext(security: security, lease: options.timing.lease)
  let ending = try visit.repeating(log) { (visit, incarnation) throws(Failure) in
    try work(visit, incarnation, on: dataset, context, log) { plan, meanImage in
      backend?(plan) ?? dataset.backend(plan, meanImage: meanImage, kernel: process.kernel)
    }
  }
  // A thread of the crew may hold everything a moment longer than this process lives: the farewell must not wait for it.
  context.end()
  return ending
}

/// One incarnation of a worker, from its join to its end; nil when a signal came first.
private func work(
  _ visit: CoordinatorVisit, _ incarnation: Incarnation, on dataset: CIFAR10Dataset,
  _ context: MessagingContext, _ log: NodeLog, makeBackend: @escaping WorkerShell.MakeBackend
) throws(Failure) -> RoleEnding? {
  let transport = NodeTransport(role: .worker, incarnation: incarnation, context: context)
  guard try visit.join(transport) else { return nil }
  let machine = WorkerMachine(
    incarnation: incarnation, processID: visit.process.processID, host: visit.process.host,
    datasetFingerprint: dataset.fingerprint, timing: visit.options.timing)
  let mailbox = try Mailbox<WorkerMachine.Event>()
  let links = NodeLinks(sockets: transport, log: log)
  let shell = WorkerShell(makeBackend: makeBackend, visit: visit, links: links, log: log)
  let runner = RoleRunner(
    machine: machine, links: links, mailbox: mailbox, interruptions: visit.process.interruptions, shell: shell,
    log: log, fault: try visit.process.faultPoint(.worker))
  return try WorkerCrew(runner: runner, shell: shell, mailbox: mailbox).run()
}

/// The two threads of a worker: the one computes, the other talks, and they swap as it suits (`Helm`), so that heartbeats
/// never wait for a gradient. Unchecked because the helm decides who touches runner and shell.
private final class WorkerCrew: @unchecked Sendable {
  private let runner: RoleRunner<WorkerShell>
  private let shell: WorkerShell
  private let mailbox: Mailbox<WorkerMachine.Event>
  private let helm = Helm()

  init(runner: RoleRunner<WorkerShell>, shell: WorkerShell, mailbox: Mailbox<WorkerMachine.Event>) {
    self.runner = runner
    self.shell = shell
    self.mailbox = mailbox
  }

  /// Runs the role to its end. A gradient that is still being computed then is nobody's concern any more.
  func run() throws(Failure) -> RoleEnding {
    let threads = [try SerialThread(), try SerialThread()]
    threads[0].perform {
      self.runner.begin()
      self.serve()
    }
    threads[1].perform { if self.helm.standBy() { self.serve() } }
    helm.waitForEnd()
    return runner.finish()
  }

  /// At the helm, until all is over.
  private func serve() {
    while true {
      while !runner.hasEnded, !shell.hasWork { runner.turn() }
      if runner.hasEnded {
        helm.finish()
        return
      }
      if !work() {
        guard helm.standBy() else { return }
      }
    }
  }

  /// Does the next piece of work without having the helm; false if the other thread has it afterwards.
  ///
  /// A function of its own, never inlined, so that nothing of the work is left on this thread while it stands by: the
  /// weights that a gradient was computed with lie in one of four places of the memory shared with the server, which
  /// could not write to it again as long as somebody holds them.
  @inline(never)
  private func work() -> Bool {
    let work = shell.takeWork()
    helm.release()
    let event = shell.perform(work).map(WorkerMachine.Event.gradientReady)
    let isAtHelm = helm.retake()
    shell.workIsDone()
    if isAtHelm {
      if let event { runner.deliver(event) }
    } else {
      mailbox.post(event)
    }
    return isAtHelm
  }
}

/// What a worker's machine wants done, in the order in which it was asked for.
final class WorkerShell: NodeShell {
  typealias Machine = WorkerMachine
  typealias Ending = RoleEnding

  enum Work {
    case prepare(TrainingPlan, meanImage: Payload)
    /// In the shared memory, where there is some.
    case compute(GradientTask, gradients: PayloadPool?)
  }

  /// Given the plan and the mean image, Float32 [pixels] in pixel units; nil for a plan that cannot be computed.
  typealias MakeBackend = (TrainingPlan, _ meanImage: Payload) -> (any GradientBackend)?

  private let makeBackend: MakeBackend
  /// Of the plan prepared last.
  private var computation: TaskComputation?
  private let visit: CoordinatorVisit
  private let links: NodeLinks
  private let log: NodeLog
  private var queue: [Work] = []
  /// Of one piece of work at a time; whoever did it says so without having the helm.
  private let isWorking = Atomic(false)
  private var gradientByteCount: Int?

  init(makeBackend: @escaping MakeBackend, visit: CoordinatorVisit, links: NodeLinks, log: NodeLog) {
    self.makeBackend = makeBackend
    self.visit = visit
    self.links = links
    self.log = log
  }

  func perform(_ action: WorkerMachine.Action) -> RoleEnding? {
    switch action {
    case .send(let message, let destination, let addressing): links.send(message, to: destination, addressing)
    case .note(let level, let event, let text): log.note(level, event: event, text)
    case .connect(let endpoint, let sharesMemory):
      links.connectToServer(endpoint, sharingMemory: sharesMemory ? gradientByteCount : nil)
    case .prepare(let plan, let meanImage):
      gradientByteCount = plan.shape.parameterCount * MemoryLayout<Int32>.stride
      queue.append(.prepare(plan, meanImage: meanImage))
    case .compute(let task):
      queue.append(.compute(task, gradients: links.gradients))
    case .seekCoordinator: links.reconnectToCoordinator(visit.findCoordinator())
    case .rejoin(let reason):
      links.returnKey()
      return .superseded(reason: reason)  // defence: rejoin
    case .stop(let status, let reason):
      return .ended(Message.Ending(status: status, reason: reason))
    }
    return nil
  }

  func abandon() {}

  // MARK: Work

  /// Whether there is something to do that nobody does yet.
  var hasWork: Bool { !queue.isEmpty && !isWorking.load(ordering: .acquiring) }

  /// The next piece of work, for `perform`.
  func takeWork() -> Work {
    isWorking.store(true, ordering: .relaxed)
    return queue.removeFirst()
  }

  /// Does a piece of work, without the helm; the result is what the machine is waiting for.
  func perform(_ work: Work) -> ComputedGradient? {
    switch work {
    case .prepare(let plan, let meanImage):
      computation = makeBackend(plan, meanImage).map { TaskComputation(plan: plan, backend: $0) }
      return nil
    case .compute(let task, let gradients):
      return computation?.compute(task, gradients)
    }
  }

  func workIsDone() { isWorking.store(false, ordering: .releasing) }
}

/// Computes the tasks of one plan.
private final class TaskComputation {
  private let plan: TrainingPlan
  private let backend: any GradientBackend
  private let heap: PayloadPool

  init(plan: TrainingPlan, backend: any GradientBackend) {
    self.plan = plan
    self.backend = backend
    heap = PayloadPool(byteCount: plan.shape.parameterCount * MemoryLayout<Int32>.stride, limit: 4)
  }

  /// The gradient is written straight into the memory that it is sent from.
  /// - Parameter shared: memory that can be sent without a copy, if there is any.
  /// - Returns: nil for a task that does not fit the plan.
  func compute(_ task: GradientTask, _ shared: PayloadPool?) -> ComputedGradient? {
    guard task.parameters.count == plan.shape.parameterCount * MemoryLayout<Float>.stride,
      task.shards.isSubset(of: plan.allShards)
    else { return nil }
    var statistics = MinibatchStatistics.zero
    let gradient = (shared ?? heap).make { target in
      statistics = task.parameters.withFloats(count: plan.shape.parameterCount) {
        backend.gradient(
          parameters: $0, step: task.step, shards: task.shards,
          into: target.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: Int32.self))
      }
    }
    return ComputedGradient(ticket: task.ticket, statistics: statistics, gradient: gradient)
  }
}

extension CIFAR10Dataset {
  /// Computes the gradients of these examples; nil if the plan is for another number of examples or another model. The
  /// coordinator compares the fingerprints of the data before it sends a plan, so that plan is not of this run.
  fileprivate func backend(
    _ plan: TrainingPlan, meanImage: Payload, kernel: KernelVariant
  ) -> (any GradientBackend)? {
    guard plan.shape == .cifar10, plan.exampleCount == count,
      meanImage.count == plan.shape.pixels * MemoryLayout<Float>.stride
    else { return nil }
    return KernelBackend(
      plan: plan, examples: examples, meanImage: meanImage.elements(of: Float.self, count: plan.shape.pixels),
      kernel: kernel)
  }
}

extension Payload {
  /// The first `count` elements as floats: in place where the bytes are aligned for them, which what was received
  /// need not be, else a copy.
  func withFloats<Result>(count: Int, _ body: (UnsafePointer<Float>) -> Result) -> Result {
    precondition(bytes.count >= count * MemoryLayout<Float>.stride, "payload too short")
    if let base = bytes.baseAddress, Int(bitPattern: base) % MemoryLayout<Float>.alignment == 0 {
      return body(base.assumingMemoryBound(to: Float.self))
    }
    return elements(of: Float.self, count: count).withUnsafeBufferPointer { body($0.baseAddress.unsafelyUnwrapped) }
  }
}
