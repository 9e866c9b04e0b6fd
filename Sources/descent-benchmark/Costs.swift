import Diagnostics
import FoundationEssentials
import NodeRuntime
import Optimization
import Reporting

// MARK: Determinism

/// What it costs to have the same bits always: every shard is rounded on its own where one chain of floats would do, and
/// the server adds integers where it could add floats as they arrive. Of whole steps, those of 16 shards against those of
/// fewer, in alternation: a server that adds as it comes needs no more than the fastest of them. And of the pieces that
/// make the difference.
func measureDeterminism(_ rig: Rig) throws(Failure) -> GroupReport {
  var report = GroupReport()
  let shards = [16, 8, 4, 2]
  var table = Table(
    "Two workers, µs per step",
    ["examples per worker"] + shards.map { "step of \($0) shards" }
      + ["gradient of 8 shards", "of 1 shard", "int32 sum", "float sum"])
  for examples in [64, 256] {
    Rig.say("determinism: \(examples) examples per worker")
    // What one of the two workers computes.
    let gradients = try [(16, 8), (2, 1)].map { shards, own throws(Failure) in
      let run = try GradientRun(
        rig, kernel: rig.kernel, batchSize: 2 * examples, shards: shards, computing: ShardSet(range: 0..<own))
      try run.verify()
      return run
    }
    let sums = Sums(rig.kernel)
    try sums.verify()
    let pieces = measure(
      samples: rig.isQuick ? 40 : 200, gradients.map { $0.run } + [sums.addIntegers, sums.addFloats]
    ).map(\.seconds.median)
    let steps = try stepSeconds(rig, batch: 2 * examples, shards: shards)
    table.rows.append([.count(examples)] + (steps.map(\.median) + pieces).map { .microseconds($0, places: 1) })
    // By how much the fastest of the others is shorter, pair by pair.
    let shares = steps.dropFirst().map { other in Samples(zip(other.values, steps[0].values).map { 1 - $0 / $1 }) }
    let share = shares.max { $0.median < $1.median } ?? Samples()
    // The workers compute at the same time; of two pushes one is added to the other.
    let byPieces = (pieces[0] - pieces[1] + pieces[2] - pieces[3]) / steps[0].median
    report.findings.append(
      Finding(
        target: "5 determinism, \(examples) a worker", bound: "at most 10 % of a step",
        reached: "\(share.text(places: 1, scale: 100)) %; by the pieces \(percent(byPieces))",
        isMet: share.median <= 0.1))
  }
  report.tables = [table]
  return report
}

/// The mean steps of two workers, for each number of shards, of several runs in alternation.
private func stepSeconds(_ rig: Rig, batch: Int, shards: [Int]) throws(Failure) -> [Samples] {
  var steps = shards.map { _ in Samples() }
  for repetition in 0..<(rig.isQuick ? 3 : 11) {
    for index in repetition % 2 == 0 ? Array(shards.indices) : shards.indices.reversed() {
      let directory = rig.work.newName("steps")
      let outcome = try TrainingRun(
        settings: [
          ("batch-size", "\(batch)"), ("shards", "\(shards[index])"), ("max-steps", "3000"), ("epochs", "1000"),
          ("evaluate-every", "0"), ("checkpoint-every", "0"),
        ], workers: 2, data: rig.data
      ).run(in: directory)
      steps[index].add(Double(batch) / (outcome.result.imagesPerSecond ?? .nan))
      rig.work.remove(directory)
    }
  }
  return steps
}

// MARK: Evaluation, checkpoints, logs

/// Runs with neither evaluation nor checkpoints, with the default intervals, and with the progress shown, in alternation.
func measureOverheads(_ rig: Rig) throws(Failure) -> GroupReport {
  let epochs = rig.isQuick ? 12 : 36
  let repetitions = rig.isQuick ? 3 : 9
  var (off, normal) = (RunKind("evaluation and checkpoints off"), RunKind("default"))
  var shown = RunKind("default, progress shown")
  off.settings = [("evaluate-every", "0"), ("checkpoint-every", "0")]
  var lines = 0
  for repetition in 0...repetitions {
    Rig.say("overheads: repetition \(repetition) of \(repetitions)")
    // The first round warms up.
    let counts = repetition > 0
    try off.run(rig, epochs: epochs, counts: counts)
    try normal.run(rig, epochs: epochs, counts: counts) { (directory) throws(Failure) in
      lines = try linesWritten(directory)
    }
    try shown.run(rig, epochs: epochs, counts: counts, output: rig.work.newName("output"))
  }
  let lineSeconds = try secondsPerLine(rig)
  let machineSeconds = normal.seconds.median * Double(rig.machine.cores)
  // All of the evaluating and saving is the coordinator's. How much longer the runs took says the same with more noise:
  // it is shown, and nothing is decided by it.
  let evaluating = (normal.coordinator.median - off.coordinator.median) / machineSeconds
  let showing = max(0, shown.coordinator.median - normal.coordinator.median) / machineSeconds
  let logging = Double(lines) * lineSeconds / normal.seconds.median + showing
  return GroupReport(
    tables: [
      Table(
        "Softmax, 2 workers, \(epochs) epochs",
        ["", "training s", "lowest", "highest", "CPU s", "of it coordinator"], [off, normal, shown].map(\.row))
    ],
    findings: [
      Finding(
        target: "5 evaluation and checkpoints", bound: "at most 3 % of the run",
        reached: "\(percent(evaluating)) of the CPU time; "
          + "\(normal.excess(over: off).text(places: 1, scale: 100)) % longer", isMet: evaluating <= 0.03),
      Finding(
        target: "5 logs, metrics, progress", bound: "at most 1 % of the run",
        reached: "\(percent(logging, places: 2)): \(lines) lines of \(microseconds(lineSeconds)), and progress "
          + percent(showing, places: 2), isMet: logging <= 0.01),
    ],
    notes: [
      "With progress the runs were \(shown.excess(over: normal).text(places: 1, scale: 100)) % longer than without.",
      "The checkpoints went to a directory in \(ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp").",
    ])
}

private struct RunKind {
  let name: String
  var settings: [(name: String, value: String)] = []
  private(set) var seconds = Samples()
  private(set) var coordinator = Samples()
  private var all = Samples()

  init(_ name: String) { self.name = name }

  mutating func run(
    _ rig: Rig, epochs: Int, counts: Bool, output: String? = nil,
    afterwards: (_ directory: String) throws(Failure) -> Void = { (_) throws(Failure) in }
  ) throws(Failure) {
    let directory = rig.work.newName("overhead")
    let outcome = try TrainingRun(
      settings: settings + [("epochs", "\(epochs)")], workers: 2, data: rig.data, output: output
    ).run(in: directory)
    try afterwards(directory)
    rig.work.remove(directory)
    guard counts else { return }
    seconds.add(outcome.result.seconds ?? .nan)
    coordinator.add(outcome.coordinatorSeconds)
    all.add(outcome.allSeconds)
  }

  var row: [Table.Cell] {
    [.text(name)]
      + [seconds.median, seconds.lowest, seconds.highest, all.median, coordinator.median].map { .number($0, places: 3) }
  }

  /// How much longer these runs took than those before them, pair by pair.
  func excess(over other: RunKind) -> Samples {
    Samples(zip(seconds.values, other.seconds.values).map { $0 / $1 - 1 })
  }
}

/// Lines in the logs and metrics of a run.
private func linesWritten(_ directory: String) throws(Failure) -> Int {
  let paths = RunPaths(directory: directory)
  let logs = (try? FileManager.default.contentsOfDirectory(atPath: paths.logs)) ?? []
  var count = 0
  for path in logs.map({ "\(paths.logs)/\($0)" }) + [paths.metrics] {
    count += try fileText(path).split(separator: "\n").count
  }
  return count
}

/// A line of JSON made and written, as metrics and logs are.
private func secondsPerLine(_ rig: Rig) throws(Failure) -> Double {
  let path = rig.work.newName("lines")
  let writer = try MetricsWriter(path: path)
  let count: UInt64 = 2000
  let began = monotonicSeconds()
  for step in 1...count {
    try writer.append(
      MetricsRecord(
        step: step, epoch: 1.5, seconds: 2.25, examples: 1000 * step, workers: 2, learningRate: 0.05, trainLoss: 1.75,
        gradientNorm: 0.5, imagesPerSecond: 1e6, validationLoss: 1.76, validationAccuracy: 0.41))
  }
  let seconds = monotonicSeconds() - began
  guard try fileText(path).split(separator: "\n").count == Int(count) else {
    throw Failure(.internalError, "the file has other lines than were written")
  }
  return seconds / Double(count)
}
