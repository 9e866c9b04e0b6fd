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
/// lives, hears and works, and its messages no longer leave it).
package final class FaultPoint {
  enum Act: String { case kill, stop, terminate, mute }

  private enum Purpose {
    case count(directory: String)
    case fault(point: String, occurrence: Int, Act, file: String)
  }

  private let role: NodeRole
  private let purpose: Purpose
  private var counts: [String: Int] = [:]
  /// The messages of this process are dropped.
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
  func pass(_ point: String?) {
    guard let point else { return }
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

/// Events and actions whose handling is a point at which a fault can be injected.
package protocol FaultPointNaming {
  /// The name of the point, nil for none.
  /// - Parameter isDone: before an action is performed, and before an event is handled: false; afterwards: true.
  func faultPoint(isDone: Bool) -> String?
}

extension FaultPointNaming {
  fileprivate func sending(_ message: Message, _ isDone: Bool) -> String {
    "\(isDone ? "sent" : "send").\(message.type)"
  }
  fileprivate func performing(_ name: String, _ isDone: Bool) -> String { "\(isDone ? "begun" : "begin").\(name)" }
}

extension CoordinatorMachine.Event: FaultPointNaming {
  package func faultPoint(isDone: Bool) -> String? {
    switch self {
    case .begin: "told.begin"
    case .received(let message, _): "hears.\(message.type)"
    case .deadline: "told.deadline"
    case .evaluated(_, let split, _): "told.evaluated-\(split)"
    case .checkpointWritten: "told.written"
    case .stopRequested: "told.stop"
    }
  }
}

extension CoordinatorMachine.Action: FaultPointNaming {
  package func faultPoint(isDone: Bool) -> String? {
    switch self {
    case .send(let message, _, _): sending(message, isDone)
    case .evaluate(_, let split, _): performing("evaluate-\(split)", isDone)
    case .write: performing("write", isDone)
    case .observe(.finished): performing("result", isDone)
    case .note, .observe: nil
    case .stop: performing("stop", isDone)
    }
  }
}

extension ServerMachine.Event: FaultPointNaming {
  package func faultPoint(isDone: Bool) -> String? {
    switch self {
    case .begin: "told.begin"
    case .received(let message, _): "hears.\(message.type)"
    case .deadline: "told.deadline"
    case .stopRequested: "told.stop"
    }
  }
}

extension ServerMachine.Action: FaultPointNaming {
  package func faultPoint(isDone: Bool) -> String? {
    switch self {
    case .send(let message, _, _): sending(message, isDone)
    case .note: nil
    case .seekCoordinator: performing("seek", isDone)
    case .rejoin: performing("rejoin", isDone)
    case .stop: performing("stop", isDone)
    }
  }
}

extension WorkerMachine.Event: FaultPointNaming {
  package func faultPoint(isDone: Bool) -> String? {
    switch self {
    case .begin: "told.begin"
    case .received(let message, _): "hears.\(message.type)"
    case .deadline: "told.deadline"
    case .gradientReady: "told.gradient"
    case .stopRequested: "told.stop"
    }
  }
}

extension WorkerMachine.Action: FaultPointNaming {
  package func faultPoint(isDone: Bool) -> String? {
    switch self {
    case .send(let message, _, _): sending(message, isDone)
    case .note: nil
    case .connect: performing("connect", isDone)
    case .prepare: performing("prepare", isDone)
    case .compute: performing("compute", isDone)
    case .seekCoordinator: performing("seek", isDone)
    case .rejoin: performing("rejoin", isDone)
    case .stop: performing("stop", isDone)
    }
  }
}
