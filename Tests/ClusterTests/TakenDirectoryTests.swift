import Cluster
import Diagnostics
import Messaging
import Testing

/// What a coordinator does when another one has taken over the run directory.
@Suite struct TakenDirectoryTests {
  private static let plan = ClusterTests.plan(steps: 100, evaluateEvery: 2)
  private static let failure = Failure(.fenced, "process 17 on node-b has taken over the directory runs/x")

  @Test func `the directory is taken: the coordinator ends with 79, saves nothing and says nothing to the nodes`()
    throws
  {
    var coordinator = coordinatorStage(Self.plan)
    _ = coordinator.gather([workerNumbers[0]])
    _ = coordinator.snapshot(1, step: 2, .interval, plan: Self.plan)
    _ = coordinator.evaluated(1)
    let actions = coordinator.happens(.outcome(.directoryLost(Self.failure)))
    #expect(actions.writes.isEmpty && actions.sent.isEmpty)
    let outcome = try #require(actions.outcome)
    #expect(outcome.reason == .takenOver && outcome.status == .fenced && outcome.message.contains("node-b"))
    #expect(actions.compactMap(\.stopped) == [.fenced])
    // A second word of it changes nothing.
    #expect(coordinator.happens(.outcome(.directoryLost(Self.failure))).isEmpty)
  }
}
