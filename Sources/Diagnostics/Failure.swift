/// The exit status of a process of Descent: the numbers of sysexits.h, so that a shell script, systemd or a batch
/// system can decide what to do without parsing a message.
public enum ExitStatus: Int32, Sendable, CaseIterable {
  case success = 0
  /// A flag or argument is wrong.
  case usage = 64
  /// A data file or checkpoint is malformed or damaged.
  case badData = 65
  /// A file or directory that was named does not exist or cannot be read.
  case missingInput = 66
  /// A peer did not connect, or was silent for longer than its deadline.
  case unavailable = 69
  /// A broken invariant, or the training diverged.
  case internalError = 70
  /// A file or directory cannot be created, or is in use by another run.
  case cannotCreate = 73
  /// Reading or writing failed; the message names what was not saved.
  case inputOutput = 74
  /// Stopped by a signal after a checkpoint was saved: start again with `--resume`.
  case stoppedBySignal = 75
  /// The peer refused the connection.
  case refused = 77
  /// A configuration file, environment variable or combination of settings is wrong, or a limit of the system too low.
  case badConfiguration = 78
  /// A newer membership epoch owns the work of this process.
  case fenced = 79

  /// "bad data": in a few words, for help and manual.
  public var phrase: String {
    switch self {
    case .success: "done"
    case .usage: "usage"
    case .badData: "bad data"
    case .missingInput: "missing input"
    case .unavailable: "a peer is missing"
    case .internalError: "diverged or internal error"
    case .cannotCreate: "cannot create"
    case .inputOutput: "input/output error"
    case .stoppedBySignal: "stopped by a signal (resume with --resume must)"
    case .refused: "refused"
    case .badConfiguration: "bad configuration or a limit that is too low"
    case .fenced: "fenced"
    }
  }
}

/// The one error that people see: what happened to what, why, and what to do about it.
public struct Failure: Error, Sendable, Equatable, CustomStringConvertible {
  public var status: ExitStatus
  /// What happened, as a sentence: "cannot write runs/x", "--batch-size 100 must be a multiple of --shards (16, the default)".
  public var message: String
  /// The reason or, for a parser, what stands in its input: "Permission denied".
  public var found: String?
  /// For a parser: what its input must have there.
  public var expected: String?
  /// A sentence without a full stop: "Choose a writable place with --run-dir".
  public var remedy: String?

  public init(
    _ status: ExitStatus, _ message: String, found: String? = nil, expected: String? = nil,
    remedy: String? = nil
  ) {
    self.status = status
    self.message = message
    self.found = found
    self.expected = expected
    self.remedy = remedy
  }

  /// "message: found (expected that). Remedy".
  public var description: String {
    var text = message
    if let found { text += ": \(found)" }
    if let expected { text += " (expected \(expected))" }
    if let remedy { text += ". \(remedy)" }
    return text
  }
}
