import Diagnostics
import Files

/// Something that happened in a run, as one of its processes has logged it.
public struct RunEvent: Sendable, Equatable {
  public enum Kind: String, Sendable, CaseIterable {
    /// The run began or was resumed.
    case started
    /// A worker or the server joined or came back.
    case joined
    /// One left in order.
    case left
    /// One was lost or evicted.
    case lost
    /// Connections, messages or gradients were refused.
    case refused
    /// A process was restarted.
    case restarted
    /// A checkpoint is durable.
    case saved
    /// The run has ended, or was asked to.
    case ended
    /// Any other line of the level `warning`.
    case warning
    /// Any other line of the level `error`.
    case failed
  }

  public let kind: Kind
  /// In RFC 3339, as logged.
  public let time: String
  /// The stable name: "worker_evicted".
  public let event: String
  public let message: String
  /// The process that logged it: "coordinator@host".
  public let process: String
  /// That the process knew of.
  public let step: UInt64?

  private static let kinds: [String: Kind] = [
    "started": .started, "resumed": .started, "worker_joined": .joined, "server_joined": .joined, "replaced": .joined,
    "worker_left": .left, "server_left": .left, "worker_evicted": .lost, "server_lost": .lost,
    "coordinator_lost": .lost, "no_workers": .lost, "keys_refused": .refused, "push_rejected": .refused,
    "messages_rejected": .refused, "start_rejected": .refused, "assignment_rejected": .refused,
    "process_restarted": .restarted, "checkpoint": .saved, "finished": .ended, "stop_requested": .ended,
    "diverged": .failed,
  ]

  /// Nil for a line that tells of the work of a single process, or is none of this program.
  init?(_ line: UnsafeBufferPointer<UInt8>) {
    guard Self.isOfInterest(line), let fields = try? JSONFields(parsing: Array(line), source: ""),
      let level: String = try? fields["level"], let time: String = try? fields["ts"]
    else { return nil }
    let event: String = (try? fields["event"]) ?? ""
    let usual: Kind? = level == "error" || level == "critical" ? .failed : level == "warning" ? .warning : nil
    guard let kind = Self.kinds[event] ?? usual else { return nil }
    (self.kind, self.time, self.event) = (kind, time, event)
    message = (try? fields["msg"]) ?? ""
    process = (try? fields["name"]) ?? ""
    step = try? fields["step"]
  }

  /// Whether the line may be an event, found without parsing it: most lines of a log are none.
  private static func isOfInterest(_ line: UnsafeBufferPointer<UInt8>) -> Bool {
    func find(_ text: [UInt8], in range: Range<Int>) -> Int? {
      guard range.count >= text.count else { return nil }
      return (range.lowerBound...range.upperBound - text.count).first { start in
        line[start] == text[0] && line[start..<start + text.count].elementsEqual(text)
      }
    }
    // Both stand at the beginning of the line, in this order.
    let head = 0..<min(line.count, 160)
    if find(quietLevel, in: head) == nil { return find(anyLevel, in: head) != nil }
    guard let start = find(eventKey, in: head).map({ $0 + eventKey.count }), start < line.count,
      let end = line[start...].firstIndex(of: UInt8(ascii: "\""))
    else { return false }
    return kinds[String(decoding: line[start..<end], as: UTF8.self)] != nil
  }

  private static let anyLevel = Array("\"level\":\"".utf8)
  private static let quietLevel = Array("\"level\":\"info\"".utf8)
  private static let eventKey = Array("\"event\":\"".utf8)
}

extension [RunEvent] {
  /// The newest `count` of each kind, in the same order: what is rare is not lost among what is frequent.
  public func newest(_ count: Int) -> [RunEvent] {
    var counts: [RunEvent.Kind: Int] = [:]
    return Array(
      reversed().filter { event in
        counts[event.kind, default: 0] += 1
        return counts[event.kind, default: 0] <= count
      }.reversed())
  }
}

/// The events of a run, from the logs of all its processes.
struct RunEvents: Sendable {
  /// How many of each kind are kept: the newest.
  static let limit = 500

  private let directory: String
  private var directoryStatus: FileStatus?
  private struct Log: Sendable {
    var file: LineFollower
    var events: [RunEvent] = []
    var counts: [RunEvent.Kind: UInt64] = [:]
  }

  private var logs: [Log] = []
  /// In the order of time.
  private(set) var all: [RunEvent] = []
  /// Of each kind, those that are not kept included.
  private(set) var counts: [RunEvent.Kind: UInt64] = [:]

  /// - Parameter directory: that of the logs.
  init(directory: String) { self.directory = directory }

  /// - Returns: whether there are new ones.
  mutating func update() -> Bool {
    let status = FileSystem().status(of: directory)
    if status != directoryStatus {
      directoryStatus = status
      let names = (try? FileSystem().entries(of: directory)) ?? []
      let paths = names.filter { $0.hasSuffix(".jsonl") }.map { "\(directory)/\($0)" }
      // A log that is gone loses its lines when it is updated.
      for path in paths where !logs.contains(where: { $0.file.path == path }) {
        logs.append(Log(file: LineFollower(path: path)))
      }
    }
    var hasNews = false
    for index in logs.indices where update(&logs[index]) { hasNews = true }
    if hasNews {
      all = logs.flatMap(\.events).sorted { $0.time < $1.time }.newest(Self.limit)
      counts = logs.reduce(into: [:]) { $0.merge($1.counts, uniquingKeysWith: +) }
    }
    return hasNews
  }

  private func update(_ log: inout Log) -> Bool {
    var (events, counts, isChanged) = (log.events, log.counts, false)
    log.events = []
    _ = log.file.update {
      isChanged = isChanged || !events.isEmpty
      (events, counts) = ([], [:])
    } take: { line in
      guard let event = RunEvent(line) else { return }
      events.append(event)
      counts[event.kind, default: 0] += 1
      isChanged = true
      if events.count > Self.limit * 4 { events = events.newest(Self.limit) }
    }
    (log.events, log.counts) = (events, counts)
    return isChanged
  }
}
