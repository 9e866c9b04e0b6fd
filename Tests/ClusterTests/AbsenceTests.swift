import Cluster
import Diagnostics
import Messaging
import TestSupport
import Testing

// Testing has one as well.
import enum Diagnostics.ExitStatus

/// Processes that were stopped (SIGSTOP, Ctrl-Z, a suspended job) and continue.
@Suite struct AbsenceTests {
  /// Longer than every wait.
  private static let long = Interval.seconds(300)

  /// The machine is not called for a while: its process was stopped.
  private func stop<Machine: NodeMachine>(_ stage: inout Stage<Machine>) -> [Machine.Action] {
    stage.now = stage.now + Self.long
    return stage.happens(.deadline)
  }

  @Test(arguments: ["worker", "server"])
  func `a member is stopped for 300 s: it waits for its coordinator as long as without the stop`(role: String) throws {
    func check<Machine: NodeMachine>(_ stage: Stage<Machine>) -> (atOnce: ExitStatus?, later: ExitStatus?) {
      var stage = stage
      let atOnce = stop(&stage).end
      let timeout = Timing().coordinatorTimeout
      let early = stage.passes(timeout.less(.seconds(2))).end
      return (atOnce ?? early, stage.passes(.seconds(3)).end)
    }
    let ends = role == "worker" ? check(joinedWorker()) : check(ServerStage(plan(), members: []).stage)
    #expect(ends.atOnce == nil)
    #expect(ends.later == .unavailable)
    try Evidence.add(.trees, role, observed: "no end at once, 69 after \(Timing().coordinatorTimeout) of silence")
  }

  @Test func `the coordinator and its members are stopped for 300 s: all stay members, and no shards move`() throws {
    var coordinator = coordinatorStage(plan(), workers: 2)
    _ = coordinator.gather([workerNumbers[0], workerNumbers[1]])
    var actions = stop(&coordinator)
    actions += coordinator.passes(.seconds(1))
    actions += coordinator.heartbeats(from: [serverNumber, workerNumbers[0], workerNumbers[1]])
    actions += coordinator.passes(.seconds(1))
    #expect(actions.assignments.isEmpty && actions.notes("server_lost").isEmpty)
    // Silence after it counts.
    #expect(coordinator.passes(.seconds(3)).notes("worker_evicted").count == 2)
    try Evidence.add(.trees, observed: "no eviction, no membership epoch; the leases run from then on")
  }

  @Test func `the coordinator is stopped during the rendezvous: it waits as long as without the stop`() throws {
    var coordinator = coordinatorStage(plan(), workers: 2)
    _ = stop(&coordinator)
    _ = coordinator.passes(Timing().rendezvous.less(.seconds(2)))
    #expect(coordinator.gather([workerNumbers[0], workerNumbers[1]]).assignments.count == 1)
    try Evidence.add(.trees, observed: "training begins with both workers")
  }

  @Test func `the coordinator is stopped after a signal: the server's last snapshot is saved all the same`() throws {
    let plan = plan()
    var coordinator = coordinatorStage(plan, workers: 1)
    _ = coordinator.gather([workerNumbers[0]])
    _ = coordinator.happens(.stopRequested)
    var actions = stop(&coordinator)
    actions += coordinator.snapshot(1, step: 7, .requested, plan: plan)
    actions += coordinator.evaluated(1)
    #expect(actions.writes.map(\.step) == [7])
    try Evidence.add(.trees, observed: "step 7 is saved")
  }

  /// As when a signal goes to all processes: the coordinator has taken its snapshot from the leave.
  @Test func `a signal to all processes: the server that left ends with 75, not as one that lost its place`() throws {
    var server = ServerStage(plan(), members: [(workerNumbers[0], shards(0, 1, 2, 3))])
    #expect(server.stage.happens(.stopRequested).end == nil)
    #expect(server.hears(.notAMember, from: coordinatorNumber).end == .stoppedBySignal)
    var coordinator = coordinatorStage(plan(), workers: 1)
    _ = coordinator.gather([workerNumbers[0]])
    #expect(coordinator.hears(.leave, from: serverNumber).isStranger(.node(.server, serverNumber)))
    // Also where the result is known already, and is being saved.
    var late = coordinatorStage(plan(), workers: 1)
    _ = late.gather([workerNumbers[0]])
    _ = late.happens(.stopRequested)
    _ = late.snapshot(1, step: 7, .requested, plan: plan())
    _ = late.evaluated(1)
    #expect(late.hears(.leave, from: serverNumber).isStranger(.node(.server, serverNumber)))
    try Evidence.add(.trees, observed: "the coordinator answers the leave, and the server ends at once")
  }

  @Test func `the command is stopped while it ends a run: the coordinator keeps its time to save`() throws {
    var supervisor = Supervisor(workers: 1, timing: Timing(), host: "host", resumeHint: "")
    var now = Instant(nanoseconds: 5_000_000_000)
    func happens(_ event: Supervisor.Event) -> [Supervisor.Action] {
      var actions: [Supervisor.Action] = []
      supervisor.handle(event, at: now, into: &actions)
      return actions
    }
    _ = happens(.begin)
    _ = happens(.exited(.worker(0), .status(ExitStatus.refused.rawValue)))
    now = now + Self.long
    #expect(happens(.deadline).isEmpty)
    let end = now + Timing().stopTimeout
    var actions: [Supervisor.Action] = []
    while let deadline = supervisor.nextDeadline, deadline <= end {
      now = deadline
      actions += happens(.deadline)
    }
    #expect(actions.contains(.signal(.coordinator, 9)))
    try Evidence.add(.trees, observed: "no SIGKILL at once, and one \(Timing().stopTimeout) later")
  }
}
