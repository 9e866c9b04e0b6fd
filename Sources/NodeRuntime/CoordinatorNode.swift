import Cluster
import Diagnostics
import Glibc
import Messaging
import Optimization
import Reporting
import RunConfiguration
import Transport

/// Runs the coordinator of a run, which owns the run directory, until the run is over.
///
/// - Throws: what kept it from beginning; how the run ended otherwise is the result.
package func runCoordinator(_ options: NodeOptions) throws(Failure) -> RunEnding {
  let process = try NodeProcess(options)
  let settings = options.settings
  let security = try options.openSecurity(as: .coordinator)
  // Before there is a run directory, which a second try would find occupied.
  let tcp = try options.tcpAddress(port: settings.port, security)
  // One that takes the place of a killed one still has members to stop and sockets to remove.
  if options.formerExit == nil, let finished = try finishedRun(settings) {
    StandardError.write("descent-coordinator: \(finished.reason)\n")
    return finished
  }
  let job = try TrainingJob(settings: settings)
  try RunLimits.require(.coordinator, workers: settings.workers, plan: job.plan)
  let recorder = try RunRecorder.begin(job: job, options: options, role: "coordinator", process: process)
  do throws(Failure) {
    let ending = try coordinate(recorder, options, process, security, tcp)
    recorder.concludeStart(ending.status)
    return ending
  } catch {
    recorder.concludeStart(error.status)
    throw error
  }
}

/// - Parameter tcp: where the coordinator listens; nil for a socket of this host.
private func coordinate(
  _ recorder: RunRecorder, _ options: NodeOptions, _ process: NodeProcess, _ security: ConnectionSecurity,
  _ tcp: NodeAddress?
) throws(Failure) -> RunEnding {
  let start = recorder.start
  let transport = NodeTransport(
    role: .coordinator, incarnation: .draw(),
    context: try MessagingContext(security: security, lease: options.timing.lease))
  var address = ""
  var sockets: SocketDirectory?
  if let tcp {
    address = try transport.listen(at: tcp.listening, advertising: tcp.advertised)
  } else {
    let place = try SocketDirectory.listening(transport, of: recorder.paths, runIdentifier: start.runIdentifier)
    (sockets, address) = (place.directory, place.address)
  }
  let publication: AddressPublication
  do throws(Failure) {
    publication = try AddressPublication(
      address, runIdentifier: start.runIdentifier, launch: options.launch, in: recorder.paths)
  } catch {
    sockets?.remove()
    throw error
  }
  let abandon: @Sendable () -> Void = { [sockets] in
    publication.withdraw()
    sockets?.remove()  // defence: sockets
  }
  defer { abandon() }
  let mailbox = try Mailbox<CoordinatorMachine.Outcome>()
  let trace = options.traceRecorder(
    .coordinator, name: NodeProcess.fullName("coordinator"), transport.incarnation, in: recorder.paths.directory,
    tracks: CoordinatorShell.trackNames, spansPerStep: 2, log: recorder.log)
  defer { recorder.log.note(trace) }
  let shell = CoordinatorShell(recorder: recorder, mailbox: mailbox, kernel: process.kernel, trace: trace)
  let runner = RoleRunner(
    machine: machine(recorder.job, start, sharesMemory: sharesMemory(recorder)), transport: transport, mailbox: mailbox,
    signals: process.signals, log: recorder.log, fault: try FaultPoint(.coordinator),
    abandon: { [recordEnd = recorder.recordEnd] in
      abandon()
      recordEnd()  // defence: recorded-end
    },
    perform: {
      shell.perform($0)
      return nil
    })
  recorder.lock.notify { mailbox.post(.directoryLost($0)) }
  noteAddress(address, recorder, tcp)
  _ = runner.run()
  guard let ending = recorder.ending else { preconditionFailure("the coordinator ended before its run") }
  return ending
}

/// Says and records what was decided; warns of a name that other hosts know as another address.
///
/// - Parameters:
///   - address: what the others connect to.
///   - tcp: where the coordinator listens; nil for a socket of this host.
private func noteAddress(_ address: String, _ recorder: RunRecorder, _ tcp: NodeAddress?) {
  guard let listening = tcp?.listening else {
    return recorder.log.note(.info, event: "listening", "coordinator listening on \(address)")
  }
  let isElsewhere = (try? Endpoint(parsing: address))?.host != listening.host
  recorder.log.note(
    listening.isBeyondThisHost ? .notice : .info, event: "listening",
    isElsewhere
      ? "coordinator listening on \(listening.host ?? ""); the others connect to \(address)"
      : "coordinator listening on \(address)")
  recorder.listening(at: address)
  let bind = recorder.job.settings.bind
  guard Endpoint.tcp(host: bind, port: nil).isBeyondThisHost, !listening.isBeyondThisHost else { return }
  recorder.log.note(
    .warning, event: "bind_is_loopback",
    "\(bind) is \(listening.host ?? "") on this host, so only its own processes can connect: "
      + "to admit others, give --bind the address that they reach")
}

private func machine(_ job: TrainingJob, _ start: RunStart, sharesMemory: Bool) -> CoordinatorMachine {
  CoordinatorMachine(
    RunID(name: start.runIdentifier),
    controller: RunController(
      plan: job.plan, rule: job.stoppingRule, initial: start.state, checkpoint: start.checkpoint, best: start.best,
      isFork: start.checkpoint != nil && !start.isResumed, evaluatesTest: job.settings.test == .end),
    timing: Timing(job.settings),
    expectedWorkers: max(1, min(job.settings.workers, start.interruptedWorkers ?? job.settings.workers)),
    minimumWorkers: job.settings.minWorkers,
    datasetFingerprint: job.training.fingerprint, meanImage: Payload(concatenating: job.meanImage),
    checkpointInterval: job.settings.checkpointSeconds.map(Interval.seconds),
    sharesMemory: sharesMemory)
}

/// Whether server and workers are to share memory, which is a convenience: sockets carry every message as well. What keeps
/// them from it here, such as a sandbox without memfd_create(2), keeps them from it too.
private func sharesMemory(_ recorder: RunRecorder) -> Bool {
  guard recorder.job.settings.transport == .memory else { return false }
  do {
    let plan = recorder.job.plan
    _ = try MemoryChannels(
      weightsByteCount: plan.shape.parameterCount * MemoryLayout<Float>.stride, count: plan.weightsUnderWay)
    return true
  } catch {
    recorder.log.note(.warning, event: "memory_not_shared", error.description)  // defence: memory-refused
    return false
  }
}

/// Performs what the coordinator's machine requests. Evaluation and saving have a thread each, so that neither waits for
/// the other nor the loop for either; and both run at a lower priority than the workers of this host.
private struct CoordinatorShell {
  static let trackNames = ["evaluation", "saving"]

  let recorder: RunRecorder
  let mailbox: Mailbox<CoordinatorMachine.Outcome>
  let kernel: KernelVariant
  let trace: TraceRecorder?
  let evaluation = BackgroundThread("coordinator.evaluation")
  let saving = BackgroundThread("coordinator.saving")
  /// Waits where a network file system does not answer, and nothing else does.
  let watching = BackgroundThread("coordinator.data")

  func perform(_ request: CoordinatorMachine.Request) {
    switch request {
    case .evaluate(let serial, let split, let state, let step):
      if split == .test { recorder.trainingEnds() }
      let track = trace?.track(Self.trackNames[0])
      evaluation.perform { [job = recorder.job, kernel, mailbox] in
        let evaluation = track.recording(.evaluate, step: step) { job.evaluate(split, state, kernel) }
        // Only now is it known that the evaluation, and all steps before it, saw the data of the start.
        if let failure = job.dataFailure() {  // defence: data-watch
          mailbox.post(.dataVerified(failure, thoroughly: true))
        } else {
          mailbox.post(.evaluated(serial: serial, split, evaluation))
        }
      }
    case .verifyData(let thoroughly):
      watching.perform { [job = recorder.job, mailbox] in
        mailbox.post(.dataVerified(job.dataFailure(thoroughly: thoroughly), thoroughly: thoroughly))
      }
    case .write(let state, let isConfirmed):
      // Built here, where the recorder lives; the store is a value and goes along.
      let checkpoint = recorder.checkpoint(state)
      let (store, keepLast) = (recorder.store, recorder.job.settings.keepLast)
      let track = trace?.track(Self.trackNames[1])
      saving.perform { [job = recorder.job, mailbox] in
        if !isConfirmed, let failure = job.dataFailure() {
          mailbox.post(.dataVerified(failure, thoroughly: true))
          mailbox.post(.checkpointWritten(step: state.step, .failure(failure)))
          return
        }
        let result = track.recording(.save, step: state.step) {
          RunRecorder.save(checkpoint, in: store, keepLast: keepLast)
        }
        mailbox.post(.checkpointWritten(step: state.step, result))
      }
    case .observe(.membership(let epoch, let step, let workers)):
      recorder.membership(epoch, step: step, workers: workers)
    case .observe(.restarted(let name, let formerExit)): recorder.restarted(name, formerExit: formerExit)
    case .observe(.progress(let progress)):
      recorder.progress(
        step: progress.step, examples: progress.examples, loss: progress.loss, workers: progress.workers,
        slowWorker: progress.slowWorker)
    case .observe(.evaluated(let row)): recorder.evaluated(row)
    case .observe(.finished(let outcome)): recorder.finished(outcome)
    }
  }
}
