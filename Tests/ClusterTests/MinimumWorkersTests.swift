import Cluster
import Diagnostics
import Messaging
import Optimization
import Testing

// Testing has one as well.
import enum Diagnostics.ExitStatus

@Suite struct MinimumWorkersTests {
  @Test func `training begins when the minimum has joined, though fewer were expected`() {
    var coordinator = coordinatorStage(plan(), workers: 1, minimum: 2)
    #expect(coordinator.gather([workerNumbers[0]]).assignments.isEmpty)
    #expect(coordinator.hears(join(.worker), from: workerNumbers[1]).assignments.count == 1)
  }

  @Test func `at the end of the rendezvous training begins with the minimum, though more were expected`() {
    var coordinator = coordinatorStage(plan(), workers: 3, minimum: 2)
    #expect(coordinator.gather([workerNumbers[0], workerNumbers[1]]).assignments.isEmpty)
    let actions = coordinator.passes(.seconds(30.5)) {
      $0.heartbeats(from: [serverNumber]) + $0.hears(join(.worker), from: workerNumbers[0])
        + $0.hears(join(.worker), from: workerNumbers[1])
    }
    #expect(actions.assignments.count == 1)
  }

  @Test func `fewer than the minimum at the end of the rendezvous: 69, and the number that was there`() {
    var coordinator = coordinatorStage(plan(), workers: 3, minimum: 2)
    _ = coordinator.gather([workerNumbers[0]])
    let actions = coordinator.passes(.seconds(40)) {
      $0.heartbeats(from: [serverNumber]) + $0.hears(join(.worker), from: workerNumbers[0])
    }
    #expect(actions.assignments.isEmpty)
    #expect(actions.outcome?.status == .unavailable)
    #expect(actions.outcome?.reason == .noWorker)
    let text = actions.outcome?.message ?? ""
    #expect(text.contains("too few workers (1 of at least 2 workers connected)"), "\(text)")
  }

  /// Two workers of which one is lost, while the other goes on.
  private func trains(withOneLost pause: Interval) -> (Stage<CoordinatorMachine>, [CoordinatorMachine.Action]) {
    var coordinator = coordinatorStage(plan(), workers: 2, minimum: 2)
    _ = coordinator.gather([workerNumbers[0], workerNumbers[1]])
    let actions = coordinator.passes(pause) { $0.heartbeats(from: [serverNumber, workerNumbers[0]]) }
    return (coordinator, actions)
  }

  @Test func `a run that has fewer for longer than the rendezvous saves its last step and ends with 69`() {
    var (coordinator, actions) = trains(withOneLost: .seconds(20))
    #expect(actions.notes("too_few_workers").count == 1)
    #expect(actions.outcome == nil)
    actions = coordinator.passes(.seconds(13)) { $0.heartbeats(from: [serverNumber, workerNumbers[0]]) }
    let held = actions.sent.contains { if case .snapshotRequest(hold: true) = $0.message { true } else { false } }
    #expect(held)
    let end = coordinator.snapshot(1, step: 7, .requested, plan: plan())
    #expect(end.writes.map(\.step) == [7])
    let saved = coordinator.happens(.outcome(.checkpointWritten(step: 7, .success("step-7"))))
    #expect(saved.outcome?.status == .unavailable)
    #expect(saved.outcome?.message.contains("step 7") == true, "\(saved.outcome?.message ?? "")")
    #expect(saved.outcome?.message.contains("1 of at least 2 workers connected") == true)
  }

  @Test func `a worker that takes the place of a lost one in time lets the run go on`() {
    var (coordinator, _) = trains(withOneLost: .seconds(20))
    _ = coordinator.hears(join(.worker), from: workerNumbers[2])
    let actions = coordinator.passes(.seconds(60)) {
      $0.heartbeats(from: [serverNumber, workerNumbers[0], workerNumbers[2]])
    }
    #expect(actions.outcome == nil)
    #expect(actions.notes("too_few_workers").isEmpty)
  }
}
