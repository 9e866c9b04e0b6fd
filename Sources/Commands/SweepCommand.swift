import ArgumentParser
import Datasets
import Diagnostics
import Experiments
import Files
import NodeRuntime
import Pictures
import Reporting
import RunConfiguration

struct SweepCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "sweep",
    abstract: "Search for the settings of the best validation accuracy, and test the winner once.",
    discussion: """
      Examples:
        descent sweep --data data/cifar10 --sweep-dir sweeps/linear --over learning-rate=log:1e-4..1,l2=log:1e-5..1e-1
        descent sweep --data data/cifar10 --sweep-dir sweeps/grid --search grid --over lr=log:1e-3..1:4,hidden=0|100
        descent sweep --data data/cifar10 --sweep-dir sweeps/folds --over l2=log:1e-5..1 --tries 10 --validate folds:5

      Each trial is an ordinary run below the directory of the sweep, with the other settings as given, trained by the \
      sequential trainer; as many run side by side as there are processors. `descent runs SWEEP-DIR` lists them. With \
      --halving 3, all trials train for a ninth of their epochs, the best third of them for a third, and the best \
      third of those to the end. Each continues from its checkpoint, so the winner has the bits of a run that was \
      never stopped. A trial that diverges is a result without an accuracy.

      The winner is trained once more, on the validation examples as well, and that model is tested. Only this last \
      run opens the test files.

      The same command continues a sweep that was stopped or killed. What it finds depends on settings, seed and data \
      alone: not on the number of trials side by side, nor on interruptions. Ctrl-C saves all trials and ends with \
      exit status 75.
      """)

  enum Search: String, CaseIterable, ExpressibleByArgument { case random, grid }

  @Option(help: "Directory of the sweep: its state, sweep.json, and the runs.", completion: .directory)
  var sweepDir: String
  @Option(
    help: ArgumentHelp(
      "A setting to vary and its values: log:A..B, linear:A..B, or A|B|C; :N behind a range makes it N points. "
        + "Several with commas between, or the option again.", valueName: "name=values"))
  var over: [String] = []
  @Option(help: "Trials of a random search; default 60.") var tries: Int?
  @Option(help: "Draw the trials from the seed, or try every combination.") var search = Search.random
  @Option(
    name: .customLong("validate"),
    help: ArgumentHelp(
      "What a trial is judged by: split, the validation examples of the run; or folds:N, the mean of N runs, each of "
        + "which holds out another part of the training examples.", valueName: "split|folds:N"))
  var validation = "split"
  @Option(
    help: ArgumentHelp(
      "How many times fewer trials continue at each stage of successive halving, or none to train all to the end.",
      valueName: "n|none"))
  var halving = "3"
  @Option(help: "Trials side by side; default: the number of processors.") var parallel: Int?
  @Flag(help: "Do not train and test the winner.") var noFinal = false
  @Flag(name: .shortAndLong, help: "Write nothing but errors to standard error.") var quiet = false
  @OptionGroup var result: ResultOptions
  @OptionGroup var settings: SettingsOptions

  func validate() throws {
    if let tries, !(1...9999).contains(tries) { throw ValidationError("--tries must be 1 to 9999, but is \(tries)") }
    if let parallel, !(1...1024).contains(parallel) {
      throw ValidationError("--parallel must be 1 to 1024, but is \(parallel)")
    }
    if over.isEmpty {
      throw ValidationError("--over must name a setting to vary, as in --over learning-rate=log:1e-4..1")
    }
  }

  func perform() throws {
    try result.requirePlace()
    let processes = try RunProcesses()
    let space = try SearchSpace(parsing: over)
    let base = try trials(of: space)
    processes.heed(base.base.warningSignal)
    var sweep = try sweep(base)
    let paths = RunPaths(directory: sweepDir)
    try Self.requireNoOther(in: paths)
    try FileSystem().makeDirectories(paths.directory, remedy: "Choose a writable place with --sweep-dir")
    let lock = try Self.lock(paths)
    try withExtendedLifetime(lock) {
      try sweep.restore(from: paths.directory)
      var runner = SweepRunner(
        sweep, base, processes, directory: paths.directory, parallel: parallel ?? Processors.count,
        trainsFinal: !noFinal, isQuiet: quiet)
      try runner.run()
      sweep = runner.sweep
    }
    try result.show(json: sweep.json, text: sweep.text(directory: paths.directory), figure: sweep.figure)
    guard sweep.winner != nil else {
      throw Failure(
        .internalError, "every trial that was to be trained to its end diverged",
        remedy: "Search among lower learning rates")
    }
  }

  // MARK: - What is searched

  /// The settings that all trials share.
  private func trials(of space: SearchSpace) throws(Failure) -> TrialSettings {
    for (name, _) in settings.flags {
      guard let reason = Self.decided[name] else { continue }
      throw Failure(.usage, "--\(name) has no meaning for a sweep: \(reason)", remedy: "Omit it")
    }
    if let axis = space.axes.first(where: { axis in settings.flags.contains { $0.name == axis.name } }) {
      throw Failure(.usage, "--\(axis.name) is given, and --over varies it", remedy: "Omit one of them")
    }
    // Whatever the files and variables say of what varies, they need not fit it.
    let any = space.axes.map { ($0.name, $0.anyValue) } + [("workers", "0"), ("test", "never")]
    return TrialSettings(
      space: space, base: try settings.resolve(overriding: any, isQuiet: quiet), folds: try folds(), sweepDir: sweepDir)
  }

  /// The settings that the command decides, each with the reason.
  private static let decided = [
    "run-dir": "each trial has a directory in --sweep-dir", "resume": "the same command continues a sweep",
    "workers": "a trial is trained by the sequential trainer, and --parallel of them run side by side",
    "test": "the winner is tested, and no other trial", "validation-fold": "--validate folds:N chooses the folds",
    "key": "a trial has no other processes",
  ]

  private func folds() throws(Failure) -> Int? {
    if validation == "split" { return nil }
    guard let match = validation.wholeMatch(of: /folds:([0-9]+)/), let count = Int(match.1),
      Sweep.foldCounts.contains(count)
    else {
      throw Failure(
        .usage, "--validate", found: "\"\(validation.prefix(100))\"",
        expected: "split, or folds:N with N from \(Sweep.foldCounts.lowerBound) to \(Sweep.foldCounts.upperBound)")
    }
    return count
  }

  private func factor() throws(Failure) -> Int? {
    if halving == "none" { return nil }
    guard let factor = Int(halving), SuccessiveHalving.factors.contains(factor) else {
      throw Failure(
        .usage, "--halving", found: "\"\(halving.prefix(100))\"",
        expected: "none, or \(SuccessiveHalving.factors.lowerBound) to \(SuccessiveHalving.factors.upperBound)")
    }
    return factor
  }

  /// The sweep, without results. Everything that can be wrong with a trial is found here, before the first begins.
  private func sweep(_ trials: TrialSettings) throws(Failure) -> Sweep {
    let halving = SuccessiveHalving(factor: try factor())
    let points: [[String]]
    if search == .grid {
      points = try trials.space.gridPoints()
      if let tries, tries != points.count {
        throw Failure(.usage, "--tries \(tries): the grid has \(points.count) points", remedy: "Omit --tries")
      }
    } else {
      points = try trials.space.randomPoints(tries ?? 60, seed: trials.base.seed)
    }
    let dataset = try Dataset(directory: trials.base.dataDirectory, part: .training)
    let (epochs, warnings) = try trials.check(points, dataset)
    if !quiet { warnings.forEach(warn) }
    return Sweep(
      space: trials.space, search: search.rawValue, points: points, epochs: epochs, halving: halving,
      folds: trials.folds, settings: trials.definition(dataset))
  }

  // MARK: - The directory

  private static func requireNoOther(in paths: RunPaths) throws(Failure) {
    guard !FileSystem().exists("\(paths.directory)/\(Sweep.fileName)") else { return }
    let names = (try? FileSystem().entries(of: paths.directory)) ?? []
    guard let run = names.first(where: { $0 == RunFile.name || $0.hasPrefix("trial-") || $0 == Sweep.finalName }) else {
      return
    }
    throw Failure(
      .cannotCreate, "\(paths.directory) contains \(run), but no \(Sweep.fileName)",
      remedy: "Name another --sweep-dir")
  }

  private static func lock(_ paths: RunPaths) throws(Failure) -> RunLock {
    do throws(Failure) {
      return try paths.lockDirectory()
    } catch {
      var failure = error
      failure.message = failure.message.replacing("another coordinator", with: "another sweep")
      failure.remedy = failure.remedy?.replacing("--run-dir", with: "--sweep-dir")
      throw failure
    }
  }
}
