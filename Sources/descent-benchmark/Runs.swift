import Diagnostics
import Glibc
import JSONText
import NodeRuntime
import Reporting

/// Programs of ours as child processes, and the processor time each of them used.
final class Programs {
  private let spawner: ProcessSpawner
  /// User and system time of each that has ended, its waited-for children included.
  private var used: [(name: String, seconds: Double)] = []

  init() throws(Failure) { spawner = try ProcessSpawner() }

  var running: [ProcessSpawner.Child] { spawner.running }

  /// - Parameter output: where standard output and errors go; nil for the standard error of this process.
  func start(
    _ executable: String, _ arguments: [String], name: String, output: String? = nil
  ) throws(Failure) {
    _ = try spawner.start(executable, arguments, name: name, output: output)
  }

  func send(_ signal: Int32, to child: ProcessSpawner.Child) { spawner.send(signal, to: child) }

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
      let seconds = [usage.ru_utime, usage.ru_stime].reduce(0) { $0 + Double($1.tv_sec) + Double($1.tv_usec) * 1e-6 }
      used.append((child.name, seconds))
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

  /// Processor time of those that have ended and whose name begins so.
  func processorSeconds(_ prefix: String) -> Double {
    used.filter { $0.name.hasPrefix(prefix) }.reduce(0) { $0 + $1.seconds }
  }

  /// Processor time until now of each that runs, by name.
  func processorSecondsSoFar() -> [String: Double] {
    var result: [String: Double] = [:]
    for child in spawner.running {
      var clock = clockid_t()
      guard clock_getcpuclockid(child.processID, &clock) == 0 else { continue }
      result[child.name] = monotonicSeconds(clock)
    }
    return result
  }
}

/// One run of the real programs on this host, with every role started apart, so that it is known what each of them used.
struct TrainingRun {
  /// Settings of `descent train`, without the two dashes.
  var settings: [(name: String, value: String)]
  var workers: Int
  var data: String
  /// What stands for descent-worker, with arguments of its own.
  var worker: (executable: String, arguments: [String]) = ("descent-worker", [])
  /// A file for what the programs print, progress included; nil to keep them quiet.
  var output: String?
  /// Stops the first worker for ten milliseconds and continues it for ten, all the time.
  var slowsOneWorker = false

  struct Outcome {
    let result: RunResult
    /// User and system time of the processes, their start included.
    let serverSeconds: Double
    let workerSeconds: Double
    let coordinatorSeconds: Double
    var allSeconds: Double { serverSeconds + workerSeconds + coordinatorSeconds }
    /// Processor time until a line of metrics was seen, in the order of the steps.
    let marks: [(step: Double, allSeconds: Double, serverSeconds: Double)]
  }

  /// Runs it to its end.
  /// - Parameters:
  ///   - directory: of the run; must not exist.
  ///   - meanwhile: called every few milliseconds.
  func run(
    in directory: String, meanwhile: (Programs) throws(Failure) -> Void = { (_) throws(Failure) in }
  ) throws(Failure) -> Outcome {
    let programs = try Programs()
    let common = ["--run-dir", directory, "--die-with-parent"] + (output == nil ? ["--quiet"] : [])
    let flags = settings.flatMap { ["--\($0.name)", $0.value] } + ["--workers", "\(workers)", "--data", data]
    try programs.start("descent-coordinator", flags + common, name: "coordinator", output: output)
    try programs.start("descent-server", common, name: "server", output: output)
    for rank in 0..<workers {
      try programs.start(
        worker.executable, worker.arguments + ["--data", data] + common, name: "worker \(rank)", output: output)
    }
    var slowdown = Slowdown()
    var marks: [(step: Double, allSeconds: Double, serverSeconds: Double)] = []
    let metrics = RunPaths(directory: directory).metrics
    try programs.waitForAll(limit: 120) { (programs) throws(Failure) in
      if slowsOneWorker { slowdown.update(programs) }
      if let step = Self.lastStep(ofMetrics: metrics), step > marks.last?.step ?? 0 {
        let used = programs.processorSecondsSoFar()
        marks.append((step, used.values.reduce(0, +), used["server"] ?? .nan))
      }
      try meanwhile(programs)
    }
    return Outcome(
      result: try Self.result(of: directory), serverSeconds: programs.processorSeconds("server"),
      workerSeconds: programs.processorSeconds("worker"), coordinatorSeconds: programs.processorSeconds("coordinator"),
      marks: marks)
  }

  /// The step of the last whole line; nil where there is none.
  static func lastStep(ofMetrics path: String) -> Double? {
    guard let text = try? fileText(path), let end = text.lastIndex(of: "\n"),
      let line = text[..<end].split(separator: "\n").last,
      let fields = try? JSONFields(JSONReader.parse(Array(line.utf8)[...], source: path), context: "metrics")
    else { return nil }
    return try? fields.double("step")
  }

  static func result(of directory: String) throws(Failure) -> RunResult {
    let path = RunPaths(directory: directory).result
    return try RunResult(json: fileText(path), source: path)
  }

  /// Half speed: a worker is stopped for as long as it runs.
  private struct Slowdown {
    private var isStopped = false
    private var since = monotonicSeconds()

    mutating func update(_ programs: Programs) {
      guard let worker = programs.running.first(where: { $0.name == "worker 0" }) else { return }
      // Once the run is over the worker must run to its end.
      let isOver = !programs.running.contains { $0.name == "coordinator" }
      let now = monotonicSeconds()
      guard isOver ? isStopped : now - since >= 0.01 else { return }
      isStopped.toggle()
      since = now
      programs.send(isStopped ? SIGSTOP : SIGCONT, to: worker)
    }
  }
}
