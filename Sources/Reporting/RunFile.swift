import Diagnostics
import Files
import JSONText

/// `run.json`: what a run is and its state, for people and for the commands that resume and stop runs.
public struct RunFile: Sendable, Equatable {
  public enum Status: String, Sendable, CaseIterable {
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

    public init(epoch: UInt64, step: UInt64, workers: Int, time: String) {
      self.epoch = epoch
      self.step = step
      self.workers = workers
      self.time = time
    }
  }

  /// The name of the file in the directory of the run.
  public static let name = "run.json"
  /// How many membership epochs are kept: the newest.
  public static let membershipLimit = 1000

  public let run: String
  public var status: Status
  /// The raw value of a `StopReason`, once there is one.
  public var stopReason: String?
  /// The command line that started it, or resumed it last.
  public var arguments: [String]
  /// In the order of the table of settings.
  public var settings: [Setting]
  public var seed: UInt64
  /// Of the data set, in hexadecimal, because beyond 2⁵³ many readers of JSON round integers; `nil` before it was read.
  public var datasetFingerprint: String?
  public var host: String
  public var cores: Int
  public var processIdentifier: Int32
  /// When the run was first started, in RFC 3339.
  public private(set) var started: String
  /// When this file was last written, in RFC 3339.
  public private(set) var updated: String
  public private(set) var membershipEpochs: [MembershipEpoch]

  public init(
    run: String, arguments: [String], settings: [Setting], seed: UInt64, datasetFingerprint: UInt64?, host: String,
    cores: Int, processIdentifier: Int32, started: UTCTime
  ) {
    self.run = run
    self.status = .running
    self.arguments = arguments
    self.settings = settings
    self.seed = seed
    self.datasetFingerprint = datasetFingerprint.map { hexadecimal($0) }
    self.host = host
    self.cores = cores
    self.processIdentifier = processIdentifier
    self.started = started.timestamp
    self.updated = started.timestamp
    self.membershipEpochs = []
  }

  /// Takes over what an earlier start of the same run has recorded.
  mutating func `continue`(_ earlier: RunFile) {
    started = earlier.started
    membershipEpochs = earlier.membershipEpochs
  }

  /// Adds a membership epoch and removes the oldest beyond `membershipLimit`.
  public mutating func append(_ membershipEpoch: MembershipEpoch) {
    membershipEpochs.append(membershipEpoch)
    membershipEpochs.removeFirst(max(0, membershipEpochs.count - Self.membershipLimit))
  }

  // MARK: - File

  /// Replaces the file durably.
  public mutating func save(to path: String, at time: UTCTime) throws(Failure) {
    updated = time.timestamp
    try FileSystem().replace(path, with: json.indentedText)
  }

  /// Reads the file at `path`.
  ///
  /// - Throws: `missingInput` if it cannot be read, `badData` if it is not the file of a run.
  public init(readingFrom path: String) throws(Failure) {
    let bytes = try FileSystem().read(path, limit: Self.sizeLimit, followingLinks: true)
    let fields = try JSONFields(JSONReader.parse(bytes[...], source: path), context: path)
    run = try fields.string("run")
    status = try fields.choice("status")
    stopReason = try fields.stringIfPresent("stop_reason")
    started = try fields.string("started")
    updated = try fields.string("updated")
    host = try fields.string("host")
    cores = try fields.integer("cores", as: Int.self)
    processIdentifier = try fields.integer("pid", as: Int32.self)
    arguments = try fields.strings("arguments")
    seed = try fields.integer("seed", as: UInt64.self)
    datasetFingerprint = try fields.stringIfPresent("dataset_fingerprint")
    settings = try fields.objects("settings") { (setting) throws(Failure) in
      Setting(
        key: try setting.string("key"), value: try setting.stringIfPresent("value"),
        origin: try setting.string("origin"))
    }
    membershipEpochs = try fields.objects("membership_epochs") { (epoch) throws(Failure) in
      MembershipEpoch(
        epoch: try epoch.integer("epoch", as: UInt64.self), step: try epoch.integer("step", as: UInt64.self),
        workers: try epoch.integer("workers", as: Int.self), time: try epoch.string("time"))
    }
  }

  private static let sizeLimit = 1 << 24

  private var json: JSONValue {
    [
      "run": .string(run), "status": .string(status.rawValue), "stop_reason": .string(orNull: stopReason),
      "started": .string(started), "updated": .string(updated), "host": .string(host), "cores": .number(cores),
      "pid": .number(processIdentifier), "arguments": .strings(arguments), "seed": .number(seed),
      "dataset_fingerprint": .string(orNull: datasetFingerprint),
      "settings": .array(
        settings.map { ["key": .string($0.key), "value": .string(orNull: $0.value), "origin": .string($0.origin)] }),
      "membership_epochs": .array(
        membershipEpochs.map {
          [
            "epoch": .number($0.epoch), "step": .number($0.step), "workers": .number($0.workers),
            "time": .string($0.time),
          ]
        }),
    ]
  }
}
