import Checkpoints
import Diagnostics
import Files

/// What the directory of a run says, whether or not a process works on it: read once, then followed.
///
/// An update reads only what was appended or replaced since the one before, so that a reader can call it often. It copes
/// with a run that resumes at an earlier step and cuts its records, with torn last lines, with files of earlier versions, and
/// with a directory that is removed or replaced: what is not there is empty. Reading changes nothing in the directory.
public struct RunHistory: Sendable {
  /// What an update has found.
  public struct Changes: OptionSet, Sendable {
    public let rawValue: Int
    public init(rawValue: Int) { self.rawValue = rawValue }

    /// `file` or `problem`.
    public static let file = Changes(rawValue: 1)
    public static let metrics = Changes(rawValue: 2)
    public static let result = Changes(rawValue: 4)
    public static let events = Changes(rawValue: 8)
    public static let checkpoints = Changes(rawValue: 16)
    public static let workers = Changes(rawValue: 32)
    public static let confusion = Changes(rawValue: 64)
  }

  public let directory: String
  /// `run.json`; nil if there is none or it cannot be read.
  public private(set) var file: RunFile?
  /// Why there is no `file`.
  public private(set) var problem: Failure?
  /// `metrics.jsonl`.
  public private(set) var metrics = MetricsHistory()
  /// `result.json`; nil before the run has ended, and where it cannot be read.
  public private(set) var result: RunResult?
  /// The steps of the checkpoints, ascending.
  public private(set) var checkpoints: [UInt64] = []
  public private(set) var latestCheckpoint: UInt64?
  /// That of the lowest validation loss.
  public private(set) var bestCheckpoint: UInt64?
  /// The newest line of `workers.jsonl`, an object; null for a run without one.
  package private(set) var workers = JSONValue.null
  /// `confusion.json`; null for a run without one, and where it is something else.
  package private(set) var confusion = JSONValue.null
  private var log: RunEvents
  /// When one of the files was last changed, in microseconds since 1970; nil if there is none. This and the next two are
  /// times of the file system's clock.
  public private(set) var lastWritten: Int64?
  /// When a row was last added to the metrics.
  public var lastEvaluated: Int64? { metricsFile.status.map { $0.changed / 1000 } }
  /// When a checkpoint was last added or removed; nil if there is none.
  public var lastSaved: Int64? { checkpoints.isEmpty ? nil : checkpointsStatus.map { $0.changed / 1000 } }

  private var metricsFile: LineFollower
  private var workersFile: LineFollower
  private var fileStatus: FileStatus?
  private var resultStatus: FileStatus?
  private var confusionStatus: FileStatus?
  private var checkpointsStatus: FileStatus?
  private var hasLooked = false

  /// Nothing is read before the first update.
  public init(directory: String) {
    self.directory = directory
    log = RunEvents(directory: directory + "/logs")
    metricsFile = LineFollower(path: directory + "/metrics.jsonl")
    workersFile = LineFollower(path: directory + "/workers.jsonl")
  }

  /// What happened, in the order of time: of each kind the newest 500.
  public var events: [RunEvent] { log.all }

  /// How many events of a kind there were.
  public func count(of kind: RunEvent.Kind) -> UInt64 { log.counts[kind, default: 0] }

  /// The newest step that was evaluated or saved, or that the run ended at.
  public var step: UInt64? { [metrics.steps.last, checkpoints.last, result?.steps].compactMap(\.self).max() }

  /// Reads what is new.
  public mutating func update() -> Changes {
    var changes: Changes = []
    if updateFile() { changes.insert(.file) }
    if updateMetrics() { changes.insert(.metrics) }
    if updateWorkers() { changes.insert(.workers) }
    if updateConfusion() { changes.insert(.confusion) }
    if updateResult() { changes.insert(.result) }
    if log.update() { changes.insert(.events) }
    if updateCheckpoints() { changes.insert(.checkpoints) }
    hasLooked = true
    if !changes.isEmpty {
      let newest = [fileStatus, metricsFile.status, resultStatus, checkpointsStatus].compactMap { $0?.changed }.max()
      lastWritten = newest.map { $0 / 1000 }
    }
    return changes
  }

  private mutating func updateFile() -> Bool {
    let path = "\(directory)/\(RunFile.name)"
    let status = FileSystem().status(of: path)
    guard status != fileStatus || !hasLooked else { return false }
    fileStatus = status
    do throws(Failure) {
      (file, problem) = (try RunFile(readingFrom: path), nil)
    } catch {
      (file, problem) = (nil, error)
    }
    return true
  }

  private mutating func updateMetrics() -> Bool {
    // Out of this value and back, so that both can be changed at once.
    var rows = metrics
    metrics = MetricsHistory()
    defer { metrics = rows }
    return metricsFile.update {
      rows = MetricsHistory()
    } take: {
      rows.append($0)
    }
  }

  private mutating func updateWorkers() -> Bool {
    var (newest, isEmpty): ([UInt8]?, Bool) = (nil, false)
    guard workersFile.update(restart: { isEmpty = true }, take: { newest = Array($0) }) else { return false }
    if let newest, let object = try? JSONReader.parse(newest[...], source: "") {
      workers = object
    } else if isEmpty {
      workers = .null
    }
    return true
  }

  private mutating func updateConfusion() -> Bool {
    let path = "\(directory)/confusion.json"
    let status = FileSystem().status(of: path)
    guard status != confusionStatus else { return false }
    confusionStatus = status
    let bytes = try? FileSystem().read(path, limit: 1 << 24, followingLinks: true)
    confusion = bytes.flatMap { try? Self.confusion($0, path) } ?? .null
    return true
  }

  /// The object, if it has a number for each pair of classes.
  private static func confusion(_ bytes: [UInt8], _ path: String) throws(Failure) -> JSONValue {
    let json = try JSONReader.parse(bytes[...], source: path)
    let fields = try JSONFields(json, context: path)
    let classes: [String] = try fields["classes"]
    let counts: [[UInt64]] = try fields["counts"]
    let _: UInt64 = try fields["step"]
    guard counts.count == classes.count, counts.allSatisfy({ $0.count == classes.count }) else {
      throw Failure(.badData, "\(path) has other numbers of classes and counts")
    }
    return json
  }

  private mutating func updateResult() -> Bool {
    let path = "\(directory)/result.json"
    let status = FileSystem().status(of: path)
    guard status != resultStatus else { return false }
    resultStatus = status
    result = (try? FileSystem().text(of: path)).flatMap { try? RunResult(json: $0, source: path) }
    return true
  }

  private mutating func updateCheckpoints() -> Bool {
    let store = CheckpointStore(runDirectory: directory)
    let status = FileSystem().status(of: store.directory)
    guard status != checkpointsStatus else { return false }
    checkpointsStatus = status
    let saved = store.savedSteps
    let isChanged =
      saved.all != checkpoints || saved.latest != latestCheckpoint || saved.best != bestCheckpoint
    (checkpoints, latestCheckpoint, bestCheckpoint) = saved
    return isChanged
  }
}
