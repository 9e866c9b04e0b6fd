import Diagnostics
import Pictures
import Reporting

/// The evaluations of runs as charts.
package enum LearningCurves {
  /// The most points of a series in a picture. Of more evaluations each stretch keeps its smallest and its largest value, so
  /// that no peak is lost.
  private static let pointLimit = 800

  /// Accuracy, data loss, learning rate and throughput of one run, over its steps.
  package static func figure(of run: RecordedRun) -> Figure {
    let rows = run.evaluations
    func series(_ name: String?, _ marks: Series.Marks = .line, _ value: (MetricsRecord) -> Double?) -> Series {
      Series(name, marks, points: thinned(rows.compactMap { row in point(Double(row.step), value(row)) }))
    }
    func best(_ value: (MetricsRecord) -> Double?) -> Series? {
      guard let step = run.result?.bestStep, let row = rows.first(where: { $0.step == step }),
        let point = point(Double(step), value(row))
      else { return nil }
      return Series("best model", .points, points: [point])
    }
    let step = Axis("step")
    let charts: [(title: String, y: Axis, series: [Series?])] = [
      (
        "Accuracy", Axis("accuracy (%)"),
        [
          series("training minibatches") { $0.trainAccuracy.map { $0 * 100 } },
          series("validation") { $0.validationAccuracy.map { $0 * 100 } },
          best { $0.validationAccuracy.map { $0 * 100 } },
        ]
      ),
      (
        "Data loss", Axis("data loss"),
        [
          series("training minibatches") { $0.trainDataLoss }, series("validation") { $0.validationDataLoss },
          best { $0.validationDataLoss },
        ]
      ),
      ("Learning rate", Axis("learning rate"), [series(nil) { $0.learningRate }]),
      ("Throughput", Axis("images/s (thousands)"), [series(nil) { $0.imagesPerSecond.map { $0 / 1000 } }]),
    ]
    let panels = charts.compactMap { chart -> Panel? in
      let drawn = chart.series.compactMap(\.self).filter { !$0.points.isEmpty }
      return drawn.isEmpty ? nil : .chart(Chart(chart.title, x: step, y: chart.y, series: drawn))
    }
    return Figure(
      "Learning curves: \(run.name)",
      caption:
        "\(grouped(UInt64(rows.count))) evaluations. The training values are means over the minibatches between two "
        + "evaluations, each with the weights of its step; the validation values are those of the weights at the step."
        + (rows.count > pointLimit ? note : ""),
      columns: 2, panels: panels)
  }

  /// Accuracy and data loss of several runs on their validation examples, over passes of their training examples.
  package static func overlay(of runs: [RecordedRun]) -> Figure {
    func chart(_ title: String, _ y: Axis, _ value: (MetricsRecord) -> Double?) -> Panel? {
      let series = runs.map { run in
        Series(run.name, points: thinned(run.evaluations.compactMap { point($0.epoch, value($0)) }))
      }
      guard series.contains(where: { !$0.points.isEmpty }) else { return nil }
      return .chart(Chart(title, x: Axis("epochs"), y: y, series: series))
    }
    let isLong = runs.contains { $0.evaluations.count > pointLimit }
    return Figure(
      "Learning curves of \(runs.count) runs",
      caption:
        "On the validation examples of each run, which seed and settings choose: runs with another seed or data set "
        + "are evaluated on other examples." + (isLong ? note : ""),
      columns: 2,
      panels: [
        chart("Validation accuracy", Axis("accuracy (%)")) { $0.validationAccuracy.map { $0 * 100 } },
        chart("Validation data loss", Axis("data loss")) { $0.validationDataLoss },
        chart("Training data loss, of the minibatches", Axis("data loss")) { $0.trainDataLoss },
        chart("Throughput", Axis("images/s (thousands)")) { $0.imagesPerSecond.map { $0 / 1000 } },
      ].compactMap(\.self))
  }

  private static let note = " Of stretches of evaluations the smallest and the largest value are drawn."

  private static func point(_ x: Double, _ y: Double?) -> Point? {
    y.flatMap { $0.isFinite && x.isFinite ? Point(x, $0) : nil }
  }

  /// The points, or of each of so many stretches the first of its smallest and the first of its largest ones, in order.
  package static func thinned(_ points: [Point], to limit: Int = pointLimit) -> [Point] {
    guard points.count > limit else { return points }
    let stretches = max(1, limit / 2)
    var kept: [Point] = []
    for stretch in 0..<stretches {
      let range = points.count * stretch / stretches..<points.count * (stretch + 1) / stretches
      guard let low = range.min(by: { points[$0].y < points[$1].y }),
        let high = range.max(by: { points[$0].y < points[$1].y })
      else { continue }
      kept += (low == high ? [low] : [min(low, high), max(low, high)]).map { points[$0] }
    }
    // The curve begins and ends where the run does.
    if let first = points.first, kept.first != first { kept.insert(first, at: 0) }
    if let last = points.last, kept.last != last { kept.append(last) }
    return kept
  }

  /// Eight heights of blocks, one for each of `width` stretches of the epochs `0 ... end`: the newest accuracy there. All
  /// runs of a comparison have the same scales.
  package static func sparkline(
    _ rows: [MetricsRecord], width: Int, end: Double, range: ClosedRange<Double>
  ) -> String {
    let blocks: [Character] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]
    var heights = [Double?](repeating: nil, count: width)
    for row in rows {
      guard let accuracy = row.validationAccuracy, range.contains(accuracy), end > 0, row.epoch >= 0, row.epoch <= end
      else { continue }
      heights[min(width - 1, Int(row.epoch / end * Double(width)))] = accuracy
    }
    // Between two evaluations the curve stays where it was.
    guard let last = heights.lastIndex(where: { $0 != nil }), let first = heights.firstIndex(where: { $0 != nil })
    else { return "" }
    var newest = 0.0
    let span = range.upperBound - range.lowerBound
    return String(repeating: " ", count: first)
      + String(
        (first...last).map { place -> Character in
          newest = heights[place] ?? newest
          let fraction = span > 0 ? (newest - range.lowerBound) / span : 1
          return blocks[min(7, max(0, Int(fraction * 8)))]
        })
  }
}
