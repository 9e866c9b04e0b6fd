import ClusterSimulation
import Messaging
import Optimization
import TestSupport
import Testing

/// The protocol's main stories, each a file of Golden/ that a person can read: seconds, receiver, sender and
/// message. A change of the protocol shows there, also one that sender and receiver make alike.
@Suite struct TranscriptTests {
  enum Story: String, CaseIterable {
    case joinAndSteps = "join-and-steps"
    case deathOfAWorker = "death-of-a-worker"
    case deathOfTheServer = "death-of-the-server"
    case deathOfTheCoordinator = "death-of-the-coordinator"
    case stopAndResume = "stop-and-resume"

    var golden: GoldenText { GoldenText("Golden/\(rawValue).txt") }

    /// What the trace says of the fault; empty where there is none.
    var fault: String {
      switch self {
      case .joinAndSteps: ""
      case .deathOfAWorker, .deathOfTheServer, .deathOfTheCoordinator: "crashes"
      case .stopAndResume: "SIGTERM"
      }
    }

    private var faults: FaultPlan {
      var faults = FaultPlan.none
      faults.span = .seconds(2)
      switch self {
      case .joinAndSteps: break
      case .deathOfAWorker: faults.workerCrashes = 1
      case .deathOfTheServer: faults.serverCrashes = 1
      case .deathOfTheCoordinator: faults.coordinatorCrashes = 1
      case .stopAndResume: faults.stopSignals = 1
      }
      return faults
    }

    /// 2 workers and 4 shards; 3 steps, or 8 where something happens in between.
    private var plan: SimulationPlan {
      let training = TrainingPlan.fixture {
        $0.shape = ModelShape(classes: 2, pixels: 15)
        $0.totalSteps = self == .joinAndSteps ? 3 : 8
        $0.learningRate.horizon = $0.totalSteps
        $0.evaluateEvery = 2
        $0.checkpointEvery = 2
      }
      return SimulationPlan(training: training, workers: 2, computeTime: .milliseconds(100))
    }

    /// By the first seed whose fault falls into the middle of the run.
    func report() -> Report? {
      let seeds: ClosedRange<UInt64> = 1...64
      let reports = seeds.lazy.map { Simulation(seed: $0, plan: plan, faults: faults, recordsTrace: true).run() }
      return reports.first {
        let trace = $0.trace
        guard !fault.isEmpty else { return true }
        guard let first = trace.firstIndex(where: { $0.contains("first_step") }),
          let time = trace.firstIndex(where: { $0.contains(fault) }),
          let end = trace.lastIndex(where: { $0.contains("finished at step") })
        else { return false }
        return first < time && time < end
      }
    }
  }

  @Test(arguments: Story.allCases.filter(\.golden.canBeCompared))
  func `each main story of the protocol reads as its transcript`(story: Story) throws {
    let report = try #require(story.report(), "no seed puts the fault into the middle")
    #expect(report.isCorrect)
    // Heartbeats and glances at the clock would hide the rest.
    let lines = report.trace.filter { !$0.contains("heartbeat") && !$0.contains("looks at the clock") }
    #expect(try story.golden.difference(from: lines.map { $0 + "\n" }.joined()) == nil)
  }
}
