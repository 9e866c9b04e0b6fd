import Diagnostics
import Glibc
import NodeRuntime
import Optimization
import Reporting

/// Programs of ours as child processes, and the processor time each of them used.
final class Programs {
  let spawner: ProcessSpawner
  /// User and system time of each that has ended, by name, its waited-for children included.
  private var used: [String: Double] = [:]

  init() throws(Failure) { spawner = try ProcessSpawner() }

  /// Notes those that have ended, without waiting.
  private func collect() throws(Failure) {
    for child in spawner.running {
      var status: Int32 = 0
      var usage = rusage()
      guard wait4(child.processID, &status, WNOHANG, &usage) == child.processID else { continue }
      guard status == 0 else {
        let exit = status & 0x7F == 0 ? "exit status \(status >> 8 & 0xFF)" : "signal \(status & 0x7F)"
        throw Failure(.internalError, "\(child.name) failed", found: exit)
      }
      used[child.name] = [usage.ru_utime, usage.ru_stime]
        .reduce(0) { $0 + Double($1.tv_sec) + Double($1.tv_usec) * 1e-6 }
    }
    // The spawner sees by itself that they are gone.
    _ = spawner.reap()
  }

  /// Waits until all have ended, and calls `meanwhile` about every two milliseconds.
  ///
  /// - Throws: `unavailable` when it takes longer than `limit` seconds, `internalError` when one of them failed.
  func waitForAll(
    limit: Double, meanwhile: (Programs) throws(Failure) -> Void = { (_) throws(Failure) in }
  ) throws(Failure) {
    let deadline = monotonicSeconds() + limit
    while true {
      try collect()
      guard !spawner.running.isEmpty else { return }
      guard monotonicSeconds() < deadline else {
        let names = spawner.running.map(\.name).joined(separator: ", ")
        throw Failure(.unavailable, "a measured run did not end within \(limit) s", found: "still running: \(names)")
      }
      try meanwhile(self)
      usleep(2000)
    }
  }

  /// Processor time until now of each, by name.
  var processorSeconds: [String: Double] {
    var result = used
    for child in spawner.running {
      var clock = clockid_t()
      guard clock_getcpuclockid(child.processID, &clock) == 0 else { continue }
      result[child.name] = monotonicSeconds(clock)
    }
    return result
  }
}

extension TrainingPlan {
  /// The flags of `descent train` for this one, which is plain: softmax, a constant learning rate and no momentum.
  var flags: String {
    "--consistency \(consistency) --batch-size \(batchSize) --shards \(shardCount) --max-steps \(totalSteps) "
      + "--epochs 1000000 --schedule constant --learning-rate \(learningRate.base) --l2 \(l2) "
      + "--initial-standard-deviation \(initialStandardDeviation) --validation-examples \(validationCount) "
      + "--evaluate-every \(evaluateEvery) --checkpoint-every \(checkpointEvery)"
  }
}

extension [String: Double] {
  /// Of the programs whose name begins so.
  func total(_ prefix: String = "") -> Double { reduce(0) { $1.key.hasPrefix(prefix) ? $0 + $1.value : $0 } }
}

/// One run of the real programs on this host, with every role started apart, so that it is known what each of them used.
struct TrainingRun {
  /// Flags of `descent train`; their values have no spaces.
  var flags: String
  var workers = 2
  /// What stands for descent-worker, with arguments of its own.
  var worker: (executable: String, arguments: [String]) = ("descent-worker", [])
  /// Nil for the data of the rig.
  var data: String?
  /// A file for what the programs print, progress included; nil to keep them quiet.
  var output: String?
  /// Stops the first worker for ten milliseconds and continues it for ten, all the time.
  var slowsOneWorker = false
  /// Called with the directory of the run every few milliseconds, and at the end.
  var meanwhile: (Programs, _ directory: String) throws(Failure) -> Void = { (_, _) throws(Failure) in }
  var afterwards: (_ directory: String) throws(Failure) -> Void = { (_) throws(Failure) in }

  struct Outcome {
    let result: RunResult
    /// User and system time of each process by name, its start included.
    let processorSeconds: [String: Double]
    /// Not a number where the run did not tell.
    var imagesPerSecond: Double { result.imagesPerSecond ?? .nan }
    /// Processor time of each process until a line of metrics was seen, in the order of the steps.
    let marks: [(step: Double, processorSeconds: [String: Double])]
  }

  /// Runs it to its end, and removes its directory unless something fails.
  func run(_ rig: Rig) throws(Failure) -> Outcome {
    let (programs, directory, data) = (try Programs(), rig.newName("run"), data ?? rig.data)
    let common = ["--run-dir", directory, "--die-with-parent"] + (output == nil ? ["--quiet"] : [])
    let flags = flags.split(separator: " ").map(String.init) + ["--workers", "\(workers)", "--data", data]
    var roles = [
      ("coordinator", "descent-coordinator", flags + common), ("server", "descent-server", common),
    ]
    roles += (0..<workers).map { ("worker \($0)", worker.executable, worker.arguments + ["--data", data] + common) }
    for (name, program, arguments) in roles {
      _ = try programs.spawner.start(program, arguments, name: name, output: output)
    }
    var slowdown = Slowdown()
    var marks: [(step: Double, processorSeconds: [String: Double])] = []
    try programs.waitForAll(limit: 120) { (programs) throws(Failure) in
      if slowsOneWorker { slowdown.update(programs.spawner) }
      if let step = Self.lastStep(of: directory), step > marks.last?.step ?? 0 {
        marks.append((step, programs.processorSeconds))
      }
      try meanwhile(programs, directory)
    }
    let result = try Self.result(of: directory)
    try afterwards(directory)
    rig.remove(directory)
    return Outcome(result: result, processorSeconds: programs.processorSeconds, marks: marks)
  }

  /// The step of the last whole line of metrics; nil where there is none.
  static func lastStep(of directory: String) -> Double? {
    let path = RunPaths(directory: directory).metrics
    // What follows the last line feed is not whole.
    guard let text = try? fileText(path),
      let line = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast().last,
      let fields = try? JSONFields(parsing: Array(line.utf8), source: path)
    else { return nil }
    return try? fields["step"]
  }

  static func result(of directory: String) throws(Failure) -> RunResult {
    let path = RunPaths(directory: directory).result
    return try RunResult(json: fileText(path), source: path)
  }

  /// Half speed: a worker is stopped for as long as it runs.
  private struct Slowdown {
    private var isStopped = false
    private var since = monotonicSeconds()

    mutating func update(_ spawner: ProcessSpawner) {
      guard let worker = spawner.running.first(where: { $0.name == "worker 0" }) else { return }
      // Once the run is over the worker must run to its end.
      let isOver = !spawner.running.contains { $0.name == "coordinator" }
      let now = monotonicSeconds()
      guard isOver ? isStopped : now - since >= 0.01 else { return }
      isStopped.toggle()
      since = now
      spawner.send(isStopped ? SIGSTOP : SIGCONT, to: worker)
    }
  }
}
