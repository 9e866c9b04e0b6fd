import ArgumentParser
import Cluster
import Datasets
import Diagnostics
import Messaging
import NodeRuntime
import Optimization

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
      let options = NodeOptions(
        coordinator: .runDirectory(runDir), timing: Cluster.Timing(), isQuiet: quiet, diesWithParent: dieWithParent)
      let gradient = gradient
      let ending = try runWorker(options, dataDirectory: data) { _ in ConstantGradient(gradient) }
      if ending.status != .success { throw Failure(ending.status, ending.reason) }
    }
  }
}

/// Computes nothing. The elements are written once into every place that gradients are sent from.
private final class ConstantGradient: GradientComputing {
  private let value: Int32
  private var plan: TrainingPlan?
  private var heap: PayloadPool?
  private var filled: [UnsafeMutableRawPointer] = []

  init(_ value: Int32) { self.value = value }

  func prepare(_ plan: TrainingPlan, _ meanImage: Payload) {
    self.plan = plan
    heap = PayloadPool(byteCount: plan.shape.parameterCount * MemoryLayout<Int32>.stride, limit: 4)
  }

  func compute(_ task: GradientTask, _ shared: PayloadPool?) -> ComputedGradient? {
    guard let plan, let pool = shared ?? heap else { return nil }
    let gradient = pool.make { target in
      let start = target.baseAddress.unsafelyUnwrapped
      guard !filled.contains(start) else { return }
      target.bindMemory(to: Int32.self).update(repeating: value)
      filled.append(start)
    }
    let statistics = MinibatchStatistics(
      examples: task.shards.count * plan.examplesPerShard, lossSum: 1, correct: 0, isFinite: true)
    return ComputedGradient(ticket: task.ticket, statistics: statistics, gradient: gradient)
  }
}
