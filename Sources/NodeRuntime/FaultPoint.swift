import Cluster
import Diagnostics
import Glibc
import Messaging
import Optimization

/// Injects a fault at a named point of a process's work: for the tests that go through all points there are.
///
/// The hidden setting is the variable `DESCENT_FAULT`, in one of two forms:
/// - `count=DIRECTORY`: nothing happens; at its end each process writes how often it passed which points.
/// - `ROLE/POINT/N/ACT=FILE`: the first process of the role that passes the point for the Nth time creates the file, with
///   its process id in it, and performs the act. Once the file exists nothing happens again: a restarted process is spared.
///
/// Points are the events, outcomes, actions and requests of the role's machine: `received.push`, `evaluated-test`,
/// `before.send.work`, `after.send.work`, `before.write`. Acts: `kill` (SIGKILL), `stop` (SIGSTOP), `terminate` (SIGTERM),
/// `silence` (the process continues, and its messages are dropped instead of sent).
package final class FaultPoint {
  enum Act: String { case kill, stop, terminate, silence }

  private enum Purpose {
    case count(directory: String)
    case fault(point: String, occurrence: Int, Act, file: String)
  }

  private let role: NodeRole
  private let purpose: Purpose
  private var counts: [String: Int] = [:]
  /// The messages of this process are dropped.
  private(set) var isSilenced = false

  /// Nil where the variable is not set, or empty, or is for another role.
  ///
  /// - Throws: `badConfiguration` for another form.
  init?(_ role: NodeRole) throws(Failure) {
    guard let text = getenv("DESCENT_FAULT").map({ String(cString: $0) }), !text.isEmpty else { return nil }
    let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
    let words = (parts.first ?? "").split(separator: "/").map(String.init)
    self.role = role
    if words == ["count"], parts.count == 2 {
      purpose = .count(directory: parts[1])
    } else if words.count == 4, parts.count == 2, let occurrence = Int(words[2]), let act = Act(rawValue: words[3]) {
      guard words[0] == "\(role)" else { return nil }
      purpose = .fault(point: words[1], occurrence: occurrence, act, file: parts[1])
    } else {
      throw Failure(
        .badConfiguration,
        "DESCENT_FAULT must be count=DIRECTORY or ROLE/POINT/N/ACT=FILE, but is \"\(text.prefix(100))\"",
        remedy: "It is for tests: unset it")
    }
  }

  /// The process is about to handle an event, or is before or after an action.
  func pass<Step>(_ step: Step, _ prefix: String = "") {
    guard let name = Self.name(step) else { return }
    let point = prefix + name
    counts[point, default: 0] += 1
    guard case .fault(point, let occurrence, let act, let file) = purpose, counts[point] == occurrence,
      Self.claim(file)
    else { return }
    switch act {
    case .kill: kill(getpid(), SIGKILL)
    case .stop: kill(getpid(), SIGSTOP)
    case .terminate: kill(getpid(), SIGTERM)
    case .silence: isSilenced = true
    }
  }

  /// The case of an event, outcome, action or request, with the type of its message or the split of its evaluation. Nil for
  /// notes, for looks at the data, and for observations other than the last one.
  private static func name<Step>(_ step: Step) -> String? {
    guard let child = Mirror(reflecting: step).children.first, let name = child.label else { return "\(step)" }
    if ["note", "verifyData", "dataVerified"].contains(name) { return nil }
    if ["outcome", "request", "member"].contains(name) { return Self.name(child.value) }
    if let observation = child.value as? Observation {
      if case .finished = observation { return "finished" }
      return nil
    }
    for value in [child.value] + Mirror(reflecting: child.value).children.map(\.value) {
      if let message = value as? Message { return "\(name).\(message.type)" }
      if let split = value as? EvaluationSplit { return "\(name)-\(split)" }
    }
    return name
  }

  /// Creates the file; false if it exists.
  private static func claim(_ file: String) -> Bool {
    let descriptor = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    let text = Array("\(getpid())\n".utf8)
    return write(descriptor, text, text.count) == text.count
  }

  /// The role has ended.
  func finish() {
    guard case .count(let directory) = purpose else { return }
    let lines = counts.sorted { $0.key < $1.key }.map { "\(role) \($0.key) \($0.value)\n" }
    let file = fopen("\(directory)/\(role).\(getpid())", "we")
    guard let file else { return }
    defer { fclose(file) }
    fputs(lines.joined(), file)
  }
}
