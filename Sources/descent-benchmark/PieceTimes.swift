import Diagnostics
import Optimization

/// What the parts of a step cost when nothing waits and nothing else runs: the constants of the growth model.
struct PieceTimes {
  /// One more image, one more shard, one more call of the gradient.
  let image: Double
  let shard: Double
  let call: Double
  /// What a worker, and the server, spend on one push and its answer on their way through shared memory.
  let memory: Double
  /// The server machine's part of a push: checks and the sum; and of a step: the update.
  let push: Double
  let update: Double

  init(_ suite: Suite) throws(Failure) {
    let gradients = try GradientPieces(suite)
    try gradients.verify()
    let sizes = [(1, 32), (1, 512), (16, 16), (16, 512), (64, 64), (64, 512), (64, 4096)]
    let timings = measure(
      sampleCount: suite.isQuick ? 15 : 60, sizes.map { gradients.run(shards: $0.0, examples: $0.1) })
    let medians = timings.map(\.median)
    let fitted = leastSquares(sizes.map { [Double($0.1), Double($0.0), 1] }, medians, relativeTo: medians)
    (image, shard, call) = (fitted?[0] ?? .nan, fitted?[1] ?? .nan, fitted?[2] ?? .nan)

    let exchange = try MemoryExchange()
    try exchange.verify()
    let steps = try [4, 16].map { workers throws(Failure) in
      let step = ServerStep(workers: workers, kernel: suite.machine.kernel)
      try step.verify()
      return step
    }
    let measured = measure(sampleCount: suite.isQuick ? 30 : 100, [exchange.run] + steps.map { step in { step.run() } })
    memory = measured[0].median / 2
    push = (measured[2].median - measured[1].median) / 12
    update = measured[1].median - 4 * push
  }

  /// The computing of one step, per worker.
  func computing(examples: Int, shards: Int, workers: Int) -> Double {
    (Double(examples) * image + Double(shards) * shard) / Double(workers) + call
  }
}

/// A plan with everything plain, for measuring: a constant learning rate of a half, no penalty, weights from zero.
func plainPlan(
  batchSize: Int, shards: Int, exampleCount: Int, consistency: ConsistencyModel = .bsp(backup: 0),
  loss: Loss = .softmaxCrossEntropy
) throws(Failure) -> TrainingPlan {
  let steps: UInt64 = 1_000_000_000
  let plan = TrainingPlan(exampleCount: exampleCount, batchSize: batchSize, shardCount: shards, totalSteps: steps) {
    $0.loss = loss
    $0.learningRate.base = 0.5
    $0.consistency = consistency
  }
  try plan.validate()
  return plan
}

extension TrainingPlan {
  /// What every element of a push must be so that the pushes of one step together lower every weight of this plain plan
  /// by exactly 2⁻²⁰: with that, weights tell how many pushes went into them.
  func countingGradient(pushesPerStep: Int) -> Int32 {
    Int32(Double(fixedPointScale) * Double(batchSize) * 0x1p-20 / Double(learningRate.base) / Double(pushesPerStep))
  }
}
