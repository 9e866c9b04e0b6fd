import Cluster
import Diagnostics
import Logging
import Reporting
import Transport

/// The log of a process: its log file, and messages for people on standard error.
package final class NodeLog {
  private var logger: Logger?
  /// Where training stands, for every line; nil where the process does not know it.
  var step: UInt64?
  /// Shows messages to people; nil if they go to the file only.
  private let show: ((NoteLevel, String) -> Void)?

  package init(file: LogFile?, show: ((NoteLevel, String) -> Void)?) {
    self.show = show
    if let file {
      logger = Logger(label: file.role) { _ in JSONLinesLogHandler(file: file) }
    }
  }

  /// Without people.
  init(_ handler: JSONLinesLogHandler) {
    show = nil
    logger = Logger(label: "") { _ in handler }
  }

  /// - Parameter isShown: false for what the command reports in another way.
  func note(_ level: NoteLevel, event: String, _ message: String, step: UInt64? = nil, isShown: Bool = true) {
    var metadata: Logger.Metadata = ["event": .string(event)]
    if let step = step ?? self.step { metadata["step"] = .stringConvertible(step) }
    logger?.log(level: level.loggerLevel, "\(message)", metadata: metadata)
    if isShown { show?(level, message) }
  }

  /// The message counters of the process, at its end.
  func counters(_ counters: TransportCounters) {
    var fields: Logger.Metadata = [
      "event": "transport", "sent": .stringConvertible(counters.sent),
      "received": .stringConvertible(counters.received),
      "bytes-from-sockets": .stringConvertible(counters.bytesFromSockets),
      "bytes-from-memory": .stringConvertible(counters.bytesFromMemory),
      "waits": .stringConvertible(counters.waits),
      "unroutable": .stringConvertible(counters.unroutable), "overflowed": .stringConvertible(counters.overflowed),
    ]
    for reason in TransportCounters.Rejection.allCases where counters.rejected(reason) > 0 {
      fields["rejected-" + reason.rawValue] = .stringConvertible(counters.rejected(reason))
    }
    logger?.info("message counters of this process", metadata: fields)
  }
}

extension ExitStatus {
  /// Of the line that says how a process has ended. A stop that was asked for is no error.
  var noteLevel: NoteLevel { self == .success || self == .stoppedBySignal ? .info : .error }
}

extension NoteLevel {
  /// That of the same name.
  var loggerLevel: Logger.Level { Logger.Level(rawValue: "\(self)") ?? .critical }
}
