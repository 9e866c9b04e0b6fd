import Cluster
import Diagnostics
import Glibc
import Messaging

/// Something that happens to a process at a named point of its work: for the tests that go through all points there are.
///
/// The hidden setting is the variable `DESCENT_FAULT`, in one of two forms:
/// - `count=DIRECTORY`: nothing happens; at its end each process writes how often it passed which points.
/// - `ROLE/POINT/N/ACT=FILE`: the first process of the role that passes the point for the Nth time makes the file, with its
///   process id in it, and does it. Not again, once the file is there: a process that was started again is spared.
///
/// Points are what a role is told and what it does, in its own words: `hears.push`, `told.evaluated`, `send.work`,
/// `sent.work`, `begin.write`, `begun.write`. Acts: `kill` (SIGKILL), `stop` (SIGSTOP), `terminate` (SIGTERM), `mute` (it
/// lives, hears and works, and nobody hears it any more).
package final class FaultPoint {
  enum Act: String { case kill, stop, terminate, mute }

  private enum Purpose {
    case count(directory: String)
    case fault(point: String, occurrence: Int, Act, file: String)
  }

  private let role: NodeRole
  private let purpose: Purpose
  private var counts: [String: Int] = [:]
  /// Nobody hears this process any more.
  private(set) var isMute = false

  /// Nil where the variable is not set, or is for another role.
  ///
  /// - Throws: `badConfiguration` for one that says neither.
  init?(_ role: NodeRole, environment: [String: String]) throws(Failure) {
    guard let text = environment["DESCENT_FAULT"] else { return nil }
    let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
    let words = (parts.first ?? "").split(separator: "/").map(String.init)
    self.role = role
    if words == ["count"], parts.count == 2 {
      purpose = .count(directory: parts[1])
    } else if words.count == 4, parts.count == 2, let occurrence = Int(words[2]), let act = Act(rawValue: words[3]) {
      guard words[0] == role.description else { return nil }
      purpose = .fault(point: words[1], occurrence: occurrence, act, file: parts[1])
    } else {
      throw Failure(
        .badConfiguration, "DESCENT_FAULT", found: "\"\(text.prefix(100))\"",
        expected: "count=DIRECTORY or ROLE/POINT/N/ACT=FILE", remedy: "It is for tests: unset it")
    }
  }

  /// The process is at a point.
  func pass(_ point: @autoclosure () -> String) {
    let point = point()
    counts[point, default: 0] += 1
    guard case .fault(point, let occurrence, let act, let file) = purpose, counts[point] == occurrence,
      Self.claim(file)
    else { return }
    switch act {
    case .kill: kill(getpid(), SIGKILL)
    case .stop: kill(getpid(), SIGSTOP)
    case .terminate: kill(getpid(), SIGTERM)
    case .mute: isMute = true
    }
  }

  /// Makes the file; false if it is there already.
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

extension FaultPoint {
  /// Before a role handles an event.
  func pass(_ event: Event) {
    switch event {
    case .begin: pass("told.begin")
    case .received(let message, _): pass("hears.\(message.type)")
    case .deadline: pass("told.deadline")
    case .gradientReady: pass("told.gradient")
    case .evaluated(_, let split, _): pass("told.evaluated-\(split)")
    case .checkpointWritten: pass("told.written")
    case .stopRequested: pass("told.stop")
    }
  }

  /// Before or after an action is performed.
  func pass(_ action: Action, isDone: Bool) {
    let name: String
    switch action {
    case .send(let message, _, _):
      pass("\(isDone ? "sent" : "send").\(message.type)")
      return
    case .connect: name = "connect"
    case .prepare: name = "prepare"
    case .compute: name = "compute"
    case .evaluate(_, let split, _): name = "evaluate-\(split)"
    case .write: name = "write"
    case .observe(.finished): name = "result"
    case .observe: return
    case .seekCoordinator: name = "seek"
    case .rejoin: name = "rejoin"
    case .stop: name = "stop"
    }
    pass("\(isDone ? "begun" : "begin").\(name)")
  }
}
