import Diagnostics
import FoundationEssentials
import Reporting
import TestSupport
import Testing

@Suite struct MetricsWriterTests {
  private func record(_ step: UInt64) -> MetricsRecord {
    var record = MetricsRecord(step: step, examples: step * 512)
    (record.epoch, record.seconds, record.workers, record.learningRate) = (0.5, 1, 2, 0.05)
    record.trainDataLoss = .nan
    return record
  }

  private func steps(_ path: String) throws -> [Int] {
    struct Line: Decodable { let step: Int }
    let text = try String(contentsOf: URL(filePath: path), encoding: .utf8)
    return try text.split(separator: "\n").map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)).step }
  }

  private func append(_ text: String, to path: String) throws {
    let before = try String(contentsOf: URL(filePath: path), encoding: .utf8)
    try Data((before + text).utf8).write(to: URL(filePath: path))
  }

  @Test func `every record is a line of JSON`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/file"
      let writer = try MetricsWriter(path: path)
      for step in [10, 20, 30] as [UInt64] { try writer.append(record(step)) }
      #expect(try steps(path) == [10, 20, 30])
    }
  }

  @Test func `steps must increase`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/file"
      let writer = try MetricsWriter(path: path)
      try writer.append(record(10))
      #expect(throws: Failure.self) { try writer.append(record(10)) }
    }
  }

  @Test(arguments: [(0, []), (19, [10]), (20, [10, 20]), (99, [10, 20, 30])] as [(UInt64, [Int])])
  func `truncation keeps the steps up to the one resumed from`(_ step: UInt64, _ kept: [Int]) throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/file"
      let first = try MetricsWriter(path: path)
      for step in [10, 20, 30] as [UInt64] { try first.append(record(step)) }
      let second = try MetricsWriter(path: path)
      try second.truncate(after: step)
      #expect(try steps(path) == kept)
      try second.append(record(step + 1))
      #expect(try steps(path) == kept + [Int(step) + 1])
    }
  }

  @Test(arguments: ["{\"step\":30,\"epo", "{\"step\":3", "\u{0}\u{0}\u{0}\n", "{\"step\":30,\"x\n", "{\"step\":15}\n"])
  func `a torn or foreign end is cut off`(_ tail: String) throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/file"
      let first = try MetricsWriter(path: path)
      for step in [10, 20] as [UInt64] { try first.append(record(step)) }
      try append(tail, to: path)
      let second = try MetricsWriter(path: path)
      try second.truncate(after: 100)
      #expect(try steps(path) == [10, 20])
    }
  }

  @Test func `truncation reads files of any length`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/file"
      let writer = try MetricsWriter(path: path)
      for step in 1...2000 as ClosedRange<UInt64> { try writer.append(record(step)) }
      try writer.truncate(after: 1500)
      #expect(try steps(path) == Array(1...1500))
    }
  }
}
