import Diagnostics
import Pictures
import Reporting
import RunConfiguration

extension Sweep {
  /// "pending", "finished" at the end of its epochs, "stopped" early because others were better, or "diverged".
  func state(of trial: Trial) -> String {
    guard let rung = trial.newestRung else { return "pending" }
    guard trial.accuracy(at: rung) != nil else { return "diverged" }
    if rung == rungCount - 1 { return "finished" }
    guard let next = entrants(of: rung + 1) else { return "pending" }
    return next.contains(trial.number - 1) ? "pending" : "stopped"
  }

  /// For a terminal: a line for each trial, the best first, and what came of the best one.
  ///
  /// - Parameter directory: of the sweep.
  public func text(directory: String) -> String {
    let heads = ["trial"] + space.axes.map(\.name) + ["epochs", "validation", "state"]
    let rows = ranking.map { trial in
      let rung = trial.newestRung
      let deviation =
        rung.flatMap { trial.deviation(at: $0) }.map { " ± \(Display.decimal($0 * 100, places: 1))" } ?? ""
      return ["\(trial.number)"] + trial.values
        + [
          rung.map { "\(trial.rungs[$0])" } ?? "-",
          Display.percent(rung.flatMap { trial.accuracy(at: $0) }, places: 2) + deviation, state(of: trial),
        ]
    }
    var text = table([heads] + rows)
    guard let winner, let accuracy = winner.accuracy(at: rungCount - 1) else { return text }
    text += "\nbest   trial \(winner.number): \(description(of: winner)); "
    text += "\(Display.percent(accuracy, places: 2)) of the validation examples\n"
    if let final {
      text += "final  trained on all that is not test, tested once: \(Display.percent(final.testAccuracy, places: 2)), "
      text += "data loss \(Display.decimal(final.testDataLoss, places: 4)), in \(directory)/\(Self.finalName)\n"
    }
    return text
  }

  // MARK: Picture

  /// More panels than these are not readable.
  private static let panelLimit = 6

  /// The lecture's scatter of two settings coloured by validation accuracy. A third one with few values has a panel for
  /// each of them. With a single setting the accuracy is the height.
  public var figure: Figure {
    let counts = Dictionary(grouping: trials, by: state).mapValues(\.count)
    let stopped = counts["stopped"].map { ", \($0) stopped early" } ?? ""
    let diverged = counts["diverged"].map { ", \($0) diverged" } ?? ""
    let best = winner.map { " Best: \(description(of: $0))." } ?? ""
    let caption =
      "\(trials.count) trials\(stopped)\(diverged). Accuracy on the validation examples at the last epoch of each."
      + best
    let panels = panelAxis.map { axis in
      let (index, choices) = axis
      return choices.map { choice in
        Panel.chart(chart("\(space.axes[index].name) \(choice)", trials.filter { $0.values[index] == choice }))
      }
    }
    return Figure(
      "Search over \(space.axes.map(\.name).joined(separator: ", "))", caption: caption,
      columns: min(panels?.count ?? 1, 3), panels: panels ?? [.chart(chart("", trials))])
  }

  /// The first setting beyond the two of the axes that has few values.
  private var panelAxis: (index: Int, choices: [String])? {
    for (index, axis) in space.axes.enumerated().dropFirst(2) {
      if case .choices(let choices) = axis.values, (2...Self.panelLimit).contains(choices.count) {
        return (index, choices)
      }
    }
    return nil
  }

  private func chart(_ title: String, _ trials: [Trial]) -> Chart {
    let axes = space.axes
    let isPlane = axes.count > 1
    func point(_ trial: Trial) -> Point? {
      let accuracy = trial.newestRung.flatMap { trial.accuracy(at: $0) }.map { $0 * 100 }
      guard let x = axes[0].position(of: trial.values[0]) else { return nil }
      guard isPlane else {
        return accuracy.map {
          Point(x, $0, error: trial.newestRung.flatMap { trial.deviation(at: $0) }.map { $0 * 100 })
        }
      }
      return axes[1].position(of: trial.values[1]).map { Point(x, $0, value: accuracy) }
    }
    let known = trials.filter { $0.newestRung.flatMap($0.accuracy) != nil }
    let diverged = isPlane ? trials.filter { state(of: $0) == "diverged" } : []
    var series = [Series(isPlane ? nil : "trial", .points, points: known.compactMap(point))]
    if !diverged.isEmpty { series.append(Series("diverged", .points, points: diverged.compactMap(point))) }
    let y = isPlane ? axes[1].axis : Axis("validation accuracy (%)")
    return Chart(
      title, x: axes[0].axis, y: y, series: series, valueLabel: isPlane ? "validation accuracy (%)" : nil)
  }
}

extension SearchAxis {
  /// Where the values lie on the axis of a picture, by their own size; nil for a few choices, which stand beside each
  /// other.
  private var extent: ClosedRange<Double>? {
    switch values {
    case .range(let range, _): return range
    case .choices(let choices):
      let numbers = choices.compactMap(Double.init)
      guard numbers.count == choices.count, numbers.count > 3, let least = numbers.min(), let largest = numbers.max()
      else { return nil }
      return least...largest
    }
  }

  /// Choices that lie apart by factors are those of a logarithmic range.
  private func isLogarithmic(_ extent: ClosedRange<Double>) -> Bool {
    if case .range(_, let isLogarithmic) = values { return isLogarithmic }
    return extent.lowerBound > 0 && extent.upperBound >= 100 * extent.lowerBound
  }

  /// Along the axis of a picture: the number, or the place among the choices.
  fileprivate func position(of value: String) -> Double? {
    if extent != nil { return Double(value) }
    guard case .choices(let choices) = values else { return nil }
    return choices.firstIndex(of: value).map(Double.init)
  }

  /// The same range in all panels.
  fileprivate var axis: Axis {
    if let extent { return Axis(name, scale: isLogarithmic(extent) ? .log10 : .linear, range: extent) }
    guard case .choices(let choices) = values else { return Axis(name) }
    return Axis(name, scale: .categories(choices))
  }
}

extension Sweep {
  /// How many runs have ended at the end of a rung.
  public var resultCount: Int { trials.reduce(0) { $0 + $1.outcomes.joined().count { $0 != nil } } }

  /// "rung 1 of 3: 12 of 60 runs, 2 running, 1 diverged, best 38.1 % (trial 7: learning-rate 0.03, l2 0.001)".
  public func progress(running: Int) -> String {
    guard let rung = openRung, let entrants = entrants(of: rung) else { return "\(resultCount) runs have ended" }
    let ended = entrants.flatMap { trials[$0].outcomes[rung] }
    let diverged = ended.count { $0.map { $0.accuracy == nil } ?? false }
    let best = ranking.first.flatMap { trial in
      trial.newestRung.flatMap { trial.accuracy(at: $0) }.map {
        "best \(Display.percent($0)) (trial \(trial.number): \(description(of: trial)))"
      }
    }
    let parts = [
      (rungCount > 1 ? "rung \(rung + 1) of \(rungCount): " : "")
        + "\(ended.count { $0 != nil }) of \(ended.count) runs",
      "\(running) running", diverged > 0 ? "\(diverged) diverged" : nil, best,
    ]
    return parts.compactMap(\.self).joined(separator: ", ")
  }
}
