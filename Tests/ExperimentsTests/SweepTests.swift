import Diagnostics
import Experiments
import Files
import Pictures
import TestSupport
import Testing

@Suite struct SweepTests {
  private static let settings = [KeyValue("batch-size", "64"), KeyValue("seed", "1")]

  private func sweep(
    _ count: Int, epochs: UInt64 = 9, halving factor: Int? = 3, folds: Int? = nil, over: String = "l2=log:1e-5..1",
    settings: [KeyValue] = SweepTests.settings
  ) throws -> Sweep {
    let space = try SearchSpace(parsing: [over])
    return Sweep(
      space: space, search: "random", points: try space.randomPoints(count, seed: 1),
      epochs: Array(repeating: epochs, count: count), halving: SuccessiveHalving(factor: factor), folds: folds,
      settings: settings)
  }

  /// Ends every run that is asked for until nothing is left.
  ///
  /// - Parameters:
  ///   - order: which of the pending runs ends next.
  ///   - accuracy: of a trial, by number, at a rung and in a fold.
  private func complete(
    _ sweep: inout Sweep, order: ([Sweep.Job]) -> Sweep.Job = { $0[0] },
    accuracy: (_ trial: Int, _ rung: Int, _ fold: Int) -> Double?
  ) {
    while !sweep.pending.isEmpty {
      let job = order(sweep.pending)
      let found = accuracy(sweep.trials[job.trial].number, job.rung, job.fold ?? 1)
      sweep.record(found.map { Sweep.Outcome(accuracy: $0, steps: 10, weightsSHA256: "ab") } ?? .diverged, of: job)
    }
  }

  @Test(arguments: [
    (UInt64(12), Optional(3), [UInt64(2), 4, 12]), (9, 3, [1, 3, 9]), (100, 3, [12, 34, 100]), (8, 3, [3, 8]),
    (2, 3, [2]), (12, nil, [12]), (12, 2, [3, 6, 12]), (1, 2, [1]),
  ])
  func `rungs end after a ninth and a third of the epochs, rounded up`(
    epochs: UInt64, factor: Int?, rungs: [UInt64]
  ) throws {
    #expect(try sweep(4, epochs: epochs, halving: factor).trials.allSatisfy { $0.rungs == rungs })
  }

  @Test func `the best third of a rung continues, of equal ones the first, and none before the rung is in`() throws {
    var sweep = try sweep(7)
    for _ in 1...6 { sweep.record(Sweep.Outcome(accuracy: 0.3), of: sweep.pending[0]) }
    #expect(sweep.pending.map(\.trial) == [6])
    #expect(sweep.entrants(of: 1) == nil)
    sweep.record(Sweep.Outcome(accuracy: 0.4), of: sweep.pending[0])
    // Three of seven: the best one, and the first two of those that are equal.
    #expect(sweep.entrants(of: 1) == [0, 1, 6])
    #expect(sweep.pending.map(\.trial) == [0, 1, 6])
    #expect(sweep.pending.allSatisfy { $0.rung == 1 && $0.fold == nil })
  }

  @Test func `a trial that diverged is a result, never continues and never wins`() throws {
    var sweep = try sweep(3, halving: nil)
    complete(&sweep) { trial, _, _ in trial == 2 ? 0.2 : nil }
    #expect(sweep.winner?.number == 2)
    #expect(sweep.ranking.map(\.number) == [2, 1, 3])
    var allDiverged = try self.sweep(9)
    complete(&allDiverged) { _, _, _ in nil }
    #expect(allDiverged.winner == nil)
    #expect(allDiverged.entrants(of: 1) == [])
    #expect(allDiverged.openRung == nil)
    #expect(allDiverged.json.compactText.contains(#""best":null"#))
    // One that diverges later on loses against the worst that does not.
    var late = try self.sweep(9)
    complete(&late) { trial, rung, _ in trial == 9 && rung == 2 ? nil : Double(trial) / 10 }
    #expect(late.winner == nil)
    #expect(late.ranking.first?.number == 9)
  }

  @Test func `the order in which runs end decides nothing`() throws {
    func accuracy(_ trial: Int, _ rung: Int, _ fold: Int) -> Double? {
      (trial * 7 + rung * 3 + fold) % 11 == 0 ? nil : Double((trial * 31 + rung * 17 + fold * 5) % 97) / 97
    }
    var (forwards, backwards, mixed) = (try sweep(20, folds: 3), try sweep(20, folds: 3), try sweep(20, folds: 3))
    complete(&forwards, accuracy: accuracy)
    complete(&backwards, order: { $0[$0.count - 1] }, accuracy: accuracy)
    complete(&mixed, order: { $0[$0.count * 5 / 7] }, accuracy: accuracy)
    #expect(forwards.json == backwards.json)
    #expect(forwards.json == mixed.json)
    #expect(forwards.trials.filter { $0.newestRung == 0 }.count == 20 - 7)
  }

  @Test func `the accuracy of a cross-validation is the mean of its folds`() throws {
    var sweep = try sweep(2, halving: nil, folds: 4)
    let names: [String] = sweep.pending.prefix(5).map { sweep.runName(of: $0) }
    #expect(names == [1, 2, 3, 4].map { "trial-001-fold-\($0)" } + ["trial-002-fold-1"] as [String])
    complete(&sweep) { trial, _, fold in trial == 1 ? [0.1, 0.2, 0.3, 0.4][fold - 1] : 0.26 }
    #expect(sweep.winner?.number == 2)
    guard case .object(let members) = sweep.json,
      case .array(let trials)? = members.first(where: { $0.name == "trials" })?.value
    else {
      Issue.record("no trials")
      return
    }
    let first = try JSONFields(trials[0], context: "trial 1")
    #expect(try abs(first["validation_accuracy"] - 0.25) < 1e-12)
    // Of the sample: sqrt((0.15² + 0.05²) · 2 / 3).
    #expect(try abs(first["validation_deviation"] - 0.129099444873581) < 1e-12)
  }

  // MARK: The file

  @Test func `what was saved is restored, whatever is complete`() throws {
    try TemporaryDirectory.with { directory in
      var sweep = try sweep(10, folds: 2)
      for count in 0... {
        try sweep.save(in: directory.path)
        var restored = try self.sweep(10, folds: 2)
        try restored.restore(from: directory.path)
        #expect(restored.json == sweep.json, "after \(count) runs")
        #expect(restored.pending == sweep.pending)
        guard let job = sweep.pending.first else { break }
        let accuracy = job.trial == 4 ? nil : 0.1 + Double(job.trial * 3 % 10) / 70
        sweep.record(accuracy.map { Sweep.Outcome(accuracy: $0, steps: 7, weightsSHA256: "cd") } ?? .diverged, of: job)
      }
      sweep.record(final: .init(testAccuracy: 0.4, testDataLoss: 1.5, steps: 90, weightsSHA256: "ef"))
      try sweep.save(in: directory.path)
      var restored = try self.sweep(10, folds: 2)
      try restored.restore(from: directory.path)
      #expect(restored.final == sweep.final)
      #expect(restored.json == sweep.json)
    }
  }

  @Test func `another sweep in the same directory is refused with what differs`() throws {
    try TemporaryDirectory.with { directory in
      try sweep(4).save(in: directory.path)
      let others: [(Sweep, String)] = [
        (try sweep(5), "tries is 5, but was 4"), (try sweep(4, halving: 2), "halving is 2, but was 3"),
        (try sweep(4, folds: 5), "validate is folds:5, but was split"),
        (try sweep(4, over: "l2=log:1e-6..1"), "over is l2=log:1e-06..1, but was l2=log:1e-05..1"),
        (
          try sweep(4, settings: [KeyValue("batch-size", "128"), KeyValue("seed", "1")]),
          "batch-size is 128, but was 64"
        ),
        (try sweep(4, settings: [KeyValue("batch-size", "64")]), "seed is not set, but was 1"),
      ]
      for (other, difference) in others {
        var other = other
        #expect { try other.restore(from: directory.path) } throws: { error in
          guard let failure = error as? Failure else { return false }
          return failure.status == .badConfiguration && failure.message.contains(difference)
        }
      }
    }
  }

  @Test func `a damaged file is refused`() throws {
    try TemporaryDirectory.with { directory in
      let whole = try sweep(4)
      let text = whole.json.indentedText
      for damaged in [
        String(text.prefix(100)), text.replacing("\"format_version\": 1", with: "\"format_version\": 2"),
        text.replacing("\"l2\": \"\(whole.trials[0].values[0])\"", with: "\"l2\": \"3\""),
      ] {
        try FileSystem().replace("\(directory.path)/\(Sweep.fileName)", with: damaged)
        var sweep = try sweep(4)
        #expect { try sweep.restore(from: directory.path) } throws: { ($0 as? Failure)?.status == .badData }
      }
    }
  }

  // MARK: Report

  @Test func `the table has the winner first, and those that were stopped below`() throws {
    var sweep = try sweep(9)
    complete(&sweep) { trial, rung, _ in trial == 3 ? nil : Double(trial + rung) / 20 }
    let lines = sweep.text(directory: "sweeps/a").split(separator: "\n").map(String.init)
    #expect(lines[0].split(separator: " ") == ["trial", "l2", "epochs", "validation", "state"])
    #expect(lines[1].hasPrefix("9 ") && lines[1].contains(" 9 ") && lines[1].hasSuffix("55.00 %     finished"))
    #expect(lines[2].hasPrefix("8 ") && lines[2].hasSuffix("stopped"))
    #expect(lines[9].hasPrefix("3 ") && lines[9].hasSuffix("-           diverged"))
    #expect(lines.contains { $0.hasPrefix("best   trial 9: l2 ") })
    #expect(!lines.contains { $0.hasPrefix("final") })
  }

  @Test func `the picture: two settings as axes, accuracy as colour, a third setting as panels`() throws {
    var sweep = try sweep(30, halving: nil, over: "learning-rate=log:1e-4..1,l2=log:1e-5..1e-1,hidden=50|100|200")
    complete(&sweep) { trial, _, _ in trial % 10 == 0 ? nil : Double(trial) / 40 }
    let figure = sweep.figure
    #expect(figure.panels.count == 3)
    var points = 0
    for (panel, hidden) in zip(figure.panels, ["50", "100", "200"]) {
      guard case .chart(let chart) = panel else {
        Issue.record("no chart")
        return
      }
      #expect(chart.title == "hidden \(hidden)")
      #expect((chart.x.label, chart.y.label) == ("learning-rate", "l2"))
      #expect(chart.x.range == 1e-4...1)
      let trials = sweep.trials.filter { $0.values[2] == hidden }
      points += chart.series.map(\.points.count).reduce(0, +)
      let values = chart.series[0].points.compactMap(\.value)
      #expect(values == trials.filter { $0.number % 10 != 0 }.map { Double($0.number) / 40 * 100 })
    }
    #expect(points == 30)
    #expect(figure.caption.contains("30 trials, 3 diverged"))
    #expect(figure.caption.contains("Best: learning-rate "))
  }
}
