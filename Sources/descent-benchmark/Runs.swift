import Diagnostics
import FoundationEssentials
import Glibc
import NodeRuntime
import Optimization
import Reporting

/// Programs of ours as child processes, and the processor time each of them used.
final class Programs {
  private let spawner: ProcessSpawner
  /// User and system time of each that has ended, by name, its waited-for children included.
  private var used: [String: Double] = [:]
  private var ended: Set<String> = []

  init() throws { spawner = try ProcessSpawner() }

  var running: [ProcessSpawner.Child] { spawner.running }

  func start(_ name: String, _ program: String, _ arguments: [String], output: String? = nil) throws {
    try spawner.start(program, arguments, name: name, output: output)
  }

  func send(_ signal: Int32, to name: String) {
    for child in running where child.name == name { spawner.send(signal, to: child) }
  }

  /// Waits until all have ended, and calls `meanwhile` about every two milliseconds.
  ///
  /// - Throws: `unavailable` when it takes longer than `limit` seconds, `internalError` when one of them failed.
  func waitForAll(limit: Double, meanwhile: () throws -> Void = {}) throws {
    let deadline = monotonicSeconds() + limit
    while true {
      try collect()
      guard !running.isEmpty else { return }
      guard monotonicSeconds() < deadline else {
        let names = running.map(\.name).joined(separator: ", ")
        throw Failure(.unavailable, "a measured run did not end within \(limit) s", found: "still running: \(names)")
      }
      try meanwhile()
      usleep(2000)
    }
  }

  /// Ends one that runs until it is told to.
  func end(_ name: String) {
    guard ended.insert(name).inserted else { return }
    send(SIGTERM, to: name)
  }

  /// Notes those that have ended, without waiting.
  private func collect() throws {
    for child in running {
      var status: Int32 = 0
      var usage = rusage()
      guard wait4(child.processID, &status, WNOHANG, &usage) == child.processID else { continue }
      guard status == 0 || ended.contains(child.name) && status & 0x7F == SIGTERM else {
        let exit = status & 0x7F == 0 ? "exit status \(status >> 8 & 0xFF)" : "signal \(status & 0x7F)"
        throw Failure(.internalError, "\(child.name) failed", found: exit)
      }
      used[child.name] = [usage.ru_utime, usage.ru_stime]
        .reduce(0) { $0 + Double($1.tv_sec) + Double($1.tv_usec) * 1e-6 }
    }
    // The spawner sees by itself that they are gone.
    _ = spawner.reap()
  }

  /// Processor time until now of each, by name.
  var processorSeconds: [String: Double] {
    var result = used
    for child in running {
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

/// One run of the real programs on this host.
struct TrainingRun {
  /// Flags of `descent train`; their values have no spaces.
  var flags: String
  var workers = 2
  /// Starts `descent train` alone, as people do. Otherwise starts every role apart, so that the processor time of each
  /// is known.
  var isOneCommand = false
  /// What stands for descent-worker, with arguments of its own.
  var worker: (executable: String, arguments: [String]) = ("descent-worker", [])
  /// Nil for the data of the rig.
  var data: String?
  /// Whether the programs print what they print to people, progress included, to a file.
  var printsProgress = false
  /// Whether `descent dashboard` follows the run, with a reader of its page.
  var hasPage = false
  /// Stops the first worker for ten milliseconds and continues it for ten, all the time.
  var slowsOneWorker = false

  struct Outcome {
    let result: RunResult
    /// From the start of the programs to their end.
    let seconds: Double
    /// Lines in the logs and metrics.
    let lineCount: Int
    /// Bytes of the messages that the server received through sockets, and that all workers did.
    let received: (server: Int, workers: Int)
    /// User and system time of each process by name, its start included.
    let processorSeconds: [String: Double]
    /// Processor time of each process until a line of metrics was seen, in the order of the steps.
    let marks: [(step: Int, processorSeconds: [String: Double])]

    /// Over the training time, also of runs that are too short for a rate in their result.
    var imagesPerSecond: Double { Double(result.examples) / result.seconds }

    /// Processor time of the programs whose name begins so, per step between the first and the last line of metrics
    /// before the end: without what starting and ending them takes. Not a number where the lines were not seen apart.
    func processorSecondsPerStep(_ prefix: String = "") -> Double {
      let marks = marks.filter { $0.step < result.steps }
      guard let first = marks.first, let last = marks.last, first.step < last.step else { return .nan }
      return (last.processorSeconds.total(prefix) - first.processorSeconds.total(prefix))
        / Double(last.step - first.step)
    }
  }

  /// Runs it to its end, and removes its directory unless something fails.
  /// - Parameter meanwhile: called every few milliseconds with the step of the last line of metrics, 0 without one.
  func run(
    _ rig: Rig, meanwhile: (Programs, RunPaths, _ step: Int) throws -> Void = { _, _, _ in }
  ) throws -> Outcome {
    let (programs, paths, data) = (try Programs(), RunPaths(directory: rig.newName("run")), data ?? rig.data)
    let output = printsProgress ? rig.newName("output") : nil
    let common = ["--run-dir", paths.directory] + (printsProgress ? [] : ["--quiet"])
    let flags = flags.split(separator: " ").map(String.init) + ["--workers", "\(workers)", "--data", data] + common
    let began = monotonicSeconds()
    if isOneCommand {
      try programs.start("descent train", "descent", ["train"] + flags, output: output)
    } else {
      let lifeline = ["--die-with-parent"]
      try programs.start("coordinator", "descent-coordinator", flags + lifeline, output: output)
      try programs.start("server", "descent-server", common + lifeline, output: output)
      for index in 0..<workers {
        let arguments = worker.arguments + ["--data", data] + common + lifeline
        try programs.start("worker \(index)", worker.executable, arguments, output: output)
      }
    }
    let page = hasPage ? try DashboardReader(paths, rig, programs) : nil
    var isStopped = false
    var marks: [(step: Int, processorSeconds: [String: Double])] = []
    try programs.waitForAll(limit: 120) {
      // Once the run is over the worker must run to its end.
      let isOver = !programs.running.contains { $0.name == "coordinator" }
      let isItsTurn = slowsOneWorker && !isOver && Int(monotonicSeconds() * 100) % 2 == 1
      if isItsTurn != isStopped {
        isStopped = isItsTurn
        programs.send(isStopped ? SIGSTOP : SIGCONT, to: "worker 0")
      }
      try page?.read()
      if isOver, let page {
        guard page.hasNews else { throw Failure(.internalError, "the page sent nothing while the run trained") }
        programs.end(DashboardReader.processName)
      }
      if let step = Self.lastStep(of: paths), step > marks.last?.step ?? 0 {
        marks.append((step, programs.processorSeconds))
      }
      try meanwhile(programs, paths, marks.last?.step ?? 0)
    }
    let seconds = monotonicSeconds() - began
    let result = try RunResult(json: fileText(paths.result), source: paths.result)
    let lineCount = try (paths.logFiles + [paths.metrics]).map { try lines(of: $0).count }.reduce(0, +)
    let received = (server: try receivedBytes(paths, "server"), workers: try receivedBytes(paths, "worker"))
    rig.remove(paths.directory)
    return Outcome(
      result: result, seconds: seconds, lineCount: lineCount, received: received,
      processorSeconds: programs.processorSeconds, marks: marks)
  }

  /// As the processes of this role say in their logs at their end.
  private func receivedBytes(_ paths: RunPaths, _ role: String) throws -> Int {
    var sum = 0
    for log in paths.logFiles where log.hasPrefix("\(paths.logs)/\(role)") {
      for line in try lines(of: log) where line.contains(#""event":"transport""#) {
        let bytes: Int = try JSONFields(parsing: Array(line.utf8), source: log)["bytes-from-sockets"]
        sum += bytes
      }
    }
    return sum
  }

  /// The step of the last whole line of metrics; nil where there is none.
  private static func lastStep(of paths: RunPaths) -> Int? {
    // What follows the last line feed is not whole.
    guard let text = try? fileText(paths.metrics),
      let line = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast().last,
      let fields = try? JSONFields(parsing: Array(line.utf8), source: paths.metrics)
    else { return nil }
    return try? fields["step"]
  }
}

extension RunPaths {
  /// The logs that there are.
  var logFiles: [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: logs)) ?? []).map { "\(logs)/\($0)" }
  }
}
