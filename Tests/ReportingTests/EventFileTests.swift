import Diagnostics
import FoundationEssentials
import Reporting
import TestSupport
import Testing

@Suite struct EventFileTests {
  private func bytes(_ hex: String) -> [UInt8] {
    let digits = Array(hex)
    return stride(from: 0, to: digits.count, by: 2).compactMap { UInt8(String(digits[$0..<$0 + 2]), radix: 16) }
  }

  private func event(_ step: UInt64, _ values: SummaryValue...) -> Event {
    Event(at: UTCTime(microseconds: 1_234_567_891_500_000), step: step, .summary(values))
  }

  private func loss(_ step: UInt64) -> Event { event(step, SummaryValue("loss", .scalar(Double(step)))) }

  // MARK: Bytes

  /// The check value of CRC-32C, and that of 32 zeros in RFC 3720, B.4, each masked.
  @Test func `checksums are those of others`() {
    #expect(EventRecord.maskedChecksum(of: Array("123456789".utf8)[...]) == 0xC78A_B0E5)
    let zeros: UInt32 = 0x8A91_36AA
    let masked = (zeros >> 15 | zeros << 17) &+ 0xA282_EAD8
    #expect(EventRecord.maskedChecksum(of: [UInt8](repeating: 0, count: 32)[...]) == masked)
  }

  /// Records that TensorBoard 2.21 has read as step 7, value 0.5.
  @Test func `records have the bytes that TensorBoard reads`() {
    let version = Event(at: UTCTime(microseconds: 1_234_567_890_000_000), step: 0, .fileVersion)
    #expect(
      version.record == bytes("1800000000000000a37f4b2209000080b48065d2411a0d627261696e2e4576656e743a3232a25185"))
    #expect(
      event(7, SummaryValue("train/loss", .scalar(0.5))).record
        == bytes(
          "200000000000000029eda950090000e0b48065d24110072a130a110a0a747261696e2f6c6f7373150000003f7e7bf096"))
  }

  @Test func `a file is read up to the first record that is torn or damaged`() {
    let records = [1, 2, 3].map { loss($0).record }
    let file = records.flatMap(\.self)
    let ends = [records[0].count, records[0].count + records[1].count, file.count]
    for count in 0...file.count {
      #expect(EventRecord.all(in: Array(file[..<count])).map(\.range.upperBound) == ends.filter { $0 <= count })
    }
    for place in file.indices {
      for bit in 0..<8 {
        var damaged = file
        damaged[place] ^= 1 << UInt8(bit)
        // The record in which the bit is, and all after it, are gone.
        let found = EventRecord.all(in: damaged).map(\.range.upperBound)
        #expect(found == ends.filter { $0 <= place }, "bit \(bit) of byte \(place)")
      }
    }
  }

  // MARK: Histograms

  @Test func `a histogram counts every finite number in the interval that it lies in`() throws {
    let values: [Float] = [0, 0.5, 1, 2.9, 30, .nan, .infinity, 15, -.infinity]
    let histogram = try #require(Histogram(of: values[...]))
    #expect(histogram.least == 0 && histogram.greatest == 30 && histogram.count == 6)
    #expect(histogram.counts.count == 30 && histogram.limits.count == 30)
    #expect(histogram.counts[0] == 2 && histogram.counts[1] == 1 && histogram.counts[2] == 1)
    #expect(histogram.counts[15] == 1 && histogram.counts[29] == 1)
    #expect(histogram.limits[0] == 1 && histogram.limits[29] == 30)
    #expect(histogram.sum == 0.5 + 1 + Double(Float(2.9)) + 30 + 15)
  }

  @Test func `equal numbers are one interval, and no finite number is no histogram`() throws {
    let histogram = try #require(Histogram(of: [Float](repeating: 0.25, count: 7)[...]))
    #expect(histogram.counts == [7] && histogram.limits == [0.25])
    #expect(Histogram(of: [Float.nan, .infinity][...]) == nil && Histogram(of: [Float]()[...]) == nil)
    // The difference of these is beyond Float.
    let extremes = [-Float.greatestFiniteMagnitude, .greatestFiniteMagnitude]
    #expect(try #require(Histogram(of: extremes[...])).count == 2)
  }

  // MARK: Directories

  private let now = UTCTime(microseconds: 1_700_000_000_000_000)

  @Test func `a resumed run removes what comes after its step, and what is torn`() throws {
    try TemporaryDirectory.with { directory in
      let events = EventDirectory(path: directory.path + "/tensorboard")
      let file = try events.begin(at: now, host: "host", [Event(at: now, step: 0, .start)])
      for step in [10, 20, 30] as [UInt64] { try file.append(loss(step)) }
      // Recorded by a slower thread.
      try file.append(event(20, SummaryValue("weights/weight", .scalar(1))))
      let path = try #require(events.files.first)
      var written = try Data(contentsOf: URL(filePath: path))
      written.append(contentsOf: loss(40).record.dropLast())
      try written.write(to: URL(filePath: path))
      #expect(try events.removeValues(after: 20) == ["loss": 20, "weights/weight": 20])
      let records = EventRecord.all(in: Array(try Data(contentsOf: URL(filePath: path))))
      // Version, start, steps 10 and 20, and what was recorded later.
      #expect(records.count == 5)
      #expect(try Data(contentsOf: URL(filePath: path)).count == records.last?.range.upperBound)
      #expect(try events.removeValues(after: 20) { tag, step in tag == "loss" && step == 20 }["loss"] == 10)
      #expect(try FileManager.default.contentsOfDirectory(atPath: events.path).count == 1)
    }
  }

  @Test func `a file comes after those that are there, also when the clock was set back`() throws {
    try TemporaryDirectory.with { directory in
      let events = EventDirectory(path: directory.path + "/tensorboard")
      #expect(events.files.isEmpty)
      _ = try events.begin(at: now, host: "a/b", [])
      _ = try events.begin(at: now, host: "host", [])
      _ = try events.begin(at: UTCTime(microseconds: 5_000_000), host: "host", [])
      let names = events.files.map { $0.split(separator: "/").last.map(String.init) ?? "" }
      let pid = ProcessInfo.processInfo.processIdentifier
      #expect(
        names == [
          "events.out.tfevents.1700000000.a_b.\(pid).0", "events.out.tfevents.1700000001.host.\(pid).0",
          "events.out.tfevents.1700000002.host.\(pid).0",
        ])
    }
  }

  @Test func `a directory that cannot be made is an error, and leaves nothing`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/tensorboard"
      try Data().write(to: URL(filePath: path))
      let events = EventDirectory(path: path)
      let failure = try #require(throws: Failure.self) { try events.begin(at: now, host: "host", []) }
      #expect(failure.description.contains(path))
      #expect(events.files.isEmpty)
    }
  }
}
