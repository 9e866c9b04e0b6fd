import Diagnostics
import FoundationEssentials
import Optimization
import Pieces
import Reporting

// MARK: Determinism

/// What it costs to have the same bits always: every shard is rounded on its own where one chain of floats would do,
/// and the server adds integers where it could add floats as they arrive. Of whole steps, those of 16 shards against
/// those of fewer, in alternation: a server that adds as it comes needs no more than the fastest of them. And of the
/// pieces that make the difference.
func measureDeterminism(_ rig: Rig, _ report: inout Report) throws {
  let shards = [16, 8, 4, 2]
  let rows = try [64, 256].map { examples in
    // What one of the two workers computes.
    let gradients = try [(16, 8), (2, 1)].map { shards, own in
      try rig.gradient(batchSize: 2 * examples, shards: shards, own: ShardSet(range: 0..<own))
    }
    let sums = try [rig.kernel, nil].map { try AdditionPiece(integersBy: $0).verified(after: 3) }
    let pieces = measure(samples: rig.isQuick ? 40 : 200, gradients + sums).map(\.median)
    let steps = try alternate(
      "determinism, \(examples) a worker", rounds: rig.isQuick ? 3 : 11,
      shards.map { shards in
        let run = TrainingRun(
          flags: "--batch-size \(2 * examples) --shards \(shards) --max-steps 3000 --epochs 1000 --evaluate-every 0 "
            + "--checkpoint-every 0")
        return { Double(2 * examples) / (try run.run(rig).imagesPerSecond) }
      })
    // By how much the fastest of the others is shorter, pair by pair.
    let shares = steps.dropFirst().map { $0.excess(over: steps[0]).map { -$0 } }
    let share = shares.max { $0.median < $1.median } ?? []
    // The workers compute at the same time; of two pushes one is added to the other.
    let byPieces = (pieces[0] - pieces[1] + pieces[2] - pieces[3]) / steps[0].median
    report.target(
      "5 determinism, \(examples) a worker", "at most 10 % of a step",
      reached: "\(share.text(scale: 100, places: 1)) %; by the pieces \(Display.percent(byPieces))",
      isMet: share.median <= 0.1)
    let names =
      shards.map { "step of \($0) shards" } + ["gradient of 8 shards", "of 1 shard", "int32 sum", "float sum"]
    return [Cell("examples per worker", examples)]
      + zip(names, steps.map(\.median) + pieces).map { Cell($0, $1, scale: 1e6, places: 1) }
  }
  report.table("Two workers, µs per step", rows)
}

// MARK: Evaluation, checkpoints, logs

/// Runs with neither evaluation nor checkpoints, with the default intervals, and with the progress shown, in
/// alternation.
func measureOverheads(_ rig: Rig, _ report: inout Report) throws {
  let epochs = rig.isQuick ? 12 : 36
  let runs = [
    TrainingRun(flags: "--epochs \(epochs) --evaluate-every 0 --checkpoint-every 0"),
    TrainingRun(flags: "--epochs \(epochs)"), TrainingRun(flags: "--epochs \(epochs)", printsProgress: true),
  ]
  let outcomes = try alternate(
    "overheads", rounds: 1 + (rig.isQuick ? 3 : 9), runs.map { run in { try run.run(rig) } }
  ).map { $0.dropFirst() }  // The first round warms up.
  let seconds = outcomes.map { $0.map { $0.result.seconds } }
  let coordinator = outcomes.map { $0.map { $0.processorSeconds.total("coordinator") }.median }
  report.table(
    "Softmax, 2 workers, \(epochs) epochs",
    ["evaluation and checkpoints off", "default", "default, progress shown"].enumerated().map { index, name in
      [Cell("run", name)] + seconds[index].cells("training s", places: 3)
        + [
          Cell("CPU s", outcomes[index].map { $0.processorSeconds.total() }.median, places: 3),
          Cell("of it coordinator", coordinator[index], places: 3),
        ]
    })
  // All of the evaluating and saving is the coordinator's. How much longer the runs took says the same with more noise:
  // it is shown, and nothing is decided by it.
  let machineSeconds = seconds[1].median * Double(rig.cores)
  let evaluating = (coordinator[1] - coordinator[0]) / machineSeconds
  report.target(
    "5 evaluation and checkpoints", "at most 3 % of the run",
    reached: "\(Display.percent(evaluating)) of the CPU time; "
      + "\(seconds[1].excess(over: seconds[0]).text(scale: 100, places: 1)) % longer", isMet: evaluating <= 0.03)
  let showing = max(0, coordinator[2] - coordinator[1]) / machineSeconds
  let (lines, lineSeconds) = (outcomes[1].last?.lineCount ?? 0, try secondsPerLine(rig))
  let logging = Double(lines) * lineSeconds / seconds[1].median + showing
  report.target(
    "5 logs, metrics, progress", "at most 1 % of the run",
    reached: "\(Display.percent(logging, places: 2)): \(lines) lines of \(microseconds(lineSeconds)), and progress "
      + Display.percent(showing, places: 2), isMet: logging <= 0.01)
  report.notes = [
    "With progress the runs were \(seconds[2].excess(over: seconds[1]).text(scale: 100, places: 1)) % longer than "
      + "without.",
    "The checkpoints went to a directory in \(ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp").",
  ]
}

/// A line of JSON made and written, as metrics and logs are.
private func secondsPerLine(_ rig: Rig) throws -> Double {
  let path = rig.newName("lines")
  let writer = try MetricsWriter(path: path)
  let count: UInt64 = 2000
  let began = monotonicSeconds()
  for step in 1...count {
    var record = MetricsRecord(step: step, examples: 1000 * step)
    (record.epoch, record.seconds, record.workers, record.learningRate) = (1.5, 2.25, 2, 0.05)
    (record.trainDataLoss, record.trainAccuracy, record.penalty) = (1.75, 0.42, 0.0625)
    (record.gradientNorm, record.imagesPerSecond) = (0.5, 1e6)
    (record.validationDataLoss, record.validationAccuracy) = (1.76, 0.41)
    try writer.append(record)
  }
  let seconds = monotonicSeconds() - began
  guard try lines(of: path).count == Int(count) else {
    throw Failure(.internalError, "the file has other lines than were written")
  }
  return seconds / Double(count)
}
