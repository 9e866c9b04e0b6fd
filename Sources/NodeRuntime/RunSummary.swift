import Checkpoints
import Diagnostics
import Files
import Reporting

/// What the files in the directory of a run say of it: enough to list it, whether or not a process works on it. As JSON it
/// has these names in snake case; what is not known is null.
public struct RunSummary: Sendable {
  public enum State: String, Sendable {
    /// A coordinator reads the data and cannot be asked yet, or no longer.
    case starting
    case running
    case finished
    case interrupted
    case failed
    /// `run.json` says that it is running, but no process holds the lock: killed, crashed, or without power.
    case crashed
    /// `run.json` cannot be read.
    case damaged

    /// The exit status of `descent status`, so that a script need not read what it prints.
    public var exitCode: Int32 {
      switch self {
      case .starting, .running: 0
      case .finished: 3
      case .interrupted: ExitStatus.stoppedBySignal.rawValue
      case .failed: ExitStatus.internalError.rawValue
      case .crashed: ExitStatus.unavailable.rawValue
      case .damaged: ExitStatus.badData.rawValue
      }
    }
  }

  public let state: State
  /// Its identifier.
  public private(set) var run: String?
  public let runDirectory: String
  /// In RFC 3339.
  public private(set) var started: String?
  public private(set) var ended: RunFile.Ending?
  /// When a file of the run was last changed, in RFC 3339.
  public private(set) var lastWritten: String?
  public private(set) var starts = 0
  public private(set) var restarts = 0
  /// The newest that was evaluated or saved.
  public private(set) var step: UInt64?
  public private(set) var trainDataLoss: Double?
  public private(set) var validationDataLoss: Double?
  /// As a fraction.
  public private(set) var validationAccuracy: Double?
  /// As a fraction; only of a run that has finished.
  public private(set) var testAccuracy: Double?
  public private(set) var imagesPerSecond: Double?
  /// Path of the newest.
  public private(set) var checkpoint: String?
  /// Why it cannot be read.
  public private(set) var problem: String?
  package private(set) var settings = JSONValue.object([])

  /// - Throws: `missingInput` when the directory holds no run.
  public init(of paths: RunPaths) throws(Failure) {
    runDirectory = paths.directory
    let isLocked = paths.isLocked
    let file: RunFile
    do throws(Failure) {
      file = try RunFile(readingFrom: paths.runFile)
    } catch {
      if isLocked {
        state = .starting
      } else if error.status == .missingInput, !FileSystem().exists(paths.runFile) {
        try FileSystem().requireReadableIfPresent(paths.runFile)
        throw Failure(.missingInput, "\(paths.directory) contains no run", found: "there is no \(RunFile.name)")
      } else {
        state = .damaged
      }
      problem = error.description
      return
    }
    settings = file.settings
    state = State(of: file, in: paths, isLocked: isLocked)
    (run, started, ended) = (file.run, file.started, file.ended)
    (starts, restarts) = (file.starts.count, file.restarts.count)
    readMetrics(paths)
    let evaluated = step
    readCheckpoint(paths)
    if evaluated == 0, step != 0 {
      // The weights before the first step say nothing of those that were trained.
      (trainDataLoss, validationDataLoss, validationAccuracy) = (nil, nil, nil)
    }
    readResult(paths)
    readTimes(paths)
  }

  /// The value of a setting; null where it is not set or not known.
  package func setting(_ name: String) -> JSONValue { Self.member(name, of: settings) }

  package func settingText(_ name: String) -> String? {
    switch setting(name) {
    case .number(let text), .string(let text): text
    default: nil
    }
  }

  /// "linear", "hidden 100 relu".
  package var model: String {
    settingText("hidden").map { "hidden \($0) \(settingText("activation") ?? "")" } ?? "linear"
  }

  fileprivate static func member(_ name: String, of value: JSONValue) -> JSONValue {
    guard case .object(let members) = value else { return .null }
    return members.first { $0.name == name }?.value ?? .null
  }

  /// The last whole line.
  private mutating func readMetrics(_ paths: RunPaths) {
    guard let bytes = try? FileSystem().read(paths.metrics, limit: .max, followingLinks: true),
      let end = bytes.lastIndex(of: UInt8(ascii: "\n"))
    else { return }
    let start = bytes[..<end].lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
    guard let line = try? JSONFields(parsing: Array(bytes[start..<end]), source: paths.metrics) else { return }
    step = try? line["step"]
    trainDataLoss = Self.loss("train", line)
    validationDataLoss = Self.loss("validation", line)
    validationAccuracy = try? line["validation_accuracy"]
    imagesPerSecond = try? line["images_per_second"]
  }

  /// Says more of the whole run than its last evaluation.
  private mutating func readResult(_ paths: RunPaths) {
    guard let bytes = try? FileSystem().read(paths.result, limit: 1 << 20, followingLinks: true),
      let result = try? JSONFields(parsing: bytes, source: paths.result)
    else { return }
    step = (try? result["steps"]) ?? step
    validationDataLoss = Self.loss("validation", result) ?? validationDataLoss
    validationAccuracy = (try? result["validation_accuracy"]) ?? validationAccuracy
    testAccuracy = try? result["test_accuracy"]
    imagesPerSecond = (try? result["images_per_second"]) ?? imagesPerSecond
  }

  /// Files of the version before call it so without "data".
  private static func loss(_ split: String, _ fields: JSONFields) -> Double? {
    (try? fields["\(split)_data_loss"]) ?? (try? fields["\(split)_loss"])
  }

  private mutating func readCheckpoint(_ paths: RunPaths) {
    guard let newest = CheckpointStore(runDirectory: paths.directory).newest() else { return }
    checkpoint = newest.path
    step = max(step ?? 0, newest.step)
  }

  private mutating func readTimes(_ paths: RunPaths) {
    let logs = (try? FileSystem().entries(of: paths.logs)) ?? []
    let files = [paths.runFile, paths.metrics, paths.result, paths.checkpoints] + logs.map { "\(paths.logs)/\($0)" }
    let newest = files.compactMap { FileSystem().status(of: $0)?.changed }.max()
    lastWritten = newest.map { UTCTime(microseconds: $0 / 1000).timestamp }
  }
}

extension RunSummary.State {
  /// - Parameters:
  ///   - file: `run.json`.
  ///   - isLocked: whether a process works on the run.
  package init(of file: RunFile, in paths: RunPaths, isLocked: Bool) {
    let isSequential = RunSummary.member("workers", of: file.settings) == .number("0")
    let isPublished = (try? CoordinatorAddress.published(in: paths)) != nil
    self =
      switch (isLocked, file.status) {
      case (true, .running) where isSequential || isPublished: .running
      case (true, _): .starting
      case (false, .running): .crashed
      case (false, .finished): .finished
      case (false, .interrupted): .interrupted
      case (false, .failed): .failed
      }
  }
}

extension RunSummary {
  /// The runs in the directories of `directory`, the earliest first; directories that contain no run are passed over.
  ///
  /// - Throws: when it cannot be read.
  public static func all(in directory: String) throws(Failure) -> [RunSummary] {
    let directory = FileSystem().followingPointer(directory)
    let runs = try FileSystem().entries(of: directory).compactMap { name -> RunSummary? in
      let path = directory == "." ? name : "\(directory)/\(name)"
      // Not `latest`, which is another name of one of them, or a copy.
      guard name != "latest", FileSystem().kind(of: path) == .directory else { return nil }
      let paths = RunPaths(directory: path)
      guard let run = try? RunSummary(of: paths) else { return nil }
      // A start that was killed before the first step is no run.
      return run.state == .crashed && !paths.tookStep ? nil : run  // defence: no-run
    }
    return runs.sorted { ($0.started ?? "", $0.runDirectory) < ($1.started ?? "", $1.runDirectory) }
  }
}
