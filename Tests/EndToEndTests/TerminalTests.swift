import Foundation
import TestSupport
import Testing

/// Progress as a terminal gets it, from real runs.
@Suite("Terminal", .serialized)
struct TerminalTests {
  /// Python would set LC_CTYPE where no locale is set.
  private static let utf8 = [
    "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "CI": "", "NO_COLOR": "1", "PYTHONCOERCECLOCALE": "0",
  ]

  /// A run in a terminal of its own.
  private struct Session {
    let training: Program.Running
    let keys: URL

    init(_ training: Training, columns: Int, environment: [String: String], in directory: URL) throws {
      keys = directory.appendingPathComponent("keys")
      let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("terminal.py")
      let descent = Program.directory.appendingPathComponent("descent").path
      self.training = try Program.Running(
        at: URL(fileURLWithPath: "/usr/bin/env"),
        ["python3", script.path, "--columns", "\(columns)", keys.path, descent]
          + training.arguments(in: directory.appendingPathComponent("run")), environment: environment)
    }

    func type(_ text: String) throws { try Data(text.utf8).write(to: keys, options: .atomic) }

    func setColumns(_ columns: Int) throws {
      let file = URL(fileURLWithPath: keys.path + ".columns")
      try Data("\(columns)".utf8).write(to: file, options: .atomic)
      try waitUntil("the terminal has \(columns) columns") { !FileManager.default.fileExists(atPath: file.path) }
    }

    /// The lines that were drawn so far and are erased by the next one, without what steers the terminal.
    var drawings: [String] { Self.drawings(in: training.standardError) }

    static func drawings(in shown: String) -> [String] {
      shown.components(separatedBy: "\r\u{1B}[?7l").dropFirst().compactMap { part in
        part.range(of: "\u{1B}[J\u{1B}[?7h\r").map {
          String(part[..<$0.lowerBound]).replacing(/\u{1B}\[[0-9]+m/, with: "")
        }
      }
    }
  }

  private func with(
    _ training: Training, columns: Int, environment: [String: String] = utf8, _ body: (Session) throws -> Void
  ) throws {
    try TemporaryDirectory.with { directory in
      try body(try Session(training, columns: columns, environment: environment, in: directory))
    }
  }

  /// What is left on the screen: every line that was drawn has been erased, and the last one is ended.
  private func expectClean(_ shown: String, sourceLocation: SourceLocation = #_sourceLocation) {
    let count = { (text: String) in shown.components(separatedBy: text).count - 1 }
    #expect(count("\u{1B}[?7l") == count("\u{1B}[?7h"), sourceLocation: sourceLocation)
    // A terminal returns to the first column as well, and shows Ctrl-C where the cursor is.
    let shown = shown.replacing("^C", with: "")
    #expect(shown.hasSuffix("\r\n"), sourceLocation: sourceLocation)
    let last = shown.components(separatedBy: "\u{1B}[?7h\r").last ?? ""
    #expect(last.hasPrefix("\r\u{1B}[J"), "\(last)", sourceLocation: sourceLocation)
    // What the command prints clears its line first.
    #expect(!last.replacing("\r\u{1B}[J", with: "").contains("\u{1B}"), "\(last)", sourceLocation: sourceLocation)
  }

  private static let seconds = ["max-steps": "3000", "epochs": "10000", "evaluate-every": "500"]

  @Test(arguments: [40, 80, 200])
  func `a line is drawn again and again in its place, and fits`(columns: Int) throws {
    try with(Training(workers: 2, Self.seconds), columns: columns) { session in
      let output = try session.training.wait(seconds: 60).expect(0)
      let drawings = Session.drawings(in: output.standardError)
      #expect(drawings.count >= 2)
      #expect(drawings.allSatisfy { $0.count < columns && !$0.contains { $0.isNewline } }, "\(drawings)")
      #expect(drawings.allSatisfy { $0.contains("━") || $0.contains("─") }, "\(drawings)")
      let last = try #require(drawings.last)
      #expect(last.contains("loss ") && last.contains(" %"))
      #expect(last.contains(columns == 200 ? "epoch " : "loss "))
      #expect(columns == 40 || last.contains("2 workers"))
      expectClean(output.standardError)
      #expect(output.standardError.contains("\r\u{1B}[Jstep 3000/3000  "))
      #expect(!output.standardError.contains("\u{1B}[3"))
    }
  }

  @Test func `a terminal that becomes narrower gets shorter lines from the next drawing on`() throws {
    try with(Training(workers: 1, ["max-steps": "10000000", "epochs": "1000000"]), columns: 120) { session in
      try waitUntil("a drawing of more than 80 columns") { session.drawings.contains { $0.count > 80 } }
      try session.setColumns(50)
      let before = session.drawings.count
      try waitUntil("three more drawings") { session.drawings.count >= before + 3 }
      // The first of them may have asked before.
      #expect(session.drawings[(before + 1)...].allSatisfy { $0.count < 50 }, "\(session.drawings.suffix(3))")
      try session.type("\u{3}")
      let output = try session.training.wait(seconds: 60).expect(75)
      expectClean(output.standardError)
    }
  }

  @Test func `a worker that is killed is told of on a line of its own, and missing in the next one`() throws {
    try with(
      Training(workers: 2, ["max-steps": "10000000", "epochs": "1000000", "heartbeat-seconds": "0.1"]), columns: 100
    ) { session in
      let run = session.keys.deletingLastPathComponent().appendingPathComponent("run")
      let worker = try #require(try RunStatus.reaching(step: 50, workers: 2, of: run).workers.first)
      kill(worker, SIGKILL)
      let note = try Regex("\r\u{1B}\\[Jdescent: worker-[0-9]+@\\S+ was killed by signal 9; restarting it")
      try waitUntil("the note") { session.training.standardError.contains(note) }
      try session.type("\u{3}")
      expectClean(try session.training.wait(seconds: 60).expect(75).standardError)
    }
  }

  @Test(arguments: [
    ["LC_ALL": "C"], ["LC_ALL": "", "LC_CTYPE": "", "LANG": ""], ["TERM": "linux"],
  ])
  func `without UTF-8 the line is ASCII`(environment: [String: String]) throws {
    try with(
      Training(workers: 0, Self.seconds), columns: 80, environment: Self.utf8.merging(environment) { $1 }
    ) { session in
      let output = try session.training.wait(seconds: 60).expect(0)
      let drawings = Session.drawings(in: output.standardError)
      #expect(!drawings.isEmpty && drawings.allSatisfy { $0.allSatisfy(\.isASCII) && $0.contains("[") }, "\(drawings)")
    }
  }

  @Test func `colours are shown unless NO_COLOR has a value`() throws {
    try with(
      Training(workers: 0, Self.seconds), columns: 80, environment: Self.utf8.merging(["NO_COLOR": ""]) { $1 }
    ) { session in
      let output = try session.training.wait(seconds: 60).expect(0)
      #expect(output.standardError.contains("\u{1B}[32m━"))
      expectClean(output.standardError)
    }
  }

  @Test(arguments: [["TERM": "dumb"], ["CI": "true"], ["TERM": ""]])
  func `dumb terminals and CI get lines without control characters`(environment: [String: String]) throws {
    try with(
      Training(workers: 0, Self.seconds), columns: 80, environment: Self.utf8.merging(environment) { $1 }
    ) { session in
      let output = try session.training.wait(seconds: 60).expect(0)
      #expect(!output.standardError.contains("\u{1B}"))
      #expect(output.standardError.contains("step 3000/3000  "))
    }
  }
}
