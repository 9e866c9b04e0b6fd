import Diagnostics

/// The progress of a run as a line of a terminal: a bar, numbers, the course of the loss, and how the workers are. A pure
/// function of the state, the width and what the terminal can show.
package struct ProgressLine {
  package var record: MetricsRecord
  package var totalSteps: UInt64
  package var totalEpochs: Double
  /// Workers that the run is to have; 0 for the sequential trainer.
  package var expectedWorkers = 0
  package var imagesPerSecond: Double?
  package var remainingSeconds: Double?

  package init(_ record: MetricsRecord, totalSteps: UInt64, totalEpochs: Double) {
    (self.record, self.totalSteps, self.totalEpochs) = (record, totalSteps, totalEpochs)
  }

  // MARK: - Plain

  /// Without bar and course, for files, pipes and the end of a run. What is not known is left out, and if `width` columns are
  /// too few the least important fields.
  package func plain(width: Int?) -> String {
    let step = "step \(record.step)/\(totalSteps)"
    let rate = Self.known(imagesPerSecond).map { Display.rate($0) }
    let workers = record.workers > 0 ? Display.workers(record.workers) : nil
    let images = rate.map { "\($0) images/s" }
    let (loss, accuracy) = (loss("data loss"), percent.map { "accuracy \($0)" })
    let choices = [
      [step, epoch, loss, accuracy, images, workers, eta],
      [step, epoch, loss, percent, rate.map { "\($0)/s" }, workers, eta],
      [step, epoch, loss, accuracy, images, eta],
      [step, loss, accuracy, images, eta],
      [step, loss, accuracy, eta],
      [step, loss, eta],
      [step, loss],
    ].map { $0.compactMap { $0 } }
    guard let width else { return choices[0].joined(separator: Self.gap) }
    let lines = choices.map { $0.joined(separator: Self.gap) }
    return lines.first { $0.count <= width } ?? String(step.prefix(max(0, width)))
  }

  private static let gap = "  "

  private var epoch: String {
    let epochs = Display.decimal(totalEpochs, places: totalEpochs == totalEpochs.rounded() ? 0 : 1)
    return "epoch \(Display.decimal(record.epoch, places: 1))/\(epochs)"
  }

  private func loss(_ name: String) -> String? {
    Self.known(record.trainDataLoss).map { "\(name) \(Display.decimal($0, places: 3))" }
  }

  private var percent: String? { Self.known(record.validationAccuracy).map { Display.percent($0) } }

  private var eta: String? { Self.known(remainingSeconds).map { "ETA \(Display.duration($0))" } }

  private static func known(_ number: Double?) -> Double? { number.flatMap { $0.isFinite ? $0 : nil } }

  // MARK: - Drawn

  private enum Color: String {
    case green = "\u{1B}[32m"
    case yellow = "\u{1B}[33m"

    /// The colour of the terminal again.
    static let end = "\u{1B}[39m"
  }

  /// Text between two gaps.
  private struct Field {
    var text: String
    var color: Color?
    /// Behind it, after a space, the course of the loss.
    var hasCourse = false
  }

  private static let barSize = (least: 8, most: 40)
  private static let courseSize = (least: 6, most: 24)

  /// The richest of the layouts that `width` columns have room for, in at most so many.
  ///
  /// - Parameter losses: their course.
  package func drawn(width: Int, _ losses: LossHistory, on terminal: TerminalFeatures) -> String {
    guard width > 0 else { return "" }
    for layout in layouts(hasCourse: !losses.isEmpty) {
      let fields = layout.fields.compactMap(\.self)
      let (hasBar, hasCourse) = (layout.hasBar, fields.contains(where: \.hasCourse))
      var taken = fields.reduce(0) { $0 + $1.text.count } + Self.gap.count * (fields.count - 1)
      if hasBar { taken += Self.barSize.least + Self.gap.count }
      if hasCourse { taken += Self.courseSize.least + 1 }
      guard taken <= width else { continue }
      var free = width - taken
      let forBar = hasBar ? min(Self.barSize.most - Self.barSize.least, hasCourse ? free * 2 / 3 : free) : 0
      free -= forBar
      let forCourse = min(Self.courseSize.most - Self.courseSize.least, free)
      var texts = fields.map { field in
        let text = field.color.map { terminal.hasColor ? $0.rawValue + field.text + Color.end : field.text }
        let course =
          field.hasCourse
          ? " " + Self.course(losses.resampled(to: Self.courseSize.least + forCourse), on: terminal) : ""
        return (text ?? field.text) + course
      }
      if hasBar { texts.insert(bar(width: Self.barSize.least + forBar, on: terminal), at: 0) }
      return texts.joined(separator: Self.gap)
    }
    return String(share.drop { $0 == " " }.prefix(width))
  }

  /// The richest first.
  private func layouts(hasCourse: Bool) -> [(hasBar: Bool, fields: [Field?])] {
    func field(_ text: String?) -> Field? { text.map { Field(text: $0) } }
    func losses(_ name: String) -> Field? { loss(name).map { Field(text: $0, hasCourse: hasCourse) } }
    let total = "\(totalSteps)"
    let step = "\(record.step)".rightAligned(to: total.count) + "/" + total
    let rate = Self.known(imagesPerSecond).map { Display.rate($0) }
    let (done, eta) = (field(share), field(eta))
    let (accuracy, perSecond) = (field(percent), field(rate.map { "\($0)/s" }))
    return [
      (
        true,
        [
          done, field("step \(step)"), field(epoch), losses("data loss"), field(percent.map { "accuracy \($0)" }),
          field(rate.map { "\($0) images/s" }), workers(isDetailed: true), eta,
        ]
      ),
      (true, [done, field("step \(step)"), losses("loss"), accuracy, perSecond, workers(isDetailed: true), eta]),
      (true, [done, field(step), losses("loss"), accuracy, perSecond, workers(), eta]),
      (true, [done, field(step), losses("loss"), accuracy, workers(), eta]),
      (true, [done, losses("loss"), accuracy, workers(), eta]),
      (true, [done, losses("loss"), workers(), eta]),
      (true, [done, field(loss("loss")), workers(), eta]),
      (true, [done, field(loss("loss")), eta]),
      (false, [done, field(loss("loss")), eta]),
      (false, [done, eta]),
      (false, [done]),
    ]
  }

  /// 0 ... 1.
  private var fraction: Double {
    totalSteps == 0 ? 1 : Double(min(record.step, totalSteps)) / Double(totalSteps)
  }

  /// " 61 %"; 100 % for the last step alone.
  private var share: String { "\(Int(fraction * 100))".rightAligned(to: 3) + " %" }

  private func bar(width: Int, on terminal: TerminalFeatures) -> String {
    // A cell has two halves; in ASCII the two ends of the bar take one each.
    let cells = terminal.hasBlocks ? width : width - 2
    let halves = Int(fraction * Double(2 * cells))
    let whole = halves / 2
    var done = String(repeating: terminal.hasBlocks ? "━" : "=", count: whole)
    var rest = cells - whole
    if halves % 2 == 1 {
      done += terminal.hasBlocks ? "╸" : "-"
      rest -= 1
    }
    let open = String(repeating: terminal.hasBlocks ? "─" : " ", count: rest)
    let colored = terminal.hasColor && !done.isEmpty ? Color.green.rawValue + done + Color.end : done
    return terminal.hasBlocks ? colored + open : "[" + colored + open + "]"
  }

  /// A character of eight heights for each value, the lowest for the least of them.
  package static func course(_ values: [Double], on terminal: TerminalFeatures) -> String {
    let heights = Array(terminal.hasBlocks ? "▁▂▃▄▅▆▇█" : "_.:-=+*#")
    guard let least = values.min(), let most = values.max() else { return "" }
    let range = most - least
    return String(
      values.map { value in
        // Rounding makes no hills.
        guard range > 1e-6 * abs(most) else { return heights[3] }
        return heights[min(heights.count - 1, Int((value - least) / range * Double(heights.count)))]
      })
  }

  /// Nil for the sequential trainer.
  private func workers(isDetailed: Bool = false) -> Field? {
    let count = record.workers
    if count < expectedWorkers { return Field(text: "\(count)/\(Display.workers(expectedWorkers))", color: .yellow) }
    guard count > 0 else { return nil }
    guard let slow = record.slowWorker else { return Field(text: Display.workers(count)) }
    // Without the host.
    let name = printable(String(slow.prefix { $0 != "@" }.prefix(24)))
    return Field(text: isDetailed ? "\(Display.workers(count)), \(name) slow" : "\(name) slow", color: .yellow)
  }
}
