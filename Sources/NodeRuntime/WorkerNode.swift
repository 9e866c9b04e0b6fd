import CLinux
import Cluster
import Datasets
import Diagnostics
import Dispatch
import Glibc
import Messaging
import Optimization
import Reporting
import Synchronization
import Transport

/// Runs a worker until the coordinator, a signal or silence ends it.
///
/// Its training files must have the same bytes as the coordinator's.
/// - Parameter backend: computes other gradients than those of the data, for measuring what the rest of a worker costs.
/// - Throws: why it could not begin. Otherwise the result says why it ended.
package func runWorker(
  _ options: NodeOptions, backend: ((TrainingPlan) -> any GradientBackend)? = nil
) throws(Failure) -> ExitReason {
  let process = try NodeProcess(options)
  // Before the rendezvous, so that the files are checked while the others start.
  let dataset = try Dataset(directory: options.settings.dataDirectory, part: .training)
  try RunLimits.require(.worker, workers: options.settings.workers)
  guard let session = try CoordinatorSession(as: .worker, options, process) else { return options.endingOfWait() }
  let ending = try session.run { (incarnation) throws(Failure) in
    try work(session, incarnation, on: dataset) { plan, meanImage in
      backend?(plan) ?? dataset.backend(plan, meanImage: meanImage, kernel: process.kernel)
    }
  }
  // A thread that still computes may hold the context a moment longer than this process lives: the last messages must
  // leave before.
  session.context.end()
  session.security.credentials?.release()
  return ending
}

/// One incarnation of a worker, from its join to its end; nil when a signal came first.
private func work(
  _ session: CoordinatorSession, _ incarnation: Incarnation, on dataset: Dataset,
  makeBackend: @escaping WorkerShell.MakeBackend
) throws(Failure) -> RoleEnding? {
  let transport = session.transport(incarnation)
  guard try session.join(transport) else { return nil }
  let machine = WorkerMachine(
    incarnation: incarnation, name: session.name, processID: getpid(), host: NodeProcess.host,
    datasetFingerprint: dataset.fingerprint, formerExit: session.takeFormerExit(), resumeHint: session.resumeHint,
    timing: session.options.timing)
  let mailbox = try Mailbox<WorkerMachine.Outcome>()
  let trace = session.traceRecorder(
    incarnation, tracks: [WorkerShell.trackName, LoopTrace<WorkerMachine>.trackName], spansPerStep: 4)
  defer { session.log.note(trace) }
  let shell = WorkerShell(
    makeBackend: makeBackend, session: session, transport: transport, dataset: dataset,
    trace: trace?.track(WorkerShell.trackName))
  let runner = RoleRunner(
    machine: machine, transport: transport, mailbox: mailbox, signals: session.process.signals, log: session.log,
    fault: try FaultPoint(.worker), trace: trace.map { LoopTrace($0) }, perform: { shell.perform($0) },
    meanwhile: { shell.fetchAhead() })
  return WorkerThreads(runner: runner, shell: shell, mailbox: mailbox).run()
}

/// The two threads of a worker: one computes while the other exchanges messages, and they change roles by
/// `LeaderHandoff`, so that heartbeats never wait for a gradient. Unchecked because only the leader uses runner and shell.
private struct WorkerThreads: @unchecked Sendable {
  let runner: RoleRunner<WorkerMachine>
  let shell: WorkerShell
  let mailbox: Mailbox<WorkerMachine.Outcome>
  let handoff = LeaderHandoff()

  /// Runs the role to its end. A gradient that is still being computed then is discarded.
  func run() -> RoleEnding {
    DispatchQueue(label: "worker.0").async {
      Self.yieldToServer()
      self.runner.deliver(.begin)
      self.lead()
    }
    DispatchQueue(label: "worker.1").async {
      Self.yieldToServer()
      if self.handoff.waitToLead() { self.lead() }
    }
    handoff.waitForShutDown()
    return runner.finish()
  }

  /// A thread of this policy never takes the processor from the server as it wakes up. Otherwise the first worker with a
  /// reply could begin a gradient on the server's processor before the others have theirs, and hold up all of them for as
  /// long as it computes. Where the system refuses, that happens now and then.
  private static func yieldToServer() {
    var parameters = sched_param()
    sched_setscheduler(0, Int32(DESCENT_SCHED_BATCH), &parameters)
  }

  /// Runs the loop, and work in between, until the role has ended or the other thread has done both.
  private func lead() {
    while true {
      while !runner.hasEnded, !shell.hasWork { runner.turn() }
      if runner.hasEnded { return handoff.shutDown() }
      if !work() {
        guard handoff.waitToLead() else { return }
      }
    }
  }

  /// Does the next piece of work without leading; false if the other thread leads afterwards.
  ///
  /// A function of its own, never inlined, so that this thread keeps no reference to the work while it follows: the weights
  /// that a gradient was computed with lie in one of four slots of the memory shared with the server, which cannot write
  /// to it again as long as a reference exists.
  @inline(never)
  private func work() -> Bool {
    let work = shell.takeWork()
    handoff.yield()
    let outcome = shell.perform(work)
    let leads = handoff.tryReclaim()
    shell.workIsDone()
    if leads {
      if let outcome { runner.deliver(.outcome(outcome)) }
    } else {
      mailbox.post(outcome)
    }
    return leads
  }
}

/// Performs a worker's requests; the long ones are work that waits in a queue.
final class WorkerShell {
  enum Work {
    case prepare(TrainingPlan, meanImage: Payload)
    /// In the shared memory, where there is some.
    case compute(WorkItem, parameters: Payload, gradients: PayloadPool?)
  }

  /// Given the plan and the mean image, Float32 [pixels] in pixel units; nil for a plan that cannot be computed.
  typealias MakeBackend = (TrainingPlan, _ meanImage: Payload) -> (any GradientBackend)?

  static let trackName = "compute"

  private let makeBackend: MakeBackend
  /// Of the plan prepared last, with memory for gradients that are not shared.
  private var computation: (plan: TrainingPlan, backend: any GradientBackend, heap: PayloadPool)?
  private let session: CoordinatorSession
  private let transport: NodeTransport
  private let dataset: Dataset
  private let trace: TraceTrack?
  private var nextLookAtData = Instant(nanoseconds: 0)
  private var queue: [Work] = []
  /// One piece of work is done at a time; the thread that did it resets this without leading.
  private let isWorking = Atomic(false)
  private var gradientByteCount: Int?

  init(
    makeBackend: @escaping MakeBackend, session: CoordinatorSession, transport: NodeTransport, dataset: Dataset,
    trace: TraceTrack?
  ) {
    self.trace = trace
    self.makeBackend = makeBackend
    self.dataset = dataset
    self.session = session
    self.transport = transport
  }

  func perform(_ request: WorkerMachine.Request) -> RoleEnding? {
    switch request {
    case .member(let request): return session.perform(request, transport)
    case .connect(let server, let endpoint, let sharesMemory):
      session.connecting { () throws(Failure) in
        try transport.connectToServer(
          Endpoint(parsing: endpoint), server, sharingMemory: sharesMemory ? gradientByteCount : nil)
      }
    case .prepare(let plan, let meanImage):
      gradientByteCount = plan.shape.parameterCount * MemoryLayout<Int32>.stride
      queue.append(.prepare(plan, meanImage: meanImage))
    case .compute(let item, let parameters):
      queue.append(.compute(item, parameters: parameters, gradients: transport.gradients))
    }
    return nil
  }

  // MARK: Work

  /// Whether work waits and none is being done.
  var hasWork: Bool { !queue.isEmpty && !isWorking.load(ordering: .acquiring) }

  /// The next piece of work, for `perform`.
  func takeWork() -> Work {
    isWorking.store(true, ordering: .relaxed)
    return queue.removeFirst()
  }

  /// Does a piece of work, without leading; the result is what the machine waits for.
  func perform(_ work: Work) -> WorkerMachine.Outcome? {
    switch work {
    case .prepare(let plan, let meanImage):
      computation = makeBackend(plan, meanImage).map {
        (plan, $0, PayloadPool(byteCount: plan.shape.parameterCount * MemoryLayout<Int32>.stride, limit: 4))
      }
      return nil
    case .compute(let item, let parameters, let gradients):
      guard let trace else { return compute(item, parameters, gradients) }
      let began = Instant.now
      let outcome = compute(item, parameters, gradients)
      trace.record(.compute, step: item.step + 1, from: began, to: .now, item: item.id.value)
      return outcome
    }
  }

  /// Writes the gradient into the memory that it is sent from.
  /// - Parameters:
  ///   - parameters: Float32 [parameters].
  ///   - shared: memory that can be sent without a copy, if there is any.
  /// - Returns: nil for an item that does not fit the plan.
  private func compute(_ item: WorkItem, _ parameters: Payload, _ shared: PayloadPool?) -> WorkerMachine.Outcome? {
    guard let (plan, backend, heap) = computation,
      parameters.count == plan.shape.parameterCount * MemoryLayout<Float>.stride,
      item.shards.isSubset(of: plan.allShards)
    else { return nil }
    var statistics = MinibatchStatistics.zero
    let gradient = (shared ?? heap).make { target in
      statistics = parameters.withFloats(count: plan.shape.parameterCount) {
        backend.gradient(
          parameters: $0, step: item.step, shards: item.shards, scale: item.scale,
          into: target.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: Int32.self))
      }
    }
    if !statistics.isFinite || plan.hasSnapshot(after: item.step) || Instant.now >= nextLookAtData {
      nextLookAtData = .now + session.options.timing.heartbeat
      do throws(Failure) {
        try dataset.verify()  // defence: worker-data
      } catch {
        return .dataFailed(error)
      }
    }
    return .gradientReady(Message.Push(item: item, statistics: statistics, gradient: gradient))
  }

  /// Uses the time until the next piece of work. The other thread may be computing.
  func fetchAhead() {
    if !isWorking.load(ordering: .acquiring) { _ = computation?.backend.fetchAhead() }
  }

  func workIsDone() { isWorking.store(false, ordering: .releasing) }
}

extension Dataset {
  /// Computes the gradients of these examples; nil if the plan is for another number of examples or another model. The
  /// coordinator compares the fingerprints of the data before it sends a plan, so that plan is not of this run.
  fileprivate func backend(
    _ plan: TrainingPlan, meanImage: Payload, kernel: KernelVariant
  ) -> (any GradientBackend)? {
    guard plan.shape.classes == description.classes, plan.shape.pixels == description.pixels,
      plan.exampleCount == count,
      meanImage.count == plan.shape.pixels * MemoryLayout<Float>.stride
    else { return nil }
    return KernelBackend(
      plan: plan, examples: examples, meanImage: meanImage.elements(of: Float.self, count: plan.shape.pixels),
      kernel: kernel)
  }
}

extension TrainingPlan {
  /// Whether the plan has the weights evaluated or saved once this step is applied.
  fileprivate func hasSnapshot(after step: UInt64) -> Bool {
    step + 1 >= totalSteps || isEvaluationStep(step + 1) || isCheckpointStep(step + 1)
  }
}

extension Payload {
  /// The first `count` elements as floats: in place where the bytes are aligned for them, which received bytes need not
  /// be, otherwise a copy.
  func withFloats<Result>(count: Int, _ body: (UnsafePointer<Float>) -> Result) -> Result {
    precondition(bytes.count >= count * MemoryLayout<Float>.stride, "payload too short")
    if let base = bytes.baseAddress, Int(bitPattern: base) % MemoryLayout<Float>.alignment == 0 {
      return body(base.assumingMemoryBound(to: Float.self))
    }
    return elements(of: Float.self, count: count).withUnsafeBufferPointer { body($0.baseAddress.unsafelyUnwrapped) }
  }
}
