import Reporting
import Testing

@Suite struct ProgressMeterTests {
  private func record(step: UInt64) -> MetricsRecord {
    var record = MetricsRecord(step: step, examples: step * 512)
    (record.epoch, record.workers) = (Double(step) / 87, 2)
    (record.trainDataLoss, record.validationAccuracy) = (1.8125, 0.3894)
    return record
  }

  private func meter(_ style: ProgressStyle) -> ProgressMeter {
    ProgressMeter(style: style, totalSteps: 1044, totalEpochs: 12, workers: 2)
  }

  /// What a terminal shows of a text: without the sequences that steer it.
  private func visible(_ text: String) -> String {
    text.replacing(/\u{1B}\[[0-9?]*[A-Za-z]/, with: "").filter { $0 != "\r" }
  }

  @Test func `the line shows everything where there is room`() {
    let line = meter(.plain).line(record(step: 412), 612_345, 3.2, width: 120)
    #expect(
      line == "step 412/1044  epoch 4.7/12  data loss 1.813  accuracy 38.9 %  612k images/s  2 workers  ETA 0:04")
  }

  @Test func `the line never exceeds the width`() {
    for width in 0...120 {
      let line = meter(.plain).line(record(step: 412), 612_345, 3.2, width: width)
      #expect(line.count <= width)
      #expect(width < 13 || line.hasPrefix("step 412/1044"))
    }
  }

  @Test func `what is not known is left out`() {
    var unknown = record(step: 0)
    unknown.trainDataLoss = .nan
    unknown.validationAccuracy = nil
    let line = meter(.plain).line(unknown, nil, nil, width: nil)
    #expect(line == "step 0/1044  epoch 0.0/12  2 workers")
    unknown.workers = 0
    #expect(meter(.plain).line(unknown, nil, nil, width: nil) == "step 0/1044  epoch 0.0/12")
  }

  @Test(arguments: [
    (0.0, "0"), (1.4113214264618176e-06, "1.4e-06"), (-0.001, "-1.0e-03"), (9.96, "1.0e+01"), (0.995, "1.0e+00"),
    (.infinity, "-"), (2.5e-123, "2.5e-123"),
  ])
  func `a number in scientific notation has two digits`(number: Double, text: String) {
    #expect(Display.scientific(number) == text)
  }

  @Test func `a terminal is redrawn at most five times a second, and asked for its width only then`() {
    var meter = self.meter(.redrawn)
    var (drawings, questions) = (0, 0)
    func width() -> Int {
      questions += 1
      return 80
    }
    for tick in 0..<1000 {
      if meter.update(record(step: UInt64(tick)), at: Double(tick) / 1000, width: width()) != nil { drawings += 1 }
    }
    #expect((4...5).contains(drawings))
    #expect(questions == drawings)
  }

  @Test func `a redrawn line fits the terminal and is ended once`() throws {
    var meter = self.meter(.redrawn)
    let first = meter.update(record(step: 1), at: 0, width: 40)
    let drawn = try #require(first)
    // The cursor is left in the first column, and lines wrap again.
    #expect(drawn.hasPrefix("\r\u{1B}[?7l") && drawn.hasSuffix("\u{1B}[J\u{1B}[?7h\r"))
    #expect(!drawn.contains("\n"))
    #expect(visible(drawn).count < 40)
    let last = meter.finish(record(step: 2), at: 0.01, width: 40)
    #expect(last?.hasSuffix("\n") == true)
  }

  @Test func `a note stands on a line of its own`() {
    var meter = self.meter(.redrawn)
    #expect(meter.note("before") == "before\n")
    _ = meter.update(record(step: 1), at: 0)
    #expect(meter.note("worker 2 lost") == "\r\u{1B}[Jworker 2 lost\n")
    #expect(meter.update(record(step: 2), at: 0.01) != nil)
  }

  @Test func `plain lines come once per interval without control characters`() {
    var meter = self.meter(.plain)
    let written = (0..<100).compactMap { meter.update(record(step: $0), at: Double($0) / 10) }
    #expect(written.count == 2)
    // The last line is due at the end, unless it was the last one written.
    #expect(meter.finish(record(step: 99), at: 9.9)?.hasPrefix("step 99/1044") == true)
    #expect(meter.finish(record(step: 99), at: 10) == nil)
    #expect(written.allSatisfy { line in line.hasSuffix("\n") && !line.contains("\r") && !line.contains("\u{1B}") })
  }

  @Test func `silence writes nothing`() {
    var meter = self.meter(.silent)
    #expect(meter.update(record(step: 1), at: 0) == nil)
    #expect(meter.note("x") == nil)
    #expect(meter.finish(record(step: 2), at: 1) == nil)
  }

  @Test func `rates and the remaining time follow from the steps`() throws {
    var meter = self.meter(.plain)
    _ = meter.update(record(step: 0), at: 100)
    let second = meter.update(record(step: 522), at: 106)
    let line = try #require(second)
    #expect(line.contains("44.5k images/s"))
    #expect(line.contains("ETA 0:06"))
  }

  @Test func `no rate and no remaining time is shown of less than a second`() throws {
    func line(after seconds: Double) throws -> String {
      var meter = self.meter(.plain)
      _ = meter.update(record(step: 0), at: 100)
      let line = meter.finish(record(step: 522), at: 100 + seconds)
      return try #require(line)
    }
    let (early, late) = (try line(after: 0.99), try line(after: 1))
    #expect(!early.contains("images/s") && !early.contains("ETA"), "\(early)")
    #expect(late.contains("  267k images/s") && late.contains("ETA"), "\(late)")
  }

  @Test func `time in which the process was stopped counts for no rate`() throws {
    var meter = self.meter(.redrawn)
    /// 25 steps a second; nil where nothing was drawn.
    func draw(_ ticks: Range<Int>, from began: Double) -> String? {
      ticks.reduce(nil as String?) { last, tick in
        meter.update(record(step: UInt64(tick)), at: began + Double(tick) / 25, width: 200) ?? last
      }
    }
    let before = try #require(draw(0..<100, from: 0))
    #expect(before.contains("12.8k images/s") && before.contains("ETA 0:38"), "\(before)")
    // An hour without an update, as between SIGSTOP and SIGCONT.
    let continued = try #require(draw(100..<110, from: 3600))
    #expect(!continued.contains("ETA") && !continued.contains("images/s"), "\(continued)")
    let after = try #require(draw(110..<140, from: 3600))
    #expect(after.contains("12.8k images/s") && after.contains("ETA 0:37"), "\(after)")
  }

  @Test func `slow steps are no pause`() throws {
    var meter = self.meter(.redrawn)
    var last: String?
    for tick in 0..<10 { last = meter.update(record(step: UInt64(tick)), at: Double(tick) * 20, width: 200) ?? last }
    #expect(try #require(last).contains("ETA 5:45:00"), "\(last ?? "")")
  }

  @Test func `a resumed run has no rate of the steps before, and no estimate is beyond all measure`() throws {
    var meter = ProgressMeter(style: .plain, totalSteps: 1_000_000_000_000, totalEpochs: 1)
    let first = meter.update(record(step: 500_000), at: 0)
    #expect(try #require(first).contains("ETA") == false)
    let second = meter.update(record(step: 500_001), at: 6)
    #expect(try #require(second).contains("images/s") == true)
    #expect(second?.contains("ETA") == false)
  }

  @Test func `workers that leave show at once on a terminal, and on no line of a file`() throws {
    var (drawn, plain) = (self.meter(.redrawn), self.meter(.plain))
    _ = (drawn.update(record(step: 1), at: 0), plain.update(record(step: 1), at: 0))
    var fewer = record(step: 1)
    fewer.workers = 1
    #expect(drawn.changed(fewer, at: 0.01)?.contains("1/2 workers") == true)
    #expect(plain.changed(fewer, at: 0.01) == nil)
  }

  @Test func `the last line is the plain one, in its place`() {
    var meter = self.meter(.redrawn)
    _ = meter.update(record(step: 1), at: 0)
    let plain = self.meter(.plain).line(record(step: 1044), nil, nil, width: 79)
    #expect(meter.finish(record(step: 1044), at: 0.1) == "\r\u{1B}[J\(plain)\n")
  }

  @Test func `the style suits the place`() {
    let terminal = ["TERM": "xterm-256color"]
    func style(_ environment: [String: String], isTerminal: Bool = true, isQuiet: Bool = false) -> ProgressStyle {
      ProgressStyle(isQuiet: isQuiet, isTerminal: isTerminal, environment: environment)
    }
    #expect(style(terminal) == .redrawn)
    #expect(style(terminal, isTerminal: false) == .plain)
    #expect(style(["TERM": "dumb"]) == .plain)
    #expect(style([:]) == .plain)
    #expect(style(["TERM": "xterm", "CI": "true"]) == .plain)
    #expect(style(terminal, isQuiet: true) == .silent)
  }
}
