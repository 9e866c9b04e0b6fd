import Diagnostics
import FoundationEssentials
import NodeRuntime
import Optimization
import Pieces
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
    title: "Two workers, µs per step",
    columns: ["examples per worker"] + shards.map { "step of \($0) shards" }
      + ["gradient of 8 shards", "of 1 shard", "int32 sum", "float sum"])
  for examples in [64, 256] {
    // What one of the two workers computes.
    let gradients = try [(16, 8), (2, 1)].map { shards, own throws(Failure) in
      try rig.gradient(batchSize: 2 * examples, shards: shards, own: ShardSet(range: 0..<own))
    }
    let sums = try [rig.kernel, nil].map { (kernel) throws(Failure) in
      try AdditionPiece(integersBy: kernel).verified(after: 3)
    }
    let pieces = measure(samples: rig.isQuick ? 40 : 200, gradients + sums).map(\.median)
    let runs = shards.map {
      TrainingRun(
        flags: "--batch-size \(2 * examples) --shards \($0) --max-steps 3000 --epochs 1000 --evaluate-every 0 "
          + "--checkpoint-every 0")
    }
    let steps = try rig.alternate("determinism, \(examples) a worker", runs, repetitions: rig.isQuick ? 3 : 11)
      .map { outcomes in outcomes.map { Double(2 * examples) / $0.imagesPerSecond } }
    table.rows.append([.count(examples)] + (steps.map(\.median) + pieces).microseconds(places: 1))
    // By how much the fastest of the others is shorter, pair by pair.
    let shares = steps.dropFirst().map { $0.excess(over: steps[0]).map { -$0 } }
    let share = shares.max { $0.median < $1.median } ?? []
    // The workers compute at the same time; of two pushes one is added to the other.
    let byPieces = (pieces[0] - pieces[1] + pieces[2] - pieces[3]) / steps[0].median
    report.findings.append(
      Finding(
        target: "5 determinism, \(examples) a worker", bound: "at most 10 % of a step",
        reached: "\(share.text(places: 1, scale: 100)) %; by the pieces \(percent(byPieces))",
        met: share.median <= 0.1))
  }
  report.tables = [table]
  return report
}

// MARK: Evaluation, checkpoints, logs

/// Runs with neither evaluation nor checkpoints, with the default intervals, and with the progress shown, in alternation.
func measureOverheads(_ rig: Rig) throws(Failure) -> GroupReport {
  let epochs = rig.isQuick ? 12 : 36
  var lines = 0
  let outcomes = try rig.alternate(
    "overheads",
    [
      TrainingRun(flags: "--epochs \(epochs) --evaluate-every 0 --checkpoint-every 0"),
      TrainingRun(flags: "--epochs \(epochs)", afterwards: { (run) throws(Failure) in lines = try linesWritten(run) }),
      TrainingRun(flags: "--epochs \(epochs)", output: rig.newName("output")),
    ], repetitions: 1 + (rig.isQuick ? 3 : 9)
  ).map { $0.dropFirst() }  // The first round warms up.
  let seconds = outcomes.map { $0.map { $0.result.seconds } }
  let coordinator = outcomes.map { $0.map { $0.processorSeconds.total("coordinator") } }
  let rows = ["evaluation and checkpoints off", "default", "default, progress shown"].enumerated().map { index, name in
    let processors = [outcomes[index].map { $0.processorSeconds.total() }.median, coordinator[index].median]
    return [.text(name)] + (seconds[index].medianAndExtremes + processors).cells(places: 3)
  }
  let lineSeconds = try secondsPerLine(rig)
  let machineSeconds = seconds[1].median * Double(rig.cores)
  // All of the evaluating and saving is the coordinator's. How much longer the runs took says the same with more noise:
  // it is shown, and nothing is decided by it.
  let evaluating = (coordinator[1].median - coordinator[0].median) / machineSeconds
  let showing = max(0, coordinator[2].median - coordinator[1].median) / machineSeconds
  let logging = Double(lines) * lineSeconds / seconds[1].median + showing
  return GroupReport(
    tables: [
      Table(
        title: "Softmax, 2 workers, \(epochs) epochs",
        columns: ["", "training s", "lowest", "highest", "CPU s", "of it coordinator"], rows: rows)
    ],
    findings: [
      Finding(
        target: "5 evaluation and checkpoints", bound: "at most 3 % of the run",
        reached: "\(percent(evaluating)) of the CPU time; "
          + "\(seconds[1].excess(over: seconds[0]).text(places: 1, scale: 100)) % longer", met: evaluating <= 0.03),
      Finding(
        target: "5 logs, metrics, progress", bound: "at most 1 % of the run",
        reached: "\(percent(logging, places: 2)): \(lines) lines of \(microseconds(lineSeconds)), and progress "
          + percent(showing, places: 2), met: logging <= 0.01),
    ],
    notes: [
      "With progress the runs were \(seconds[2].excess(over: seconds[1]).text(places: 1, scale: 100)) % longer than "
        + "without.",
      "The checkpoints went to a directory in \(ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp").",
    ])
}

/// Lines in the logs and metrics of a run.
private func linesWritten(_ directory: String) throws(Failure) -> Int {
  let paths = RunPaths(directory: directory)
  return try (paths.logFiles + [paths.metrics]).map { (path) throws(Failure) in try lines(of: path).count }
    .reduce(0, +)
}

/// A line of JSON made and written, as metrics and logs are.
private func secondsPerLine(_ rig: Rig) throws(Failure) -> Double {
  let path = rig.newName("lines")
  let writer = try MetricsWriter(path: path)
  let count: UInt64 = 2000
  let began = monotonicSeconds()
  for step in 1...count {
    var record = MetricsRecord(step: step, examples: 1000 * step)
    (record.epoch, record.seconds, record.workers, record.learningRate) = (1.5, 2.25, 2, 0.05)
    (record.trainLoss, record.gradientNorm, record.imagesPerSecond) = (1.75, 0.5, 1e6)
    (record.validationLoss, record.validationAccuracy) = (1.76, 0.41)
    try writer.append(record)
  }
  let seconds = monotonicSeconds() - began
  guard try lines(of: path).count == Int(count) else {
    throw Failure(.internalError, "the file has other lines than were written")
  }
  return seconds / Double(count)
}
