import Diagnostics
import Files
import Glibc
import Logging

/// The log file of a process, shared by its loggers on any thread, and the fields that every line of it carries.
public final class LogFile: Sendable {
  public let run: String
  /// "server", "worker", "coordinator", "train".
  public let role: String
  /// Of the process: "worker-1@host".
  public let name: String
  fileprivate let file: File

  /// Opens the log at `path` for appending, or creates it.
  public init(path: String, run: String, role: String, name: String) throws(Failure) {
    (self.run, self.role, self.name) = (run, role, name)
    file = try File(path, for: .appending)
  }
}

/// Writes each log event as one line of JSON: `ts`, `level`, `event`, `msg`, `run`, `role`, `name`, `pid`, `step`, then
/// the other metadata in the order of their names.
///
/// `event` is the stable name that scripts look for (`worker_evicted`); it and `step` are taken from the metadata of the
/// same names. A line has no `step` where the process knows none.
public struct JSONLinesLogHandler: LogHandler {
  public var metadata: Logger.Metadata = [:]
  public var metadataProvider: Logger.MetadataProvider?
  public var logLevel: Logger.Level

  private let file: LogFile
  private let clock: @Sendable () -> UTCTime

  public init(
    file: LogFile, level: Logger.Level = .info, clock: @escaping @Sendable () -> UTCTime = UTCTime.now
  ) {
    self.file = file
    self.logLevel = level
    self.clock = clock
  }

  public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  public func log(event: LogEvent) {
    var merged = metadata
    if let provided = metadataProvider?.get() { merged.merge(provided) { _, new in new } }
    if let given = event.metadata { merged.merge(given) { _, new in new } }
    if let error = event.error { merged["error"] = "\(error)" }
    // A log that cannot be written must not stop the run.
    try? file.file.append(line: line(event.level, event.message.description, merged).compactBytes)
  }

  private func line(_ level: Logger.Level, _ message: String, _ metadata: Logger.Metadata) -> JSONValue {
    let named = ["event", "step"]
    var members: [JSONValue.Member] = [
      .init("ts", .string(clock().timestamp)),
      .init("level", .string(level.rawValue)),
      .init("event", metadata["event"].map(Self.value) ?? .null),
      .init("msg", .string(message)),
      .init("run", .string(file.run)),
      .init("role", .string(file.role)),
      .init("name", .string(file.name)),
      .init("pid", .number(getpid())),
    ]
    if let step = metadata["step"] { members.append(.init("step", Self.value(step))) }
    let taken = Set(members.map(\.name))
    for (key, field) in metadata.sorted(by: { $0.key < $1.key }) where !named.contains(key) {
      // A field must not hide what the line says about itself.
      members.append(.init(taken.contains(key) ? "field_" + key : key, Self.value(field)))
    }
    return .object(members)
  }

  /// Numbers stay numbers, so that a reader can compare them.
  private static func value(_ metadata: Logger.Metadata.Value) -> JSONValue {
    switch metadata {
    case .string(let text): .string(text)
    case .stringConvertible(let number as any BinaryInteger):
      .number("\(number)")
    case .stringConvertible(let number as Double): .measurement(number)
    case .stringConvertible(let number as Float): .measurement(Double(number))
    case .stringConvertible(let flag as Bool): .boolean(flag)
    case .stringConvertible(let other): .string(other.description)
    case .array(let elements): .array(elements.map(value))
    case .dictionary(let members):
      .object(members.sorted { $0.key < $1.key }.map { .init($0.key, value($0.value)) })
    }
  }
}
