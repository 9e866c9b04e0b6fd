import Diagnostics
import Files
import Messaging
import Optimization

/// `run.json`: what a run is and its state, for people and for the commands that resume and stop runs.
public struct RunFile: Sendable, Equatable {
  public enum Status: String, Sendable, CaseIterable, JSONReadable {
    /// Training, or killed: a reader checks whether a process holds the lock of the directory.
    case running
    /// Reached its end.
    case finished
    /// Stopped by a signal after a checkpoint: can be resumed.
    case interrupted
    /// Ended with an error.
    case failed
  }

  /// How the newest start ended.
  public struct Ending: Sendable, Equatable {
    public let reason: StopReason
    /// "SIGTERM", if one has ended it.
    public let signal: String?
    /// What was said of it.
    public let message: String
    /// The step that the run stood at.
    public let step: UInt64
    /// In RFC 3339.
    public let time: String
  }

  /// One start of the run: the first, and each that resumed it. A process that takes the place of one that was killed,
  /// started by `descent train`, is a restart.
  public struct Start: Sendable, Equatable {
    /// The command line as typed, of `descent train` or `descent-coordinator`.
    public let command: [String]
    /// In RFC 3339.
    public let time: String
    public let host: String
    /// Of the process with that command line.
    public let pid: Int32
    /// Path of the checkpoint; nil at step 0.
    public let resumedFrom: String?
    /// Nil as long as it has not ended, and `killed` if it ended without a word.
    public fileprivate(set) var ended: StopReason?

    public init(command: [String], time: UTCTime, host: String, pid: Int32, resumedFrom: String?) {
      (self.command, self.time, self.host) = (command, time.timestamp, host)
      (self.pid, self.resumedFrom) = (pid, resumedFrom)
    }
  }

  /// A process that `descent train` has restarted.
  public struct Restart: Sendable, Equatable {
    /// "worker-1@host".
    public let process: String
    /// In RFC 3339.
    public let time: String
    /// How its predecessor ended: "was killed by signal 9".
    public let formerExit: String
  }

  /// What the newest start was made of.
  public struct Versions: Sendable, Equatable {
    public var descent = DescentVersion.current
    /// Nil if it is not known.
    public var commit = DescentVersion.commit
    public var networkProtocol = Int(Envelope.protocolVersion)
    /// Of Swift: "6.2", or "6.3" for that and later ones.
    public var compiler = Self.compilerVersion
    /// Of the kernels: "avx512".
    public var kernel = ""

    /// Those of this program, without a kernel.
    package static let current = Versions()

    private static var compilerVersion: String {
      #if compiler(>=6.3)
        "6.3"
      #else
        "6.2"
      #endif
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
  /// How many membership epochs, and how many starts and restarts, are kept: the newest.
  public static let historyLimit = 1000

  public let run: String
  public var status = Status.running
  /// Nil as long as the newest start has not ended.
  public var ended: Ending?
  /// When the run was first started, in RFC 3339.
  public fileprivate(set) var started: String
  /// When this file was last written, in RFC 3339.
  public private(set) var updated: String
  public var host = ""
  public var cores = 0
  /// Of a run that began with the weights of another one, or of a file.
  public var startedFrom: WeightsOrigin?
  /// Process identifier of the coordinator, or of the sequential trainer.
  public var pid: Int32 = 0
  /// What the others connect to, "tcp://10.0.0.1:40123"; nil where they are on this host and need no TCP.
  public var endpoint: String?
  public var versions = Versions()
  public fileprivate(set) var starts: [Start] = []
  public fileprivate(set) var restarts: [Restart] = []
  public var seed: UInt64
  /// Of the data set, in hexadecimal, because beyond 2⁵³ many readers of JSON round integers; `nil` before it was read.
  public private(set) var datasetFingerprint: String?
  /// The value of each setting of the newest start; null for one that is not set.
  package var settings = JSONValue.object([])
  /// Where each of them came from: "default", "train.yaml:12", "DESCENT_SEED", "--seed".
  package var origins = JSONValue.object([])
  public fileprivate(set) var membershipEpochs: [MembershipEpoch] = []

  /// - Parameter start: the first one.
  public init(run: String, seed: UInt64, datasetFingerprint: UInt64?, start: Start) {
    self.run = run
    self.seed = seed
    self.datasetFingerprint = datasetFingerprint.map { hexadecimal($0) }
    (started, updated) = (start.time, start.time)
    (host, starts) = (start.host, [start])
  }

  /// Adds a membership epoch and removes the oldest beyond `historyLimit`.
  public mutating func append(epoch: UInt64, step: UInt64, workers: Int, at time: UTCTime) {
    membershipEpochs.append(MembershipEpoch(epoch: epoch, step: step, workers: workers, time: time.timestamp))
    membershipEpochs.removeFirst(max(0, membershipEpochs.count - Self.historyLimit))
  }

  public mutating func append(restartOf process: String, after formerExit: String, at time: UTCTime) {
    restarts.append(Restart(process: process, time: time.timestamp, formerExit: formerExit))
    restarts.removeFirst(max(0, restarts.count - Self.historyLimit))
  }

  /// Whether the newest start is that of a process.
  public func isNewestStart(of processID: Int32, on host: String) -> Bool {
    starts.last.map { ($0.pid, $0.host) == (processID, host) } ?? false
  }

  /// The newest start has ended.
  ///
  /// - Parameters:
  ///   - signal: "SIGTERM", if one has ended it.
  ///   - message: what is said of it.
  public mutating func end(
    _ status: Status, _ reason: StopReason, signal: String?, message: String, step: UInt64, at time: UTCTime
  ) {
    self.status = status
    ended = Ending(reason: reason, signal: signal, message: message, step: step, time: time.timestamp)
    if !starts.isEmpty { starts[starts.count - 1].ended = reason }
  }

  /// Takes over the history of the run.
  ///
  /// - Parameter isRestart: this process takes the place of a coordinator that was killed. It belongs to the same start if
  ///   that one has recorded it.
  fileprivate mutating func `continue`(_ earlier: RunFile, isRestart: Bool) {
    (started, membershipEpochs, restarts) = (earlier.started, earlier.membershipEpochs, earlier.restarts)
    startedFrom = earlier.startedFrom ?? startedFrom
    var before = earlier.starts
    if isRestart, let last = before.last, let own = starts.last, (last.pid, last.host) == (own.pid, own.host) {
      starts = before
    } else {
      if let last = before.indices.last, before[last].ended == nil { before[last].ended = .killed }
      starts = Array((before + starts).suffix(Self.historyLimit))
    }
  }

  // MARK: - File

  /// Replaces the file durably.
  public mutating func save(to path: String, at time: UTCTime) throws(Failure) {
    updated = time.timestamp
    try FileSystem().replace(path, with: JSONValue(reflecting: self).indentedText)
  }

  /// Reads a file of this version, or of one that recorded the arguments of the newest start only.
  ///
  /// - Throws: `missingInput` when there is none, `badData` when it is something else.
  public init(readingFrom path: String) throws(Failure) {
    let fields = try JSONFields(
      parsing: FileSystem().read(path, limit: Self.sizeLimit, followingLinks: true), source: path)
    run = try fields["run"]
    status = try fields["status"]
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
    if fields.contains("endpoint") { endpoint = try fields["endpoint"] }
    seed = try fields["seed"]
    datasetFingerprint = try fields["dataset_fingerprint"]
    membershipEpochs = try fields.objects("membership_epochs") { (epoch) throws(Failure) in
      MembershipEpoch(
        epoch: try epoch["epoch"], step: try epoch["step"], workers: try epoch["workers"], time: try epoch["time"])
    }
    guard !fields.members.contains(where: { $0.name == "arguments" }) else { return }
    ended = try fields.objectIfPresent("ended").map { (ended) throws(Failure) in
      Ending(
        reason: try ended["reason"], signal: try ended["signal"], message: try ended["message"],
        step: try ended["step"], time: try ended["time"])
    }
    let versions = try fields.object("versions")
    self.versions = Versions(
      descent: try versions["descent"], commit: try versions["commit"],
      networkProtocol: try versions["network_protocol"], compiler: try versions["compiler"],
      kernel: try versions["kernel"])
    starts = try fields.objects("starts") { (fields) throws(Failure) in try Start(fields) }
    restarts = try fields.objects("restarts") { (restart) throws(Failure) in
      Restart(
        process: try restart["process"], time: try restart["time"], formerExit: try restart["former_exit"])
    }
    settings = try fields.value("settings")
    origins = try fields.value("origins")
  }

  private static let sizeLimit = 1 << 24
}

extension RunFile.Start {
  fileprivate init(_ fields: JSONFields) throws(Failure) {
    command = try fields["command"]
    time = try fields["time"]
    host = try fields["host"]
    pid = try fields["pid"]
    resumedFrom = try fields["resumed_from"]
    ended = try fields["ended"]
  }
}

/// Writes `run.json` at every change.
public final class RunFileWriter: RunObserver {
  public let name = "run_file"
  private let path: String
  private var file: RunFile
  private let signal: () -> String?

  /// Writes the file of a run that starts. If it is resumed, the file at `path` is continued.
  ///
  /// - Parameters:
  ///   - formerExit: how the coordinator ended that this one replaces in the same start; nil if it replaces none.
  ///   - signal: the name of the signal that this process has received.
  public init(
    _ file: RunFile, path: String, isResumed: Bool, process: String = "", formerExit: String? = nil,
    signal: @escaping () -> String? = { nil }
  ) throws(Failure) {
    self.path = path
    self.file = file
    self.signal = signal
    if isResumed, let earlier = try? RunFile(readingFrom: path) {
      self.file.continue(earlier, isRestart: formerExit != nil)
    }
    if let formerExit { self.file.append(restartOf: process, after: formerExit, at: .now()) }
    try save()
  }

  public func listening(at endpoint: String) throws(Failure) {
    file.endpoint = endpoint
    try save()
  }

  public func membershipChanged(epoch: UInt64, step: UInt64, workers: Int) throws(Failure) {
    file.append(epoch: epoch, step: step, workers: workers, at: .now())
    try save()
  }

  public func restarted(_ process: String, formerExit: String) throws(Failure) {
    file.append(restartOf: process, after: formerExit, at: .now())
    try save()
  }

  public func finished(_ result: RunResult, _ ending: ExitReason) throws(Failure) {
    let status: RunFile.Status =
      switch ending.status {
      case .success: .finished
      case .stoppedBySignal: .interrupted
      default: .failed
      }
    let reason = ending.status == .inputOutput ? .inputOutput : result.stopReason
    file.end(
      status, reason, signal: reason == .signal ? signal() : nil, message: ending.reason, step: result.steps, at: .now()
    )
    try save()
  }

  private func save() throws(Failure) { try file.save(to: path, at: .now()) }
}
