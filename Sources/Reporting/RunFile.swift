import Diagnostics
import FoundationEssentials
import JSONText

/// `run.json`: what a run is and how it stands, for people and for the commands that list, resume and stop runs.
public struct RunFile: Sendable, Equatable, Decodable {
  public enum Status: String, Sendable, Equatable, Decodable {
    /// Training, or killed in the middle: a reader asks whether the process still lives.
    case running
    /// Came to its end; `stopReason` says which.
    case finished
    /// Stopped by a signal after a checkpoint: can be resumed.
    case interrupted
    /// Ended with an error.
    case failed
  }

  /// A setting as resolved.
  public struct Setting: Sendable, Equatable, Decodable {
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

  /// One state of the membership: who owned the shards from which step on.
  public struct MembershipEpoch: Sendable, Equatable, Decodable {
    public let epoch: UInt64
    public let step: UInt64
    public let workers: Int
    /// When it began, in RFC 3339.
    public let time: String

    public init(epoch: UInt64, step: UInt64, workers: Int, time: UTCTime) {
      self.epoch = epoch
      self.step = step
      self.workers = workers
      self.time = time.timestamp
    }
  }

  /// The name of the file in the directory of the run.
  public static let name = "run.json"
  /// States of the membership that are kept: the newest.
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
  public let started: String
  /// When this file was last written, in RFC 3339.
  public private(set) var updated: String
  public private(set) var membershipEpochs: [MembershipEpoch]

  enum CodingKeys: String, CodingKey {
    case run, status
    case stopReason = "stop_reason"
    case arguments, settings, seed
    case datasetFingerprint = "dataset_fingerprint"
    case host, cores
    case processIdentifier = "pid"
    case started, updated
    case membershipEpochs = "membership_epochs"
  }

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

  /// Adds a state of the membership; the oldest go where there are more than `membershipLimit`.
  public mutating func append(_ membershipEpoch: MembershipEpoch) {
    membershipEpochs.append(membershipEpoch)
    membershipEpochs.removeFirst(max(0, membershipEpochs.count - Self.membershipLimit))
  }

  // MARK: - File

  /// Writes it through `write`, which replaces the file at once and durably.
  public mutating func save(
    to path: String, at time: UTCTime, write: (_ bytes: [UInt8], _ path: String) throws(Failure) -> Void
  ) throws(Failure) {
    updated = time.timestamp
    try write(Array(json.indentedText.utf8), path)
  }

  /// Reads the file at `path`.
  ///
  /// - Throws: `missingInput` if it cannot be read, `badData` if it is not such a file.
  public init(readingFrom path: String) throws(Failure) {
    let data: Data
    do {
      data = try Data(contentsOf: URL(filePath: path))
    } catch {
      throw Failure(.missingInput, "cannot read \(path)", expected: "the \(Self.name) of a run")
    }
    do {
      self = try JSONDecoder().decode(RunFile.self, from: data)
    } catch {
      throw Failure(.badData, "\(path) is not the \(Self.name) of a run", found: "\(error)".prefix(200).description)
    }
  }

  private var json: JSONValue {
    func member(_ key: CodingKeys, _ value: JSONValue) -> JSONValue.Member { .init(key.rawValue, value) }
    return .object([
      member(.run, .string(run)),
      member(.status, .string(status.rawValue)),
      member(.stopReason, .string(orNull: stopReason)),
      member(.started, .string(started)),
      member(.updated, .string(updated)),
      member(.host, .string(host)),
      member(.cores, .number(cores)),
      member(.processIdentifier, .number(processIdentifier)),
      member(.arguments, .strings(arguments)),
      member(.seed, .number(seed)),
      member(.datasetFingerprint, .string(orNull: datasetFingerprint)),
      member(.settings, .array(settings.map(\.json))),
      member(.membershipEpochs, .array(membershipEpochs.map(\.json))),
    ])
  }
}

extension RunFile.Setting {
  fileprivate var json: JSONValue {
    .object([.init("key", .string(key)), .init("value", .string(orNull: value)), .init("origin", .string(origin))])
  }
}

extension RunFile.MembershipEpoch {
  fileprivate var json: JSONValue {
    .object([
      .init("epoch", .number(epoch)), .init("step", .number(step)), .init("workers", .number(workers)),
      .init("time", .string(time)),
    ])
  }
}
