import Cluster
import Datasets
import Diagnostics
import Dispatch
import FoundationEssentials
import Glibc
import Messaging
import NodeRuntime
import Optimization
import Reporting
import RunConfiguration
import Synchronization
import TestSupport
import Testing

/// A small training set, made once for all tests of this process.
enum SmallDataset {
  static let directory: String = {
    let path = TemporaryDirectory.untilExit().path
    try? SyntheticDataset.write(to: path, trainingExamples: 700, testExamples: 100, seed: 3)
    return path
  }()
}

/// Settings of a run of seconds at most.
func settings(_ runDirectory: String, _ changes: [String: String] = [:]) throws -> ResolvedSettings {
  var values = [
    "data": SmallDataset.directory, "run-dir": runDirectory, "validation-examples": "100", "batch-size": "64",
    "epochs": "4", "evaluate-every": "10", "checkpoint-every": "10", "heartbeat-seconds": "0.05",
    "rendezvous-seconds": "20",
  ]
  values.merge(changes) { _, new in new }
  return try ResolvedSettings.resolve(flags: values.sorted { $0.key < $1.key }.map { ($0.key, $0.value) })
}

/// Options of a node among others in this process that says nothing.
func quiet(_ settings: ResolvedSettings) -> NodeOptions {
  var options = NodeOptions(settings)
  options.arguments = ["test"]
  options.isQuiet = true
  options.handlesSignals = false
  return options
}

/// A whole cluster in this process, a thread for each node. Messages go through real sockets and memory.
/// - Parameter backend: computes other gradients than those of the data.
func trainWithWorkers(
  _ settings: ResolvedSettings, backend: (@Sendable (TrainingPlan) -> any GradientBackend)? = nil
) throws -> RunEnding {
  let options = quiet(settings)
  let nodes = (0...settings.workers).map { _ in Node() }
  for (index, node) in nodes.enumerated() {
    node.run { () throws(Failure) in
      if index == 0 { return try runServer(options) }
      guard let backend else { return try runWorker(options) }
      return try runWorker(options, backend: backend)
    }
  }
  let ending = try runCoordinator(options)
  for node in nodes {
    let status = try node.wait()
    if status != ending.status { throw Failure(.internalError, "a node ended with \(status)") }
  }
  return ending
}

/// A node on a thread of its own, and how it ended.
final class Node: Sendable {
  private let thread = DispatchQueue(label: "node")
  private let result = Mutex<Result<ExitReason, Failure>?>(nil)

  func run(_ body: @escaping @Sendable () throws(Failure) -> ExitReason) {
    thread.async { [self] in
      let outcome: Result<ExitReason, Failure>
      do throws(Failure) { outcome = .success(try body()) } catch { outcome = .failure(error) }
      result.withLock { $0 = outcome }
    }
  }

  /// Waits for the end; every role has a deadline for everything, so there is one.
  func wait() throws -> Diagnostics.ExitStatus {
    var ended: Result<ExitReason, Failure>?
    try waitUntil("a node has ended") {
      ended = result.withLock { $0 }
      return ended != nil
    }
    return try #require(ended).get().status
  }
}

/// Training files like those of `SmallDataset` and with other images.
enum SyntheticFiles {
  static func write(to directory: String) throws {
    try SyntheticDataset.write(to: directory, trainingExamples: 700, testExamples: 100, seed: 4)
  }
}
