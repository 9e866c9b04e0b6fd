import Reporting
import Testing

@Suite struct ProgressLineTests {
  private static let blocks = TerminalFeatures(environment: ["LANG": "de_DE.UTF-8", "NO_COLOR": "1"])
  private static let ascii = TerminalFeatures(environment: ["LC_ALL": "C", "LANG": "en_US.UTF-8", "NO_COLOR": "1"])

  private var line: ProgressLine {
    var record = MetricsRecord(step: 3184, examples: 3184 * 512)
    (record.epoch, record.workers) = (36.6, 4)
    (record.trainDataLoss, record.validationAccuracy) = (1.629, 0.391)
    var line = ProgressLine(record, totalSteps: 5220, totalEpochs: 60)
    (line.imagesPerSecond, line.remainingSeconds, line.expectedWorkers) = (211_000, 7, 4)
    return line
  }

  private var losses: LossHistory {
    var losses = LossHistory()
    for step in 0..<64 { losses.add(1.6 + 0.7 / Double(1 + step)) }
    return losses
  }

  @Test func `80 columns have bar, share, steps, loss with its course, accuracy, workers and estimate`() {
    #expect(
      line.drawn(width: 79, losses, on: Self.blocks)
        == "━━━━━━╸────   60 %  3184/5220  loss 1.629 █▂▁▁▁▁▁▁  39.1 %  4 workers  ETA 0:07")
    #expect(
      line.drawn(width: 79, losses, on: Self.ascii)
        == "[=====    ]   60 %  3184/5220  loss 1.629 #.______  39.1 %  4 workers  ETA 0:07")
  }

  @Test func `200 columns have every field in full`() {
    let text = line.drawn(width: 199, losses, on: Self.blocks)
    #expect(text.count == 173)
    #expect(text.hasPrefix(String(repeating: "━", count: 24) + String(repeating: "─", count: 16) + "   60 %  "))
    for field in [
      "step 3184/5220", "epoch 36.6/60", "data loss 1.629 ", "accuracy 39.1 %", "211k images/s", "4 workers",
      "ETA 0:07",
    ] {
      #expect(text.contains("  \(field)"), "\(field) is missing: \(text)")
    }
  }

  @Test func `40 columns have bar, share, loss and estimate`() {
    let text = line.drawn(width: 39, losses, on: Self.blocks)
    for field in ["━", " 60 %", "loss 1.629", "ETA 0:07"] { #expect(text.contains(field), "\(text)") }
  }

  @Test(arguments: [blocks, ascii])
  func `no width is exceeded, whatever is known`(terminal: TerminalFeatures) {
    var unknown = line
    unknown.record = MetricsRecord(step: 0, examples: 0)
    (unknown.imagesPerSecond, unknown.remainingSeconds) = (nil, nil)
    var long = line
    long.totalSteps = 1_000_000_000_000
    long.record.slowWorker = "worker-of-a-very-long-name-indeed@host"
    long.remainingSeconds = 8_000_000
    for line in [line, unknown, long] {
      for losses in [LossHistory(), losses] {
        for width in -1...260 { #expect(line.drawn(width: width, losses, on: terminal).count <= max(0, width)) }
      }
    }
  }

  @Test func `the bar is empty at the first step, and full and 100 % at the last one alone`() {
    func drawn(_ step: UInt64, of total: UInt64 = 5220) -> String {
      var line = line
      (line.record.step, line.totalSteps) = (step, total)
      return line.drawn(width: 60, LossHistory(), on: Self.blocks)
    }
    #expect(drawn(0).contains("  0 %") && !drawn(0).contains("━"))
    #expect(drawn(5219).contains(" 99 %") && drawn(5219).contains("╸"))
    for full in [drawn(5220), drawn(6000), drawn(0, of: 0)] {
      #expect(full.contains("100 %") && !full.contains("─") && !full.contains("╸"), "\(full)")
    }
  }

  @Test func `missing and slow workers are named`() {
    var fewer = line
    fewer.record.workers = 3
    #expect(fewer.drawn(width: 79, losses, on: Self.blocks).contains("3/4 workers"))
    fewer.record.workers = 0
    #expect(fewer.drawn(width: 79, losses, on: Self.blocks).contains("0/4 workers"))
    var slow = line
    slow.record.slowWorker = "worker-2@host"
    #expect(slow.drawn(width: 199, losses, on: Self.blocks).contains("  4 workers, worker-2 slow  "))
    #expect(slow.drawn(width: 79, losses, on: Self.blocks).contains("  worker-2 slow  "))
    slow.record.slowWorker = "worker-\u{1B}[2J@host"
    #expect(!slow.drawn(width: 199, losses, on: Self.blocks).contains("\u{1B}"))
    var sequential = line
    (sequential.record.workers, sequential.expectedWorkers) = (0, 0)
    #expect(!sequential.drawn(width: 199, losses, on: Self.blocks).contains("worker"))
  }

  @Test func `colours do not change what is shown, and NO_COLOR of any value turns them off`() {
    var fewer = line
    fewer.record.workers = 3
    let colored = fewer.drawn(width: 99, losses, on: TerminalFeatures(environment: ["LANG": "C.utf8"]))
    let plain = fewer.drawn(width: 99, losses, on: Self.blocks)
    #expect(colored.contains("\u{1B}[33m3/4 workers\u{1B}[39m") && colored.contains("\u{1B}[32m━"))
    #expect(colored.replacing(/\u{1B}\[[0-9]+m/, with: "") == plain)
    #expect(!TerminalFeatures(environment: ["NO_COLOR": "0"]).hasColor)
    #expect(TerminalFeatures(environment: ["NO_COLOR": ""]).hasColor)
  }

  @Test(arguments: [
    (["LANG": "en_US.UTF-8"], true), (["LANG": "C.utf8"], true), ([:], false), (["LANG": "C"], false),
    (["LC_ALL": "C", "LANG": "en_US.UTF-8"], false), (["LC_ALL": "", "LANG": "en_US.UTF-8"], true),
    (["LC_CTYPE": "POSIX", "LANG": "en_US.UTF-8"], false), (["LANG": "en_US.UTF-8", "TERM": "linux"], false),
  ])
  func `block characters only where the locale is one of UTF-8`(environment: [String: String], hasBlocks: Bool) {
    #expect(TerminalFeatures(environment: environment).hasBlocks == hasBlocks)
  }

  @Test func `the course rises and falls with its values`() {
    #expect(ProgressLine.course([0, 1, 2, 3, 4, 5, 6, 7], on: Self.blocks) == "▁▂▃▄▅▆▇█")
    #expect(ProgressLine.course([0, 1, 2, 3, 4, 5, 6, 7], on: Self.ascii) == "_.:-=+*#")
    #expect(ProgressLine.course([2, 2, 2], on: Self.blocks) == "▄▄▄")
    #expect(ProgressLine.course([], on: Self.blocks).isEmpty)
  }

  @Test func `a course of any length is kept whole in memory of one size`() {
    var losses = LossHistory()
    for value in [Double.nan, .infinity] { losses.add(value) }
    #expect(losses.isEmpty && losses.resampled(to: 8).isEmpty)
    losses.add(3)
    #expect(losses.resampled(to: 3) == [3, 3, 3])
    // From 1 down to 0: as many means, in order, of the whole length.
    losses = LossHistory()
    for step in 0...100_000 { losses.add(1 - Double(step) / 100_000) }
    let points = losses.resampled(to: 20)
    #expect(points.count == 20)
    #expect(zip(points, points.dropFirst()).allSatisfy { $0 > $1 })
    #expect((points.first ?? 0) > 0.95 && (points.last ?? 1) < 0.05)
  }
}
