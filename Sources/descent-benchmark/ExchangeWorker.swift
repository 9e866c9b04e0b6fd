import ArgumentParser
import Cluster
import Datasets
import Diagnostics
import Messaging
import NodeRuntime
import Optimization
import RunConfiguration

/// A worker like any other, except that its gradient is the same constant every time and takes no computing.
struct ExchangeWorkerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "exchange-worker", shouldDisplay: false)

  @Option var runDir: String
  @Option var data: String
  @Option(help: "Every element of the gradient.") var gradient: Int32
  @Flag var quiet = false
  @Flag var dieWithParent = false

  func run() throws {
    try reportingFailures { () throws(Failure) in
      let settings = try ResolvedSettings.resolve(flags: [("run-dir", runDir), ("data", data)])
      let options = NodeOptions(settings, isQuiet: quiet, diesWithParent: dieWithParent)
      let gradient = gradient
      let ending = try runWorker(options) { ConstantGradient(gradient, $0) }
      if ending.status != .success { throw Failure(ending.status, ending.reason) }
    }
  }
}

/// Computes nothing. The elements are written once into every place that gradients are sent from.
private final class ConstantGradient: GradientBackend {
  private let value: Int32
  private let plan: TrainingPlan
  private var filled: [UnsafeMutablePointer<Int32>] = []

  init(_ value: Int32, _ plan: TrainingPlan) {
    self.value = value
    self.plan = plan
  }

  func gradient(
    parameters: UnsafePointer<Float>, step: UInt64, shards: ShardSet, into sum: UnsafeMutablePointer<Int32>
  ) -> MinibatchStatistics {
    if !filled.contains(sum) {
      sum.update(repeating: value, count: plan.shape.parameterCount)
      filled.append(sum)
    }
    return MinibatchStatistics(
      examples: shards.count * plan.examplesPerShard, lossSum: 1, correct: 0, isFinite: true)
  }
}
