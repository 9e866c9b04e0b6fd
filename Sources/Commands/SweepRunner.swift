import Cluster
import Diagnostics
import Experiments
import Files
import FoundationEssentials
import Messaging
import NodeRuntime
import Reporting
import RunConfiguration

/// Trains what a sweep asks for, as processes side by side, until nothing is left to train.
struct SweepRunner {
  private enum Work: Equatable {
    case trial(Sweep.Job)
    case final
  }

  /// How often a run that was killed is started again, from its checkpoint.
  private static let restartLimit = 3
  /// How long the runs may take to save when they are asked to stop.
  private static let stopGrace = Interval.seconds(60)

  private(set) var sweep: Sweep
  private let settings: TrialSettings
  private let directory: String
  private let parallel: Int
  private let trainsFinal: Bool
  private let processes: RunProcesses
  private var display: SweepDisplay
  private var running: [(name: String, work: Work)] = []
  private var kills: [String: Int] = [:]
  /// Why no further run begins.
  private var ending: Failure?
  private var stopDeadline: Instant?

  /// - Parameter sweep: with the results that are known.
  init(
    _ sweep: Sweep, _ settings: TrialSettings, _ processes: RunProcesses, directory: String, parallel: Int,
    trainsFinal: Bool, isQuiet: Bool
  ) {
    (self.sweep, self.settings, self.processes, self.directory) = (sweep, settings, processes, directory)
    (self.parallel, self.trainsFinal) = (parallel, trainsFinal)
    display = SweepDisplay(isQuiet: isQuiet)
  }

  /// Returns when the sweep is complete.
  ///
  /// - Throws: `stoppedBySignal` after a signal, otherwise the error of the first run that failed. No process is left.
  mutating func run() throws(Failure) {
    try sweep.save(in: directory)
    guard nextWork != nil else { return }
    display.begin(sweep, parallel: parallel)
    let names = (try? FileSystem().entries(of: directory)) ?? []
    try RunProcesses.awaitRelease(
      of: names.filter { $0.hasPrefix("trial-") || $0 == Sweep.finalName }.map { "\(directory)/\($0)" })
    while true {
      startMore()
      if running.isEmpty { break }
      display.show(sweep, running: running.count, isFinal: running.contains { $0.work == .final })
      for event in processes.next(milliseconds: 1000) {
        switch event {
        case .stopRequested(let signal): stop(stopped(by: "stopped by \(signal)"))
        case .ended(let name, let exit, let message): conclude(name, exit, message)
        }
      }
      if let stopDeadline, Instant.now >= stopDeadline { processes.killAll() }
    }
    display.end(sweep)
    if let ending { throw ending }
  }

  // MARK: Starting

  /// What to train next and is not being trained; nil if there is nothing, or nothing yet.
  private var nextWork: Work? {
    let pending = sweep.pending
    if let job = pending.first(where: { job in !running.contains { $0.work == .trial(job) } }) { return .trial(job) }
    guard pending.isEmpty, trainsFinal, sweep.final == nil, sweep.winner != nil, running.isEmpty else { return nil }
    return .final
  }

  private mutating func startMore() {
    while ending == nil, running.count < parallel, let work = nextWork {
      do throws(Failure) {
        try start(work)
      } catch {
        stop(error)
      }
    }
  }

  private func name(of work: Work) -> String {
    if case .trial(let job) = work { sweep.runName(of: job) } else { Sweep.finalName }
  }

  private mutating func start(_ work: Work) throws(Failure) {
    let name = name(of: work)
    let settings: ResolvedSettings
    switch work {
    case .trial(let job): settings = try self.settings.settings(of: job, in: sweep)
    case .final:
      guard let winner = sweep.winner else { preconditionFailure("a sweep without a winner has no final run") }
      settings = try self.settings.finalSettings(of: winner)
    }
    try processes.start(name, settings, output: "\(directory)/.\(name).errors")
    running.append((name, work))
  }

  // MARK: Ending

  private mutating func conclude(_ name: String, _ exit: ProcessExit, _ message: String) {
    guard let index = running.firstIndex(where: { $0.name == name }) else { return }
    let work = running.remove(at: index).work
    do throws(Failure) {
      switch exit {
      case .status(0): try record(try result(of: name), of: work, name)
      case .status(ExitStatus.stoppedBySignal.rawValue): stop(stopped(by: "\(name) was stopped by a signal"))
      case .status(ExitStatus.internalError.rawValue) where hasDiverged(name): try recordDivergence(of: work, message)
      case .status(let status):
        throw Failure(ExitStatus(rawValue: status) ?? .internalError, "\(name): \(message)")
      case .signal(let signal): try restart(name, work, signal, message)
      }
    } catch {
      stop(error)
    }
  }

  private func result(of name: String) throws(Failure) -> RunResult {
    let path = RunPaths(directory: "\(directory)/\(name)").result
    return try RunResult(json: FileSystem().text(of: path), source: path)
  }

  private func hasDiverged(_ name: String) -> Bool {
    (try? RunFile(readingFrom: RunPaths(directory: "\(directory)/\(name)").runFile))?.ended?.reason == .diverged
  }

  private mutating func record(_ result: RunResult, of work: Work, _ name: String) throws(Failure) {
    switch work {
    case .trial(let job):
      guard let accuracy = result.validationAccuracy else {
        throw Failure(.internalError, "\(name) has ended without a validation accuracy")
      }
      let outcome = Sweep.Outcome(accuracy: accuracy, steps: result.steps, weightsSHA256: result.weightsSHA256)
      sweep.record(outcome, of: job)
    case .final:
      guard let accuracy = result.testAccuracy else {
        throw Failure(.internalError, "\(name) has ended without a test accuracy")
      }
      sweep.record(
        final: Sweep.FinalOutcome(
          testAccuracy: accuracy, testDataLoss: result.testDataLoss, steps: result.steps,
          weightsSHA256: result.weightsSHA256))
    }
    try sweep.save(in: directory)
  }

  private mutating func recordDivergence(of work: Work, _ message: String) throws(Failure) {
    guard case .trial(let job) = work else {
      throw Failure(.internalError, "the winner, trained on the validation examples as well: \(message)")
    }
    sweep.record(.diverged, of: job)
    try sweep.save(in: directory)
  }

  /// A run that was killed continues from its checkpoint, unless that happens again and again.
  private mutating func restart(_ name: String, _ work: Work, _ signal: Int32, _ message: String) throws(Failure) {
    guard ending == nil else { return }
    kills[name, default: 0] += 1
    let end = "\(name) was killed by signal \(signal)" + (message.isEmpty ? "" : " (\(message))")
    guard kills[name, default: 0] <= Self.restartLimit else {
      throw Failure(
        .internalError, "\(end), for the \(Self.restartLimit + 1)th time", remedy: "See \(directory)/\(name)/logs")
    }
    display.note("\(end); restarting it")
    try start(work)
  }

  /// No further run begins, and those that run save and end.
  private mutating func stop(_ reason: Failure) {
    guard ending == nil else { return }
    ending = reason
    processes.stopAll()
    stopDeadline = .now + Self.stopGrace
  }

  private func stopped(by cause: String) -> Failure {
    Failure(
      .stoppedBySignal, "\(cause) after \(SweepDisplay.runs(sweep.resultCount))",
      remedy: "Continue with: " + shellCommand(["descent"] + CommandLine.arguments.dropFirst()))
  }
}

/// The progress of a sweep on standard error: a line that is redrawn in a terminal, one now and then elsewhere.
private struct SweepDisplay {
  private static let plainInterval = Interval.seconds(10)

  private let style: ProgressStyle
  private var shown = ""
  private var shownAt: Instant?
  private var shownRung: Int?

  init(isQuiet: Bool) {
    style = ProgressStyle(
      isQuiet: isQuiet, isTerminal: StandardError.isTerminal, environment: ProcessInfo.processInfo.environment)
  }

  mutating func begin(_ sweep: Sweep, parallel: Int) {
    let count = sweep.trials.count
    let known = sweep.resultCount
    note(
      known > 0
        ? "continuing a sweep of \(count) trials after \(Self.runs(known))"
        : "\(count) trials over \(sweep.space.axes.map(\.name).joined(separator: ", ")), \(parallel) side by side")
  }

  /// A trial counts once for each rung that it has ended.
  static func runs(_ count: Int) -> String { count == 1 ? "1 run" : "\(count) runs" }

  mutating func note(_ text: String) {
    guard style != .silent else { return }
    StandardError.write((style == .redrawn && !shown.isEmpty ? RedrawnLine.clear : "") + "descent: \(text)\n")
    shown = ""
  }

  mutating func show(_ sweep: Sweep, running: Int, isFinal: Bool) {
    let line = isFinal ? "the winner is trained on all that is not test" : sweep.progress(running: running)
    guard style != .silent, line != shown else { return }
    let now = Instant.now
    if style == .redrawn {
      StandardError.write(RedrawnLine.drawing(String(line.prefix(max(0, StandardError.width - 1)))))
    } else {
      let rung = sweep.openRung
      guard isFinal || rung != shownRung || shownAt.map({ now >= $0 + Self.plainInterval }) ?? true else { return }
      shownRung = rung
      StandardError.write(line + "\n")
    }
    (shown, shownAt) = (line, now)
  }

  mutating func end(_ sweep: Sweep) {
    if style == .redrawn, !shown.isEmpty { StandardError.write("\n") }
  }
}
