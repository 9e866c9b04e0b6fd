import Cluster
import Datasets
import Diagnostics
import Files
import Optimization
import Reporting
import RunConfiguration

/// The run whose weights are known: 100 steps of softmax on a small synthetic set. By the first promise of Descent its bits
/// are the same on every machine and for every number of workers.
package struct ReferenceTraining: Sendable {
  /// `weights_sha256` of the result.
  package static let weightsSHA256 = "e7ce47c9401d8f21ae41225aa088216b00c18f585dec2f522d804569e55b0fa9"
  /// The numbers of workers that it is trained with.
  package static let workers = [0, 1, MachineChecks.workers]
  static let steps: UInt64 = 100

  /// Holds the data and the runs.
  private let directory: String

  /// Makes the data.
  ///
  /// - Parameter directory: one that does not exist; `remove` removes it.
  package init(in directory: String) throws(Failure) {
    self.directory = directory
    try FileSystem().makeDirectories(directory, permissions: 0o700)
    do throws(Failure) {
      try SyntheticDataset.write(to: "\(directory)/data", trainingExamples: 1600, testExamples: 160, seed: 231)
    } catch {
      remove()
      throw error
    }
  }

  private func runDirectory(_ workers: Int) -> String { "\(directory)/\(workers)-workers" }

  /// Of the run, whatever file and environment say.
  package func settings(workers: Int) throws(Failure) -> ResolvedSettings {
    try ResolvedSettings.resolve(flags: [
      ("data", "\(directory)/data"), ("run-dir", runDirectory(workers)), ("workers", "\(workers)"),
      ("validation-examples", "160"), ("batch-size", "64"), ("seed", "231"), ("epochs", "5"),
      ("max-steps", "\(Self.steps)"), ("optimizer", "momentum"), ("learning-rate", "0.01"), ("event-files", "off"),
    ])
  }

  /// Trains with so many workers, and compares the weights with those that are known.
  ///
  /// - Parameter isInterrupted: set when a signal asks to stop.
  package func train(workers: Int, _ processes: RunProcesses, isInterrupted: inout Bool) -> Finding {
    var stopped = false
    let finding = Finding("training, \(workers == 0 ? "sequential" : Display.workers(workers))") {
      () throws(Failure) in
      let began = UTCTime.now()
      try processes.start("training", try settings(workers: workers), output: "\(directory)/errors")
      let (exit, message) = ended(processes, isInterrupted: &stopped)
      guard exit == .status(0) else {
        throw Failure(
          stopped ? .stoppedBySignal : .internalError,
          stopped ? "stopped by a signal" : "a run of \(Self.steps) steps \(exit.phrase)",
          found: message.isEmpty ? nil : message, remedy: stopped ? nil : Self.remedyOfFailure)
      }
      let path = RunPaths(directory: runDirectory(workers)).result
      let result = try RunResult(json: FileSystem().text(of: path), source: path)
      return try verdict(of: result, seconds: Double(UTCTime.now().microseconds - began.microseconds) / 1e6)
    }
    isInterrupted = stopped
    return finding
  }

  private func verdict(of result: RunResult, seconds: Double) throws(Failure) -> Finding.Result {
    guard result.steps == Self.steps, result.weightsSHA256 == Self.weightsSHA256 else {
      throw Failure(
        .internalError,
        "after \(result.steps) steps the weights have the SHA-256 \(result.weightsSHA256), but must have "
          + Self.weightsSHA256, remedy: Self.remedyOfWeights)
    }
    return .fine(
      "\(result.steps) steps, started and ended in \(Display.decimal(seconds, places: 1)) s, weights "
        + "\(result.weightsSHA256.prefix(16))… as on every machine")
  }

  private static let remedyOfFailure =
    "The checks above may name the cause. For the logs: descent train --workers 2 --run-dir DIR on any data"
  private static let remedyOfWeights =
    "Compare with DESCENT_KERNEL=portable descent doctor. If that is right, the processor or its emulation computes wrongly; "
    + "if the result varies, test the memory. Results of this machine cannot be compared with others"

  private func ended(_ processes: RunProcesses, isInterrupted: inout Bool) -> (exit: ProcessExit, message: String) {
    while true {
      for event in processes.next(milliseconds: 1000) {
        switch event {
        case .stopRequested:
          isInterrupted = true
          processes.stopAll()
        case .ended(_, let exit, let message): return (exit, message)
        }
      }
    }
  }

  /// Removes the data and the runs.
  package func remove() {
    for workers in Self.workers {
      let paths = RunPaths(directory: runDirectory(workers))
      guard FileSystem().exists(paths.directory) else { continue }
      for name in (try? FileSystem().entries(of: paths.checkpoints)) ?? [] {
        let checkpoint = "\(paths.checkpoints)/\(name)"
        if FileSystem().kind(of: checkpoint) == .directory { try? FileSystem().removeDirectory(checkpoint) }
      }
      for place in [paths.checkpoints, paths.logs, paths.directory] { try? FileSystem().removeDirectory(place) }
    }
    for place in ["\(directory)/data", directory] { try? FileSystem().removeDirectory(place) }
  }
}
