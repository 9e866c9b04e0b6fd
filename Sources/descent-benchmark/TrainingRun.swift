import Diagnostics
import Glibc
import JSONText
import NodeRuntime
import Reporting

/// One run of the real programs on this host, with every role started by hand, so that it is known what each of them used.
struct TrainingRun {
  /// Settings of `descent train`, without the two dashes.
  var settings: [(name: String, value: String)]
  var workers: Int
  var data: String
  /// What stands for descent-worker, with arguments of its own.
  var worker: (executable: String, arguments: [String]) = ("descent-worker", [])
  /// A file for what the programs say, progress included; nil to have them be quiet.
  var output: String?
  /// Stops the first worker for ten milliseconds and lets it go for ten, all the time.
  var slowsOneWorker = false

  struct Outcome {
    let result: RunResult
    /// User and system time of the processes, their start included.
    let serverSeconds: Double
    let workerSeconds: Double
    let coordinatorSeconds: Double
    var allSeconds: Double { serverSeconds + workerSeconds + coordinatorSeconds }
    /// What had been used when a line of metrics was seen to be there, in the order of the steps.
    let marks: [Mark]
  }

  /// Processor time until about a step.
  struct Mark {
    let step: Double
    let allSeconds: Double
    let serverSeconds: Double
  }

  /// Half speed: as long stopped as running.
  private static let slownessSeconds = 0.01
  private static let limitSeconds = 120.0

  /// Runs it to its end.
  /// - Parameters:
  ///   - directory: of the run; must not exist.
  ///   - meanwhile: called every few milliseconds.
  func run(
    in directory: String, meanwhile: (Programs) throws(Failure) -> Void = { (_) throws(Failure) in }
  ) throws(Failure) -> Outcome {
    let programs = try Programs()
    let common = ["--run-dir", directory, "--die-with-parent"] + (output == nil ? ["--quiet"] : [])
    let flags = settings.flatMap { ["--\($0.name)", $0.value] }
    try programs.start(
      "descent-coordinator", flags + ["--workers", "\(workers)", "--data", data] + common, name: "coordinator",
      output: output)
    try programs.start("descent-server", common, name: "server", output: output)
    for rank in 0..<workers {
      try programs.start(
        worker.executable, worker.arguments + ["--data", data] + common, name: "worker \(rank)", output: output)
    }
    var slowing = Slowing()
    var marks: [Mark] = []
    let metrics = RunPaths(directory: directory).metrics
    try programs.waitForAll(limit: Self.limitSeconds) { (programs) throws(Failure) in
      if slowsOneWorker { slowing.look(programs) }
      if let step = Self.lastStep(ofMetrics: metrics), step > marks.last?.step ?? 0 {
        let used = programs.processorSecondsSoFar()
        marks.append(
          Mark(step: step, allSeconds: used.values.reduce(0, +), serverSeconds: used["server"] ?? .nan))
      }
      try meanwhile(programs)
    }
    return Outcome(
      result: try Self.result(of: directory), serverSeconds: programs.processorSeconds("server"),
      workerSeconds: programs.processorSeconds("worker"),
      coordinatorSeconds: programs.processorSeconds("coordinator"), marks: marks)
  }

  /// The step of the last whole line; nil where there is none.
  private static func lastStep(ofMetrics path: String) -> Double? {
    guard let text = try? fileText(path), let end = text.lastIndex(of: "\n"),
      let line = text[..<end].split(separator: "\n").last,
      let fields = try? JSONFields(JSONReader.parse(Array(line.utf8)[...], source: path), context: "metrics")
    else { return nil }
    return try? fields.double("step")
  }

  /// What the run of that directory came to.
  static func result(of directory: String) throws(Failure) -> RunResult {
    let path = RunPaths(directory: directory).result
    return try RunResult(json: fileText(path), source: path)
  }

  /// Stops and continues a worker by the clock.
  private struct Slowing {
    private var isStopped = false
    private var since = monotonicSeconds()

    mutating func look(_ programs: Programs) {
      guard let worker = programs.running.first(where: { $0.name == "worker 0" }) else { return }
      // Nobody is held up once the run is over.
      let isOver = !programs.running.contains { $0.name == "coordinator" }
      let now = monotonicSeconds()
      guard isOver ? isStopped : now - since >= TrainingRun.slownessSeconds else { return }
      isStopped.toggle()
      since = now
      programs.send(isStopped ? SIGSTOP : SIGCONT, to: worker)
    }
  }
}

/// One run of `descent train`, as a person starts it.
struct TrainCommandRun {
  struct Outcome {
    let result: RunResult
    /// From before the start of the program until after its end.
    let wallSeconds: Double
    /// Of all processes, their start included.
    let processorSeconds: Double
    /// The civil time at the start.
    let started: UTCTime
  }

  static func run(
    settings: [(name: String, value: String)], flags: [String], data: String, in directory: String, output: String
  ) throws(Failure) -> Outcome {
    let programs = try Programs()
    let arguments = settings.flatMap { ["--\($0.name)", $0.value] } + flags
    let (began, started) = (monotonicSeconds(), UTCTime.now())
    try programs.start(
      "descent", ["train", "--data", data, "--run-dir", directory] + arguments, name: "descent train", output: output)
    try programs.waitForAll(limit: 120)
    return Outcome(
      result: try TrainingRun.result(of: directory), wallSeconds: monotonicSeconds() - began,
      processorSeconds: programs.processorSeconds("descent"), started: started)
  }
}
