import Cluster
import Messaging
import Testing

// Testing has one as well.
import enum Diagnostics.ExitStatus

private let killed = ProcessExit.signal(9)

private func exited(_ status: ExitStatus) -> ProcessExit { .status(status.rawValue) }

/// A supervisor of workers that join, with its clock.
private struct JoinStage: SupervisionStage {
  var supervisor: JoinSupervisor
  var now = Instant(nanoseconds: 5_000_000_000)

  init(workers: Int = 2) {
    supervisor = JoinSupervisor(workers: workers, timing: Timing(), host: "host")
    _ = happens(.begin)
  }

  mutating func exits(_ worker: Int, _ exit: ProcessExit) -> [Supervisor.Action] {
    happens(.exited(.worker(worker), exit))
  }
}

extension [Supervisor.Action] {
  fileprivate var exitCode: Int32? {
    compactMap { if case .stop(let code) = $0 { code } else { nil } }.last
  }

  fileprivate var notes: String {
    compactMap { if case .note(_, _, let text) = $0 { text } else { nil } }.joined(separator: "\n")
  }
}

@Suite struct JoinSupervisorTests {
  @Test func `the workers are started, numbered from the first`() {
    var supervisor = JoinSupervisor(workers: 2, first: 4, timing: Timing(), host: "host")
    var actions: [Supervisor.Action] = []
    supervisor.handle(.begin, at: Instant(nanoseconds: 1), into: &actions)
    #expect(actions == [.start(.worker(4), isRestart: false), .start(.worker(5), isRestart: false)])
    #expect(supervisor.nextDeadline == nil)
  }

  @Test(arguments: [killed, exited(.fenced), exited(.unavailable)])
  func `a worker that was killed, fenced or heard nothing is restarted alone`(exit: ProcessExit) {
    var stage = JoinStage()
    #expect(stage.exits(1, exit).notes.contains("worker-2@host"))
    #expect(stage.passes(.seconds(0)) == [.start(.worker(1), isRestart: true)])
    #expect(stage.passes(.seconds(1_000)).isEmpty)
  }

  @Test func `the run has finished: 0, though another worker is about to be restarted`() {
    var stage = JoinStage()
    _ = stage.exits(0, killed)
    _ = stage.passes(.seconds(0))
    _ = stage.exits(0, killed)
    #expect(stage.exits(1, exited(.success)).exitCode == 0)
  }

  @Test func `the run has finished and a worker does not notice: it is told, then killed, and the status is 0`() {
    var stage = JoinStage()
    #expect(stage.exits(0, exited(.success)).isEmpty)
    let told = stage.passes(Timing().lastWorkerGrace)
    #expect(told == [.signal(.worker(1), 15)])
    #expect(stage.passes(Timing().killDelay) == [.killAll])
    #expect(stage.exits(1, killed).exitCode == 0)
  }

  @Test func `the run was interrupted: 75`() {
    var stage = JoinStage()
    #expect(stage.exits(0, exited(.stoppedBySignal)).isEmpty)
    #expect(stage.exits(1, exited(.stoppedBySignal)).exitCode == 75)
  }

  @Test func `no coordinator twice in a row: 69, and one line that names the first worker`() {
    var stage = JoinStage()
    var actions: [Supervisor.Action] = []
    for round in 0..<2 {
      stage.now = stage.now + .seconds(30)
      for worker in 0..<2 { actions = stage.exits(worker, exited(.unavailable)) }
      if round == 0 { _ = stage.passes(.seconds(4)) }
    }
    #expect(actions.exitCode == 69)
    #expect(
      actions.notes
        == "worker-1@host, the first of 2 workers to fail, exited with status 69 (a peer is missing)")
  }

  @Test func `a failure that a restart cannot cure is not restarted, and the others go on`() {
    var stage = JoinStage()
    #expect(stage.exits(0, exited(.missingInput)).isEmpty)
    #expect(stage.supervisor.nextDeadline == nil)
    let actions = stage.exits(1, exited(.refused))
    #expect(actions.exitCode == 66)
    #expect(
      actions.notes.contains("worker-1@host, the first of 2 workers to fail, exited with status 66 (missing input)"))
  }

  @Test func `a worker that keeps being killed ends the command with 70`() {
    var stage = JoinStage(workers: 1)
    for _ in RestartPolicy.delays {
      _ = stage.exits(0, killed)
      #expect(stage.passes(.seconds(2)).contains(.start(.worker(0), isRestart: true)))
    }
    #expect(stage.exits(0, killed).exitCode == 70)
  }

  @Test func `a signal is passed on, its copy is not, and the status is 75`() {
    var stage = JoinStage()
    #expect(stage.happens(.stopRequested(signal: 15)) == [.signal(.worker(0), 15), .signal(.worker(1), 15)])
    #expect(stage.happens(.stopRequested(signal: 15)).isEmpty)
    #expect(stage.exits(0, exited(.stoppedBySignal)).isEmpty)
    // It would have been restarted.
    #expect(stage.exits(1, killed).exitCode == 75)
  }

  @Test func `a deliberate second signal: passed on, then everything is killed, with 128 and its number`() {
    var stage = JoinStage()
    _ = stage.happens(.stopRequested(signal: 15))
    _ = stage.passes(.seconds(2))
    #expect(stage.happens(.stopRequested(signal: 2)) == [.signal(.worker(0), 2), .signal(.worker(1), 2)])
    #expect(stage.passes(Timing().abortGrace).contains(.killAll))
    _ = stage.exits(0, killed)
    #expect(stage.exits(1, killed).exitCode == 130)
  }

  @Test func `workers that do not heed a signal are killed`() {
    var stage = JoinStage(workers: 1)
    _ = stage.happens(.stopRequested(signal: 15))
    #expect(stage.passes(Timing().stopTimeout + .seconds(1)).contains(.killAll))
    #expect(stage.exits(0, killed).exitCode == 75)
  }
}
