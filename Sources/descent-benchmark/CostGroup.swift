import CKernels
import Diagnostics
import FoundationEssentials
import NodeRuntime
import Optimization
import Reporting

// MARK: Determinism

/// What it costs to have the same bits always: every shard is rounded on its own where one chain of floats would do, and
/// the server adds integers where it could add floats as they arrive. Of whole steps, those of 16 shards against those of
/// fewer, in alternation: nobody who adds as it comes would need more than the fastest of them. And of the pieces that
/// make the difference.
func measureDeterminism(_ suite: Suite) throws(Failure) -> GroupReport {
  var report = GroupReport(group: .determinism)
  let shards = [16, 8, 4, 2]
  var table = Table(
    "Two workers, µs per step",
    ["examples per worker"] + shards.map { "step of \($0) shards" }
      + ["gradient of 8 shards", "of 1 shard", "int32 sum", "float sum"])
  let gradients = try GradientPieces(suite)
  try gradients.verify()
  for examples in [64, 256] {
    Suite.say("determinism: \(examples) examples per worker")
    let exact = try gradients.plan(batchSize: 2 * examples, shards: 16)
    let plain = try gradients.plan(batchSize: 2 * examples, shards: 2)
    let sums = Sums(kernel: suite.machine.kernel)
    try sums.verify()
    let timings = measure(
      sampleCount: suite.isQuick ? 40 : 200,
      [
        gradients.run(exact, shards: ShardSet(range: 0..<8)), gradients.run(plain, shards: ShardSet(range: 0..<1)),
        sums.addIntegers, sums.addFloats,
      ]
    ).map(\.median)
    let steps = try stepSeconds(suite, batch: 2 * examples, shards: shards)
    table.rows.append(
      [.number(Double(examples), places: 0)] + (steps.map(\.median) + timings).map { .number($0 * 1e6, places: 1) })
    // By how much the fastest of the others is shorter, pair by pair.
    let shares = steps.dropFirst().map { other in
      Samples(zip(other.values, steps[0].values).map { 1 - $0 / $1 })
    }
    let share = shares.max { $0.median < $1.median } ?? Samples()
    // The workers compute at the same time; of two pushes one is added to the other.
    let pieces = (timings[0] - timings[1] + timings[2] - timings[3]) / steps[0].median
    report.findings.append(
      Finding(
        target: "5 determinism, \(examples) a worker", bound: "at most 10 % of a step",
        reached: "\(share.text(places: 1, scale: 100)) %; by the pieces \(percent(pieces))",
        isMet: share.median <= 0.1))
  }
  report.tables = [table]
  return report
}

/// The mean steps of two workers, for each number of shards, of several runs in alternation.
private func stepSeconds(_ suite: Suite, batch: Int, shards: [Int]) throws(Failure) -> [Samples] {
  var steps = shards.map { _ in Samples() }
  for repetition in 0..<(suite.isQuick ? 3 : 11) {
    for index in repetition % 2 == 0 ? Array(shards.indices) : shards.indices.reversed() {
      let directory = suite.work.newName("steps")
      let run = TrainingRun(
        settings: [
          ("batch-size", "\(batch)"), ("shards", "\(shards[index])"), ("max-steps", "3000"), ("epochs", "1000"),
          ("evaluate-every", "0"), ("checkpoint-every", "0"),
        ], workers: 2, data: suite.data)
      steps[index].add(Double(batch) / (try run.run(in: directory).result.imagesPerSecond ?? .nan))
      suite.work.remove(directory)
    }
  }
  return steps
}

/// The addition of one push to another, in integers and in floats.
private final class Sums {
  private let count = Int(DESCENT_PARAMETERS)
  private let integers: UnsafeMutablePointer<Int32>
  private let floats: UnsafeMutablePointer<Float>
  private var additions = (integers: 0, floats: 0)
  private let kernel: KernelVariant

  init(kernel: KernelVariant) {
    self.kernel = kernel
    integers = .allocate(capacity: 2 * count)
    integers.initialize(repeating: 1, count: 2 * count)
    floats = .allocate(capacity: 2 * count)
    floats.initialize(repeating: 1, count: 2 * count)
  }

  deinit {
    integers.deallocate()
    floats.deallocate()
  }

  func addIntegers() {
    descent_add_int32(kernel.functions, integers, integers, integers + count, count)
    additions.integers += 1
  }

  func addFloats() {
    let addend = floats + count
    for index in 0..<count { floats[index] += addend[index] }
    additions.floats += 1
  }

  func verify() throws(Failure) {
    for _ in 0..<3 {
      addIntegers()
      addFloats()
    }
    guard (0..<count).allSatisfy({ integers[$0] == 4 && floats[$0] == 4 }) else {
      throw Failure(.internalError, "the sums are wrong")
    }
  }
}

// MARK: Evaluation, checkpoints, logs

/// Runs with the default intervals, with neither evaluation nor checkpoints, and with the progress shown, in alternation.
func measureOverheads(_ suite: Suite) throws(Failure) -> GroupReport {
  let epochs = suite.isQuick ? 12 : 36
  let repetitions = suite.isQuick ? 3 : 9
  var kinds = [
    RunKind("evaluation and checkpoints off", [("evaluate-every", "0"), ("checkpoint-every", "0")]),
    RunKind("default"),
    RunKind("default, progress shown", isShown: true),
  ]
  var lines = 0
  for repetition in 0...repetitions {
    Suite.say("overheads: repetition \(repetition) of \(repetitions)")
    for index in kinds.indices {
      let directory = suite.work.newName("overhead")
      let outcome = try kinds[index].run(suite, epochs: epochs, in: directory)
      if index == 1 { lines = try linesWritten(directory) }
      suite.work.remove(directory)
      // The first round warms up.
      if repetition > 0 { kinds[index].add(outcome) }
    }
  }
  let lineSeconds = try secondsPerLine(suite)
  return overheadReport(kinds, lines: lines, lineSeconds: lineSeconds, cores: suite.machine.cores, epochs: epochs)
}

private struct RunKind {
  let name: String
  private let settings: [(name: String, value: String)]
  private let isShown: Bool
  private(set) var seconds = Samples()
  private(set) var coordinatorSeconds = Samples()
  private(set) var allSeconds = Samples()

  init(_ name: String, _ settings: [(name: String, value: String)] = [], isShown: Bool = false) {
    self.name = name
    self.settings = settings
    self.isShown = isShown
  }

  func run(_ suite: Suite, epochs: Int, in directory: String) throws(Failure) -> TrainingRun.Outcome {
    try TrainingRun(
      settings: settings + [("epochs", "\(epochs)")], workers: 2, data: suite.data,
      output: isShown ? suite.work.newName("output") : nil
    ).run(in: directory)
  }

  mutating func add(_ outcome: TrainingRun.Outcome) {
    seconds.add(outcome.result.seconds ?? .nan)
    coordinatorSeconds.add(outcome.coordinatorSeconds)
    allSeconds.add(outcome.allSeconds)
  }

  /// How much longer these runs took than those before them, pair by pair.
  func excess(over other: RunKind) -> Samples {
    Samples(zip(seconds.values, other.seconds.values).map { $0 / $1 - 1 })
  }
}

private func overheadReport(
  _ kinds: [RunKind], lines: Int, lineSeconds: Double, cores: Int, epochs: Int
) -> GroupReport {
  var report = GroupReport(group: .overheads)
  var table = Table(
    "Softmax, 2 workers, \(epochs) epochs", ["", "training s", "lowest", "highest", "CPU s", "of it coordinator"])
  for kind in kinds {
    table.rows.append([
      .text(kind.name), .number(kind.seconds.median, places: 3), .number(kind.seconds.lowest, places: 3),
      .number(kind.seconds.highest, places: 3), .number(kind.allSeconds.median, places: 3),
      .number(kind.coordinatorSeconds.median, places: 3),
    ])
  }
  report.tables = [table]
  let (off, normal, shown) = (kinds[0], kinds[1], kinds[2])
  let machineSeconds = normal.seconds.median * Double(cores)
  // All of the evaluating and saving is the coordinator's. How much longer the runs took says the same with more noise:
  // it is shown, and nothing is decided by it.
  let evaluating = (normal.coordinatorSeconds.median - off.coordinatorSeconds.median) / machineSeconds
  let evaluatingTime = normal.excess(over: off)
  let showing = max(0, shown.coordinatorSeconds.median - normal.coordinatorSeconds.median) / machineSeconds
  let logging = Double(lines) * lineSeconds / normal.seconds.median + showing
  report.findings = [
    Finding(
      target: "5 evaluation and checkpoints", bound: "at most 3 % of the run",
      reached: "\(percent(evaluating)) of the CPU time; \(evaluatingTime.text(places: 1, scale: 100)) % longer",
      isMet: evaluating <= 0.03),
    Finding(
      target: "5 logs, metrics, progress", bound: "at most 1 % of the run",
      reached: "\(percent(logging, places: 2)): \(lines) lines of \(microseconds(lineSeconds)), and progress "
        + percent(showing, places: 2), isMet: logging <= 0.01),
  ]
  report.notes = [
    "With progress the runs were \(shown.excess(over: normal).text(places: 1, scale: 100)) % longer than without.",
    "The checkpoints went to a directory in \(getenvText("TMPDIR") ?? "/tmp").",
  ]
  return report
}

private func getenvText(_ name: String) -> String? { ProcessInfo.processInfo.environment[name] }

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
private func secondsPerLine(_ suite: Suite) throws(Failure) -> Double {
  let path = suite.work.newName("lines")
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
    throw Failure(.internalError, "there are other lines than were written")
  }
  return seconds / Double(count)
}
