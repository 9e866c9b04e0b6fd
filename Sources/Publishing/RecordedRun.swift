import Checkpoints
import Diagnostics
import Files
import NodeRuntime
import Reporting

/// What the files in the directory of a run say of it, as a whole: for reports and comparisons. Only reads; a run that is
/// going on stands where its files stood when this was made.
public struct RecordedRun: Sendable {
  /// In tables and legends: the directory as given, "runs/a", or a part of it.
  public var name: String
  public let paths: RunPaths
  public let summary: RunSummary
  public let file: RunFile
  /// Nil of a run that has not ended.
  public let result: RunResult?
  /// A row for each evaluation, steps strictly increasing.
  public let evaluations: [MetricsRecord]
  /// Its `config.yaml`; nil where there is none.
  public let configuration: String?
  public let faults: RunFaults

  /// - Parameter directory: of a run, or a pointer to one.
  /// - Throws: `missingInput` when it holds no run, `badData` when `run.json` cannot be read or is that of a version that
  ///   recorded less.
  public init(directory: String) throws(Failure) {
    (name, paths) = (directory, RunPaths(directory: directory))
    summary = try RunSummary(of: paths)
    file = try RunFile(readingFrom: paths.runFile)
    var history = RunHistory(directory: paths.directory)
    _ = history.update()
    result = history.result
    evaluations = (0..<history.metrics.count).map(history.metrics.record)
    configuration = try? FileSystem().text(of: paths.configuration)
    faults = RunFaults(file: file, result: result, events: history.events)
  }

  /// Of two directories that are the same one, the same.
  var place: String { "\(FileSystem().status(of: paths.directory)?.inode ?? 0) \(file.run)" }

  /// Of each setting its name, its value as a person writes it and where it came from, in the order of the file; the value
  /// is nil where it is not set.
  public var settings: [(name: String, value: String?, origin: String)] {
    guard case .object(let members) = file.settings else { return [] }
    return members.map { member in
      var value: String?
      switch member.value {
      case .number(let text), .string(let text): value = text
      case .null: value = nil
      default: value = member.value.compactText
      }
      return (member.name, value, Self.text(member.name, of: file.origins) ?? "")
    }
  }

  private static func text(_ name: String, of value: JSONValue) -> String? {
    guard case .object(let members) = value, case .string(let text)? = members.first(where: { $0.name == name })?.value
    else { return nil }
    return text
  }

  /// What selects the checkpoint that the numbers of the run are about: that of the model which was evaluated on the test
  /// split, or the newest one.
  public var checkpoint: String {
    let newest = summary.checkpoint ?? paths.directory
    guard let step = result?.testStep, case let selector = "\(paths.directory)/checkpoints/best",
      step == result?.bestStep, step != result?.steps, FileSystem().exists(selector)
    else { return newest }
    return "\(paths.directory)@best"
  }

  /// The digest of the weights that the run ended with, or of its newest checkpoint as long as it has not ended; and their
  /// step. Nil where there are none yet.
  ///
  /// - Throws: `badData` when the checkpoint is damaged.
  public func weights() throws(Failure) -> (sha256: String, step: UInt64)? {
    if let result { return (result.weightsSHA256, result.steps) }
    guard summary.checkpoint != nil else { return nil }
    let stored = try CheckpointStore.load(paths.directory)
    return (weightsSHA256(stored.checkpoint.model.parameters), stored.checkpoint.step)
  }
}

/// What a run has met and survived, as its files record it.
public struct RunFaults: Sendable, Equatable {
  /// Beyond the first.
  public var resumptions = 0
  /// Of processes that `descent train` restarted.
  public var restarts = 0
  /// Workers that the coordinator has evicted: silent, held up, or sending impossible gradients.
  public var evictions = 0
  /// Times that the server was lost.
  public var lostServers = 0
  /// Checkpoints that were passed over because they were damaged.
  public var damagedCheckpoints = 0
  public var takenOverShards: UInt64 = 0
  public var lateShards: UInt64 = 0

  /// - Parameter events: of the logs; of each kind the newest 500, so that the counts of more are too small.
  init(file: RunFile, result: RunResult?, events: [RunEvent]) {
    (resumptions, restarts) = (max(0, file.starts.count - 1), file.restarts.count)
    (takenOverShards, lateShards) = (result?.takenOverShards ?? 0, result?.lateShards ?? 0)
    for event in events {
      switch event.event {
      case "worker_evicted": evictions += 1
      case "server_lost", "server_left": lostServers += 1
      case "checkpoint_damaged": damagedCheckpoints += 1
      default: break
      }
    }
  }

  /// Whether nothing happened.
  public var isEmpty: Bool {
    resumptions + restarts + evictions + lostServers + damagedCheckpoints == 0 && takenOverShards + lateShards == 0
  }
}
