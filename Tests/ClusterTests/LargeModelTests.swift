import Cluster
import Messaging
import Optimization
import Synchronization
import Testing

/// What a server keeps of the size of the model besides its state: at most three vectors for each worker.
@Suite struct ServerMemoryTests {
  /// Gradients that the server has not released.
  private final class Gradients: Sendable {
    let kept = Atomic<Int>(0)

    func make() -> Payload {
      kept.add(1, ordering: .relaxed)
      let values = gradient()
      return Payload(borrowing: values.bytes) { [self] in
        kept.subtract(1, ordering: .relaxed)
        _ = values
      }
    }
  }

  /// Each worker keeps the weights that it was sent before the newest ones, too: it may not have released them yet.
  private func expectBounds(
    _ consistency: ConsistencyModel, weights: Int, gradients: Int, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let gradientsKept = Gradients()
    var places: Set<UnsafeRawPointer?> = []
    var before: [Payload] = workerNumbers.map { _ in .empty }
    var server = ServerStage(
      plan(consistency, steps: 100), members: Array(zip(workerNumbers, [shards(0, 1), shards(2), shards(3)])))
    for round in 0..<90 {
      let index = [0, 1, 2, 2, 1, 0][round % 6]
      guard let weights = server.work[workerNumbers[index]]?.work.parameters else { continue }
      places.insert(weights.bytes.baseAddress)
      before[index] = weights
      _ = server.push(workerNumbers[index]) { push, _ in push.gradient = gradientsKept.make() }
      #expect(gradientsKept.kept.load(ordering: .relaxed) <= gradients, sourceLocation: sourceLocation)
    }
    withExtendedLifetime(before) {}
    #expect(server.step >= 20, sourceLocation: sourceLocation)
    #expect(places.count <= weights, sourceLocation: sourceLocation)
  }

  @Test func `with bsp the weights are the same for all workers`() {
    expectBounds(.bsp(backup: 0), weights: 3, gradients: 1)
  }

  @Test(arguments: [ConsistencyModel.bsp(backup: 1), .ssp(3), .asp])
  func `otherwise a worker may have weights of its own, and those before`(consistency: ConsistencyModel) {
    expectBounds(consistency, weights: 2 * workerNumbers.count + 1, gradients: 1)
  }

  @Test func `a repeated request costs no further weights`() {
    var server = ServerStage(plan(.asp), members: [(workerNumbers[0], shards(0, 1, 2, 3))])
    let sent = (0..<20).compactMap { _ in
      server.hears(.requestWork, from: workerNumbers[0]).work(for: workerNumbers[0])?.work.parameters
    }
    #expect(sent.count == 20 && sent.allSatisfy { $0 === sent[0] })
  }

  @Test func `snapshots wait for the coordinator: no more than two are kept`() {
    var server = ServerStage(
      plan(steps: 100, evaluateEvery: 1), members: [(workerNumbers[0], shards(0, 1, 2, 3))])
    for _ in 0..<10 { _ = server.push(workerNumbers[0]) }
    #expect(server.stage.machine.dataPlane?.snapshots.count == DataPlane.maximumOutstandingSnapshots)
  }
}

/// What waits longer for a model whose messages take seconds on a slow network.
@Suite struct SlowNetworkTests {
  /// Three vectors have 38 MB, three seconds of 10 MB each.
  private func largePlan() -> TrainingPlan {
    var plan = plan()
    plan.shape = ModelShape(classes: 10, pixels: 3_072, hidden: [1_024])
    return plan
  }

  private func heartbeat(_ stage: inout Stage<CoordinatorMachine>) -> [CoordinatorMachine.Action] {
    stage.heartbeats(from: [workerNumbers[0]])
  }

  @Test func `a server whose heartbeats are behind a snapshot keeps its lease`() {
    var coordinator = coordinatorStage(largePlan())
    _ = coordinator.gather([workerNumbers[0]])
    #expect(coordinator.passes(.seconds(4.5), meanwhile: heartbeat).notes("server_lost").isEmpty)
    #expect(coordinator.passes(.seconds(1), meanwhile: heartbeat).notes("server_lost").count == 1)
  }

  @Test func `a server that leaves waits for the answer to its last snapshot`() {
    var server = ServerStage(largePlan(), members: [(workerNumbers[0], shards(0, 1, 2, 3))])
    _ = server.stage.happens(.stopRequested)
    #expect(server.stage.passes(.seconds(5.5)).end == nil)
    #expect(server.stage.passes(.seconds(1)).end == .stoppedBySignal)
  }
}
