import Cluster
import Diagnostics
import Dispatch
import Glibc
import Messaging
import Optimization
import RunConfiguration
import Synchronization
import ZeroMQTransport

/// Runs the coordinator of a run, which owns the run directory, until the run is over.
///
/// - Throws: what kept it from beginning; how the run ended otherwise is the result.
public func runCoordinator(_ options: NodeOptions) throws(Failure) -> RunEnding {
  try runCoordinator(options, in: NodeProcess(diesWithParent: options.diesWithParent))
}

package func runCoordinator(_ options: NodeOptions, in process: NodeProcess) throws(Failure) -> RunEnding {
  let settings = options.settings
  let security = try options.openSecurity(as: .coordinator)
  // Before there is a run directory, which a second try would find occupied.
  if case .tcp = settings.transport {
    try Endpoint.coordinator(settings).requireProtection(by: security)
  }
  let job = try TrainingJob(settings: settings)
  let recorder = try RunRecorder(job: job, options: options, role: "coordinator")
  let context = try MessagingContext(security: security, lease: .seconds(settings.leaseSeconds))
  let node = try CoordinatorNode(
    job: job, recorder: recorder, launch: options.launch, context: context, process: process)
  return node.run()
}

extension Endpoint {
  /// Where a coordinator with these settings listens over TCP.
  fileprivate static func coordinator(_ settings: ResolvedSettings) -> Endpoint {
    .tcp(host: settings.bind, port: settings.port)
  }
}

/// A coordinator with its socket, its run directory, and the threads that evaluate and save for it.
final class CoordinatorNode {
  private let recorder: RunRecorder
  private let sockets: SocketDirectory?
  private let publication: Rendezvous.Publication
  private let runner: RoleRunner<CoordinatorShell>
  private let shell: CoordinatorShell

  init(
    job: TrainingJob, recorder: RunRecorder, launch: String?, context: MessagingContext, process: NodeProcess
  ) throws(Failure) {
    self.recorder = recorder
    let transport = NodeTransport(role: .coordinator, incarnation: process.incarnation, context: context)
    let identifier = recorder.start.runIdentifier
    let endpoint: Endpoint
    switch job.settings.transport {
    case .memory, .ipc:
      let directory = try SocketDirectory(
        of: recorder.paths, runIdentifier: identifier, environment: NodeProcess.environment)
      sockets = directory
      endpoint = try directory.coordinator
    case .tcp:
      sockets = nil
      endpoint = .coordinator(job.settings)
    }
    let address = try transport.listen(at: endpoint)
    publication = try Rendezvous.publish(
      address, runIdentifier: identifier, launch: launch, in: recorder.paths)
    let mailbox = try Mailbox<CoordinatorMachine.Event>()
    let links = NodeLinks(sockets: transport, log: recorder.log)
    let shell = try CoordinatorShell(
      job: job, recorder: recorder, links: links, mailbox: mailbox, publication: publication, sockets: sockets,
      kernel: process.kernel)
    self.shell = shell
    let machine = CoordinatorMachine(
      configuration: Self.configuration(job, recorder.start), incarnation: process.incarnation)
    runner = RoleRunner(
      machine: machine, links: links, mailbox: mailbox, interruptions: process.interruptions, shell: shell,
      log: recorder.log, fault: try process.faultPoint(.coordinator))
    recorder.note(.debug, event: "listening", "coordinator listening on \(address)")
  }

  private static func configuration(_ job: TrainingJob, _ start: RunStart) -> CoordinatorConfiguration {
    CoordinatorConfiguration(
      run: RunID(name: start.runIdentifier),
      controller: RunController(
        plan: job.plan, rule: job.stoppingRule, initial: start.state, checkpoint: start.checkpoint),
      timing: Timing(job.settings),
      expectedWorkers: max(1, min(job.settings.workers, start.interruptedWorkers ?? job.settings.workers)),
      datasetFingerprint: job.training.fingerprint, meanImage: Payload(concatenating: job.meanImage),
      checkpointInterval: job.settings.checkpointSeconds.map(Interval.seconds),
      sharesMemory: job.settings.transport == .memory)
  }

  func run() -> RunEnding {
    let ended = runner.run()
    publication.withdraw()
    sockets?.remove()  // defence: sockets
    return shell.ending ?? RunEnding(status: ended.status, reason: ended.reason)
  }
}

/// Performs what the coordinator's machine asks for. Evaluation and saving have a thread each, so that neither waits
/// for the other nor the loop for either; and both run at a lower priority than the workers of this host.
private final class CoordinatorShell: NodeShell {
  typealias Machine = CoordinatorMachine

  private let recorder: RunRecorder
  private let links: NodeLinks
  private let mailbox: Mailbox<CoordinatorMachine.Event>
  private let publication: Rendezvous.Publication
  private let sockets: SocketDirectory?
  private let evaluation = BackgroundThread("coordinator.evaluation")
  private let saving = BackgroundThread("coordinator.saving")
  private let evaluators: Evaluators
  /// How the run ended; nil before.
  private(set) var ending: RunEnding?

  init(
    job: TrainingJob, recorder: RunRecorder, links: NodeLinks, mailbox: Mailbox<CoordinatorMachine.Event>,
    publication: Rendezvous.Publication, sockets: SocketDirectory?, kernel: KernelVariant
  ) throws(Failure) {
    self.recorder = recorder
    self.links = links
    self.mailbox = mailbox
    self.publication = publication
    self.sockets = sockets
    evaluators = Evaluators(job, kernel: kernel)
  }

  func perform(_ action: CoordinatorMachine.Action) -> ExitReason? {
    switch action {
    case .send(let message, let destination, let addressing): links.send(message, to: destination, addressing)
    case .note(let level, let event, let text): recorder.note(level, event: event, text)
    case .evaluate(let serial, let split, let state):
      if split == .test { recorder.trainingEnds() }
      evaluation.perform { [evaluators, mailbox] in
        mailbox.post(.evaluated(serial: serial, split, evaluators.evaluate(split, state)))
      }
    case .write(let state):
      // Built here, where the recorder lives; the store is a value and goes along.
      let checkpoint = recorder.checkpoint(state)
      let (store, keepLast) = (recorder.store, recorder.job.settings.keepLast)
      saving.perform { [mailbox] in
        let result = RunRecorder.save(checkpoint, in: store, keepLast: keepLast)
        mailbox.post(.checkpointWritten(step: state.step, result))
      }
    case .observe(let observation):
      observe(observation)
    case .stop(let status, let reason):
      return ExitReason(status: status, reason: reason)
    }
    return nil
  }

  private func observe(_ observation: Observation) {
    switch observation {
    case .membership(let epoch, let step, let workers):
      recorder.membership(epoch, step: step, workers: workers)
    case .progress(let progress):
      recorder.progress(
        step: progress.step, examples: progress.examples, loss: progress.loss, workers: progress.workers)
    case .evaluated(let row): recorder.evaluated(row)
    case .finished(let outcome): ending = recorder.finished(outcome)
    }
  }

  func abandon() {
    publication.withdraw()
    sockets?.remove()
  }
}

/// Runs jobs in the order in which they arrive, on one thread that yields to the threads of other processes. One thread
/// for all jobs, because its priority stays with it and faults are injected into the calls of a thread. The thread ends
/// after the jobs that are left when this object is released.
private final class BackgroundThread: Sendable {
  private final class Jobs: Sendable {
    let waiting = Mutex<[@Sendable () -> Void]>([])
    let available = DispatchSemaphore(value: 0)

    /// The next job; nil once there are none left and there will be no others.
    func next() -> (@Sendable () -> Void)? {
      available.wait()
      return waiting.withLock { $0.isEmpty ? nil : $0.removeFirst() }
    }
  }

  private let jobs = Jobs()

  init(_ label: String) {
    DispatchQueue(label: label).async { [jobs] in
      // Priorities of Linux threads, where 0 is the calling one.
      let process = __priority_which_t(PRIO_PROCESS.rawValue)
      if getpriority(process, 0) < 10 { setpriority(process, 0, 10) }
      while let job = jobs.next() { job() }
    }
  }

  deinit { jobs.available.signal() }

  func perform(_ job: @escaping @Sendable () -> Void) {
    jobs.waiting.withLock { $0.append(job) }
    jobs.available.signal()
  }
}
