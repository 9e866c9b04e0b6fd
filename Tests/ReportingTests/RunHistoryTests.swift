import Diagnostics
import FoundationEssentials
import Glibc
import Messaging
import Optimization
import Reporting
import TestSupport
import Testing

@Suite struct RunHistoryTests {
  private func record(_ step: UInt64, loss: Double? = nil) -> MetricsRecord {
    var record = MetricsRecord(step: step, examples: step * 512)
    (record.epoch, record.seconds) = (Double(step) / 88, Double(step) * 0.0013)
    (record.workers, record.learningRate) = (3, Double(Float(0.01)) / Double(step + 1))
    (record.penalty, record.trainDataLoss) = (1.0 / 3, loss ?? 2.302585092994046 / Double(step + 1).squareRoot())
    (record.trainAccuracy, record.gradientNorm) = (0.41, 1e-9 * Double(step))
    record.validationAccuracy = 0.1 + Double(step) * 1e-6
    return record
  }

  private func append(_ text: String, to path: String) throws {
    let handle = try #require(FileHandleForTests(appendingTo: path))
    handle.write(text)
  }

  @Test func `rows are read back as they were written, also as the file grows`() throws {
    try TemporaryDirectory.with { directory in
      let writer = try MetricsWriter(path: directory.path + "/metrics.jsonl")
      var history = RunHistory(directory: directory.path)
      #expect(history.update().contains(.metrics) == true || history.metrics.count == 0)
      var written: [MetricsRecord] = []
      for step in [0, 88, 176, 1_000_000, 9_007_199_254_740_991] as [UInt64] {
        written.append(record(step))
        try writer.append(record(step))
        #expect(history.update().contains(.metrics))
        #expect((0..<history.metrics.count).map { history.metrics.record(at: $0) } == written)
      }
      #expect(history.update().isEmpty, "nothing changed")
    }
  }

  @Test func `a run that resumes at an earlier step has its new rows in the place of the old`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/metrics.jsonl"
      let first = try MetricsWriter(path: path)
      for step in stride(from: 0, to: 100, by: 10) as StrideTo<UInt64> { try first.append(record(step, loss: 1)) }
      var history = RunHistory(directory: directory.path)
      _ = history.update()
      #expect(history.metrics.count == 10)
      let second = try MetricsWriter(path: path, startingAt: 45)
      for step in stride(from: 50, to: 200, by: 10) as StrideTo<UInt64> { try second.append(record(step, loss: 2)) }
      // The file is longer than before, and its beginning the same.
      #expect(history.update().contains(.metrics))
      #expect(history.metrics.steps == Array(stride(from: 0, to: 200, by: 10)))
      #expect(history.metrics[.trainDataLoss] == Array(repeating: 1, count: 5) + Array(repeating: 2, count: 15))
    }
  }

  @Test func `a file that is cut without new rows loses them here too`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/metrics.jsonl"
      let first = try MetricsWriter(path: path)
      for step in [0, 10, 20] as [UInt64] { try first.append(record(step)) }
      var history = RunHistory(directory: directory.path)
      _ = history.update()
      try first.truncate(after: 10)
      #expect(history.update().contains(.metrics))
      #expect(history.metrics.steps == [0, 10])
    }
  }

  @Test func `a torn last line waits for its end`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/metrics.jsonl"
      try Data("{\"step\":1,\"epoch\":0.5}\n{\"step\":2,\"epo".utf8).write(to: URL(filePath: path))
      var history = RunHistory(directory: directory.path)
      _ = history.update()
      #expect(history.metrics.steps == [1])
      try append("ch\":1}\n", to: path)
      _ = history.update()
      #expect(history.metrics.steps == [1, 2])
      #expect(history.metrics[.epoch] == [0.5, 1])
      #expect(history.metrics.damagedLines == 0)
    }
  }

  @Test(arguments: [
    "", "{", "{}", "[]", "null", "{\"step\":-1}", "{\"step\":1.5e400}", "{\"step\":\"1\"}", "\u{0}\u{0}\u{0}",
    "{\"step\":1", "{\"step\":1,}", "{\"step\":01x}", "{\"step\":1,\"epoch\":--1}", String(repeating: "[", count: 5000),
  ])
  func `a line that is no row is counted and passed over`(_ line: String) throws {
    try TemporaryDirectory.with { directory in
      let text = "{\"step\":5}\n\(line)\n{\"step\":6}\n"
      try Data(text.utf8).write(to: URL(filePath: directory.path + "/metrics.jsonl"))
      var history = RunHistory(directory: directory.path)
      _ = history.update()
      #expect(history.metrics.steps == [5, 6])
      #expect(history.metrics.damagedLines == 1)
    }
  }

  @Test func `a line of another program may have spaces, other keys and other values`() throws {
    try TemporaryDirectory.with { directory in
      let lines = """
        {"step": 3, "train_loss": 1.25e-3, "note": "a \\"b\\"", "more": [1, {"x": null}]}
        { "validation_loss" : 2E+2 ,"step":4 }
        {"step":5,"epoch":123456789012345678901234567890e-10,"gradient_norm":4.9e-324,"penalty":null}

        """
      try Data(lines.utf8).write(to: URL(filePath: directory.path + "/metrics.jsonl"))
      var history = RunHistory(directory: directory.path)
      _ = history.update()
      #expect(history.metrics.steps == [3, 4, 5])
      #expect(history.metrics[.trainDataLoss][0] == 0.00125)
      #expect(history.metrics[.validationDataLoss][1] == 200)
      #expect(history.metrics[.epoch][2] == 123456789012345678901234567890e-10)
      #expect(history.metrics[.gradientNorm][2] == .leastNonzeroMagnitude)
      #expect(history.metrics[.penalty][2].isNaN)
    }
  }

  @Test func `numbers are those that Swift reads`() throws {
    var random = SystemRandomNumberGenerator()
    let numbers = (0..<2000).map { index -> Double in
      let number = Double(bitPattern: random.next())
      return number.isFinite ? (index % 2 == 0 ? number : Double(Float.random(in: -1...1, using: &random))) : 0
    }
    try TemporaryDirectory.with { directory in
      let lines = numbers.enumerated().map { "{\"step\":\($0.offset),\"penalty\":\($0.element)}\n" }
      try Data(lines.joined().utf8).write(to: URL(filePath: directory.path + "/metrics.jsonl"))
      var history = RunHistory(directory: directory.path)
      _ = history.update()
      #expect(history.metrics[.penalty] == numbers)
    }
  }

  @Test func `a directory that vanishes and comes back is read again`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.path + "/run"
      func write(_ name: String, steps: [UInt64]) throws {
        try FileManager.default.createDirectory(atPath: run + "/logs", withIntermediateDirectories: true)
        var file = RunFile(
          run: name, seed: 1, datasetFingerprint: nil,
          start: .init(command: ["descent"], time: .now(), host: "h", pid: 1, resumedFrom: nil))
        try file.save(to: run + "/run.json", at: .now())
        let writer = try MetricsWriter(path: run + "/metrics.jsonl")
        for step in steps { try writer.append(record(step)) }
      }
      var history = RunHistory(directory: run)
      #expect(history.update() == .file)
      #expect(history.problem?.status == .missingInput)
      try write("a", steps: [0, 1, 2])
      #expect(history.update().isSuperset(of: [.file, .metrics]))
      #expect(history.file?.run == "a")
      #expect(history.lastWritten != nil)
      try FileManager.default.removeItem(atPath: run)
      #expect(history.update().isSuperset(of: [.file, .metrics]))
      #expect(history.file == nil)
      #expect(history.metrics.count == 0)
      try write("b", steps: [0])
      _ = history.update()
      #expect(history.file?.run == "b")
      #expect(history.metrics.steps == [0])
    }
  }

  @Test func `the newest line of the workers and the confusion matrix are followed`() throws {
    let directory = TemporaryDirectory()
    var history = RunHistory(directory: directory.path)
    _ = history.update()
    #expect(history.workers == .null && history.confusion == .null)
    try directory.write("{\"step\":1}\n{\"step\":2}\n{\"st".utf8, to: "workers.jsonl")
    try directory.write("{\"step\":3,\"classes\":[\"a\",\"b\"],\"counts\":[[1,2],[3,4]]}".utf8, to: "confusion.json")
    #expect(history.update() == [.workers, .confusion])
    #expect(history.workers == ["step": .number(2)])
    guard case .object(let members) = history.confusion else {
      Issue.record("no object")
      return
    }
    #expect(members.map(\.name) == ["step", "classes", "counts"])
    for damaged in ["{\"step\":3,\"classes\":[\"a\",\"b\"],\"counts\":[[1,2],[3]]}", "[]", "{"] {
      try directory.write(damaged.utf8, to: "confusion.json")
      #expect(history.update() == .confusion)
      #expect(history.confusion == .null)
    }
  }

  @Test func `events come from all logs in the order of time`() throws {
    func line(_ time: Int, _ level: String, _ event: String, _ message: String) -> String {
      "{\"ts\":\"2026-01-01T00:00:0\(time).000000Z\",\"level\":\"\(level)\",\"event\":\"\(event)\",\"msg\":\"\(message)\","
        + "\"run\":\"r\",\"role\":\"x\",\"name\":\"x@h\",\"pid\":1,\"step\":\(time)}\n"
    }
    let directory = TemporaryDirectory()
    try directory.write(
      (line(1, "info", "worker_joined", "worker-1 joined") + line(2, "info", "transport", "counters")
        + line(5, "warning", "worker_evicted", "worker-1 lost") + line(6, "info", "checkpoint", "<b>\\u2028")).utf8,
      to: "logs/coordinator@h.jsonl")
    try directory.write(
      (line(3, "error", "keys_refused", "3 refused") + line(4, "warning", "data_remark", "twice") + "{torn").utf8,
      to: "logs/server@h.jsonl")
    try directory.write(line(0, "error", "x", "not a log").utf8, to: "logs/notes.txt")
    var history = RunHistory(directory: directory.path)
    #expect(history.update().contains(.events))
    #expect(history.events.map(\.kind) == [.joined, .refused, .warning, .lost, .saved])
    #expect(history.events.map(\.step) == [1, 3, 4, 5, 6])
    #expect(history.events.last?.message == "<b>\u{2028}")
    try directory.write(line(7, "warning", "process_restarted", "w").utf8, to: "logs/train@h.jsonl")
    #expect(history.update().contains(.events))
    #expect(history.events.last?.kind == .restarted)
    #expect(history.update().isEmpty)
  }

  @Test func `the newest of each kind of event are kept`() throws {
    let directory = TemporaryDirectory()
    let saved = (0..<5000).map {
      "{\"ts\":\"2026-01-01T00:00:00.\(100_000 + $0)Z\",\"level\":\"info\",\"event\":\"checkpoint\",\"msg\":\"\($0)\"}\n"
    }
    let lost = "{\"ts\":\"2025-01-01T00:00:00.0Z\",\"level\":\"warning\",\"event\":\"worker_evicted\",\"msg\":\"w\"}\n"
    try directory.write((lost + saved.joined()).utf8, to: "logs/c.jsonl")
    var history = RunHistory(directory: directory.path)
    _ = history.update()
    #expect(history.events.count == 501)
    #expect(history.events.first?.kind == .lost)
    #expect(history.events.last?.message == "4999")
  }

  @Test func `peaks stay where values are left out for display`() {
    var values = (0..<100_000).map { Double($0 % 7) }
    (values[12_345], values[77_777], values[500]) = (1000, -1000, .nan)
    let shown = displayIndices(of: values, limit: 1000)
    #expect(shown.count <= 1000)
    #expect(shown == shown.sorted() && Set(shown).count == shown.count)
    #expect(shown.contains(12_345) && shown.contains(77_777) && !shown.contains(500))
    #expect(shown.first == 0 && shown.last == 99_999)
    #expect(displayIndices(of: [.nan, 1, 2], limit: 10) == [1, 2])
    #expect(displayIndices(of: [], limit: 10) == [])
    #expect(displayIndices(of: [.nan, .nan], limit: 1) == [])
  }
}

/// Appends as another process does.
private struct FileHandleForTests {
  private let handle: UnsafeMutablePointer<FILE>

  init?(appendingTo path: String) {
    guard let handle = fopen(path, "a") else { return nil }
    self.handle = handle
  }

  func write(_ text: String) {
    fputs(text, handle)
    fclose(handle)
  }
}
