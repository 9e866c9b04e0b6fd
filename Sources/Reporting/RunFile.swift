import Diagnostics
import Files
import Optimization

/// `run.json`: what a run is and its state, for people and for the commands that resume and stop runs.
public struct RunFile: Sendable, Equatable {
  public enum Status: String, Sendable, CaseIterable, JSONReadable {
    /// Training, or killed: a reader checks whether the process exists.
    case running
    /// Reached its end; `stopReason` says why.
    case finished
    /// Stopped by a signal after a checkpoint: can be resumed.
    case interrupted
    /// Ended with an error.
    case failed
  }

  /// A setting as resolved.
  public struct Setting: Sendable, Equatable {
    public let key: String
    /// `nil` where it is not set.
    public let value: String?
    /// "default", "train.yaml:12", "DESCENT_SEED", "--seed".
    public let origin: String

    public init(key: String, value: String?, origin: String) {
      self.key = key
      self.value = value
      self.origin = origin
    }
  }

  /// One membership epoch: how many workers owned the shards, and from which step on.
  public struct MembershipEpoch: Sendable, Equatable {
    public let epoch: UInt64
    public let step: UInt64
    public let workers: Int
    /// When it began, in RFC 3339.
    public let time: String
  }

  /// The name of the file in the directory of the run.
  public static let name = "run.json"
  /// How many membership epochs are kept: the newest.
  public static let membershipLimit = 1000

  public let run: String
  public var status = Status.running
  /// Once it has ended.
  public var stopReason: StopReason?
  /// When the run was first started, in RFC 3339.
  public fileprivate(set) var started: String
  /// When this file was last written, in RFC 3339.
  public private(set) var updated: String
  public var host = ""
  public var cores = 0
  /// Of a run that began with the weights of another one, or of a file.
  public var startedFrom: WeightsOrigin?
  /// Process identifier.
  public var pid: Int32 = 0
  /// The command line that started it, or resumed it last.
  public var arguments: [String] = []
  public var seed: UInt64
  /// Of the data set, in hexadecimal, because beyond 2⁵³ many readers of JSON round integers; `nil` before it was read.
  public private(set) var datasetFingerprint: String?
  /// In the order of the table of settings.
  public var settings: [Setting] = []
  public fileprivate(set) var membershipEpochs: [MembershipEpoch] = []

  public init(run: String, seed: UInt64, datasetFingerprint: UInt64?, started: UTCTime) {
    self.run = run
    self.seed = seed
    self.datasetFingerprint = datasetFingerprint.map { hexadecimal($0) }
    self.started = started.timestamp
    updated = started.timestamp
  }

  /// Adds a membership epoch and removes the oldest beyond `membershipLimit`.
  public mutating func append(epoch: UInt64, step: UInt64, workers: Int, at time: UTCTime) {
    membershipEpochs.append(MembershipEpoch(epoch: epoch, step: step, workers: workers, time: time.timestamp))
    membershipEpochs.removeFirst(max(0, membershipEpochs.count - Self.membershipLimit))
  }

  // MARK: - File

  /// Replaces the file durably.
  public mutating func save(to path: String, at time: UTCTime) throws(Failure) {
    updated = time.timestamp
    try FileSystem().replace(path, with: JSONValue(reflecting: self).indentedText)
  }

  /// - Throws: `missingInput` when there is none, `badData` when it is something else.
  public init(readingFrom path: String) throws(Failure) {
    let fields = try JSONFields(
      parsing: FileSystem().read(path, limit: Self.sizeLimit, followingLinks: true), source: path)
    run = try fields["run"]
    status = try fields["status"]
    stopReason = try fields["stop_reason"]
    started = try fields["started"]
    updated = try fields["updated"]
    host = try fields["host"]
    cores = try fields["cores"]
    startedFrom = try fields.objectIfRecorded("started_from").map { (origin) throws(Failure) in
      WeightsOrigin(
        path: try origin["path"], run: try origin["run"], step: try origin["step"],
        weightsSHA256: try origin["weights_sha256"])
    }
    pid = try fields["pid"]
    arguments = try fields["arguments"]
    seed = try fields["seed"]
    datasetFingerprint = try fields["dataset_fingerprint"]
    settings = try fields.objects("settings") { (setting) throws(Failure) in
      Setting(key: try setting["key"], value: try setting["value"], origin: try setting["origin"])
    }
    membershipEpochs = try fields.objects("membership_epochs") { (epoch) throws(Failure) in
      MembershipEpoch(
        epoch: try epoch["epoch"], step: try epoch["step"], workers: try epoch["workers"], time: try epoch["time"])
    }
  }

  private static let sizeLimit = 1 << 24
}

/// Writes `run.json` at every change.
public final class RunFileWriter: RunObserver {
  public let name = "run_file"
  private let path: String
  private var file: RunFile

  /// Writes the file of a run that starts. If it is resumed, the file at `path` is continued.
  public init(_ file: RunFile, path: String, isResumed: Bool) throws(Failure) {
    self.path = path
    self.file = file
    if isResumed, let earlier = try? RunFile(readingFrom: path) {
      (self.file.started, self.file.membershipEpochs) = (earlier.started, earlier.membershipEpochs)
      self.file.startedFrom = earlier.startedFrom ?? self.file.startedFrom
    }
    try save()
  }

  public func membershipChanged(epoch: UInt64, step: UInt64, workers: Int) throws(Failure) {
    file.append(epoch: epoch, step: step, workers: workers, at: .now())
    try save()
  }

  public func finished(_ result: RunResult, _ status: ExitStatus) throws(Failure) {
    file.stopReason = result.stopReason
    file.status =
      switch status {
      case .success: .finished
      case .stoppedBySignal: .interrupted
      default: .failed
      }
    try save()
  }

  private func save() throws(Failure) { try file.save(to: path, at: .now()) }
}
