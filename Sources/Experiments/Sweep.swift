import Diagnostics
import Files
import Optimization

/// A search for the settings of the best validation accuracy: which trials there are, what is known of them, and what
/// to train next. Pure but for its file; processes are the business of the command.
///
/// Everything that it decides is a function of the definition and of the results, not of their order or time. So a
/// sweep that was killed continues as if nothing had happened, and any number of trials may run side by side.
public struct Sweep: Sendable {
  /// The result of one run at the end of a rung.
  public struct Outcome: Sendable, Equatable {
    /// On the validation examples, a fraction; nil if the training diverged.
    public var accuracy: Double?
    /// Taken by the run so far; 0 if it diverged.
    public var steps: UInt64
    /// Empty if it diverged.
    public var weightsSHA256: String

    public init(accuracy: Double?, steps: UInt64 = 0, weightsSHA256: String = "") {
      (self.accuracy, self.steps, self.weightsSHA256) = (accuracy, steps, weightsSHA256)
    }

    public static let diverged = Outcome(accuracy: nil)
  }

  /// The result of the run that is tested.
  public struct FinalOutcome: Sendable, Equatable {
    public var testAccuracy: Double
    public var testDataLoss: Double?
    public var steps: UInt64
    public var weightsSHA256: String

    public init(testAccuracy: Double, testDataLoss: Double?, steps: UInt64, weightsSHA256: String) {
      (self.testAccuracy, self.testDataLoss) = (testAccuracy, testDataLoss)
      (self.steps, self.weightsSHA256) = (steps, weightsSHA256)
    }
  }

  /// One point of the search space.
  public struct Trial: Sendable {
    /// From 1.
    public let number: Int
    /// In the order of the axes.
    public let values: [String]
    /// The epochs after which each rung ends.
    public let rungs: [UInt64]
    /// Of each rung and fold; nil for a run that has not ended.
    public fileprivate(set) var outcomes: [[Outcome?]]

    /// The mean accuracy over the folds at the end of a rung; nil if one of them diverged or is not in.
    func accuracy(at rung: Int) -> Double? {
      let accuracies = outcomes[rung].compactMap { $0?.accuracy }
      guard accuracies.count == outcomes[rung].count else { return nil }
      return accuracies.reduce(0, +) / Double(accuracies.count)
    }

    /// The standard deviation of the accuracies of the folds; nil with one.
    func deviation(at rung: Int) -> Double? {
      guard let mean = accuracy(at: rung), outcomes[rung].count > 1 else { return nil }
      let squares = outcomes[rung].compactMap { $0?.accuracy }.map { ($0 - mean) * ($0 - mean) }
      return (squares.reduce(0, +) / Double(squares.count - 1)).squareRoot()
    }

    func isIn(at rung: Int) -> Bool { outcomes[rung].allSatisfy { $0 != nil } }

    /// The newest rung whose runs have all ended; nil before the first.
    public var newestRung: Int? { outcomes.indices.last { isIn(at: $0) } }
  }

  /// One run that is to be trained to the end of a rung.
  public struct Job: Sendable, Equatable {
    /// Index of the trial.
    public let trial: Int
    /// From 1; nil where the validation examples are one part of the data set.
    public let fold: Int?
    public let rung: Int
  }

  /// Folds of a cross-validation that a sweep may have.
  public static let foldCounts = 2...100

  public let space: SearchSpace
  /// "random" or "grid".
  public let search: String
  public let halving: SuccessiveHalving
  /// Parts of the cross-validation; nil where the validation examples are one part of the data set.
  public let folds: Int?
  /// What else decides the results: the settings that all trials share, and the data.
  public let settings: [KeyValue]
  public private(set) var trials: [Trial]
  public private(set) var final: FinalOutcome?

  /// A sweep of which nothing is known yet.
  ///
  /// - Parameters:
  ///   - points: the values of each trial.
  ///   - epochs: how long each would be trained to its end.
  public init(
    space: SearchSpace, search: String, points: [[String]], epochs: [UInt64], halving: SuccessiveHalving, folds: Int?,
    settings: [KeyValue]
  ) {
    (self.space, self.search, self.halving, self.folds, self.settings) = (space, search, halving, folds, settings)
    let count = halving.rungCount(shortest: epochs.min() ?? 1)
    trials = zip(points, epochs).enumerated().map { index, trial in
      let rungs = halving.rungs(count, of: trial.1)
      return Trial(
        number: index + 1, values: trial.0, rungs: rungs,
        outcomes: Array(repeating: Array(repeating: nil, count: folds ?? 1), count: count))
    }
  }

  // MARK: What to train

  public var rungCount: Int { trials.first?.rungs.count ?? 0 }

  /// The trials of a rung by index; nil before the rung ahead of it is decided.
  public func entrants(of rung: Int) -> [Int]? {
    guard rung > 0 else { return Array(trials.indices) }
    guard let before = entrants(of: rung - 1), before.allSatisfy({ trials[$0].isIn(at: rung - 1) }) else { return nil }
    return halving.survivors(of: before.map { ($0, trials[$0].accuracy(at: rung - 1)) })
  }

  /// The rung that is not decided; nil if all trials are.
  public var openRung: Int? {
    (0..<rungCount).first { rung in !(entrants(of: rung)?.allSatisfy { trials[$0].isIn(at: rung) } ?? false) }
  }

  /// The runs of the open rung that are not in, in the order of the trials.
  public var pending: [Job] {
    guard let rung = openRung, let entrants = entrants(of: rung) else { return [] }
    return entrants.flatMap { trial in
      trials[trial].outcomes[rung].enumerated().compactMap { fold, outcome in
        outcome == nil ? Job(trial: trial, fold: folds == nil ? nil : fold + 1, rung: rung) : nil
      }
    }
  }

  public mutating func record(_ outcome: Outcome, of job: Job) {
    trials[job.trial].outcomes[job.rung][(job.fold ?? 1) - 1] = outcome
  }

  public mutating func record(final outcome: FinalOutcome) { final = outcome }

  /// The trial of the best accuracy among those that were trained to their end; nil before, and if all of them
  /// diverged.
  public var winner: Trial? {
    guard openRung == nil, let entrants = entrants(of: rungCount - 1) else { return nil }
    let accuracies = entrants.map { ($0, trials[$0].accuracy(at: rungCount - 1)) }
    guard let best = SuccessiveHalving.ranking(accuracies).first, trials[best].accuracy(at: rungCount - 1) != nil else {
      return nil
    }
    return trials[best]
  }

  /// Those that were trained further first, and of these the most accurate.
  public var ranking: [Trial] {
    let rungs = trials.map { $0.newestRung ?? -1 }
    return Set(rungs).sorted(by: >).flatMap { rung -> [Trial] in
      let members = trials.indices.filter { rungs[$0] == rung }
      return SuccessiveHalving.ranking(members.map { ($0, rung < 0 ? nil : trials[$0].accuracy(at: rung)) })
        .map { trials[$0] }
    }
  }

  // MARK: Names

  /// Of the directory of the run that is tested, below that of the sweep.
  public static let finalName = "final"

  /// Of the directory of a trial, below that of the sweep: "trial-007", or "trial-007-fold-2".
  public static func runName(trial number: Int, fold: Int?) -> String {
    let digits = "\(number)"
    let name = "trial-" + String(repeating: "0", count: max(0, 3 - digits.count)) + digits
    return fold.map { "\(name)-fold-\($0)" } ?? name
  }

  public func runName(of job: Job) -> String { Self.runName(trial: trials[job.trial].number, fold: job.fold) }

  /// "learning-rate 0.03, l2 0.0004".
  public func description(of trial: Trial) -> String {
    zip(space.axes, trial.values).map { "\($0.name) \($1)" }.joined(separator: ", ")
  }
}

// MARK: - The file

extension Sweep {
  /// The name of the file in the directory of the sweep. It is also the result.
  public static let fileName = "sweep.json"
  private static let formatVersion = 1
  private static let sizeLimit = 1 << 28

  /// What two sweeps must have in common to be the same.
  private var definition: [KeyValue] {
    [
      KeyValue("search", search), KeyValue("tries", "\(trials.count)"), KeyValue("over", space.text),
      KeyValue("validate", folds.map { "folds:\($0)" } ?? "split"),
      KeyValue("halving", halving.factor.map { "\($0)" } ?? "none"),
    ] + settings
  }

  /// The same bytes for the same results, whatever happened on the way.
  package var json: JSONValue {
    let winner = winner
    return [
      "format_version": .number(Self.formatVersion),
      "definition": .object(definition.map { JSONValue.Member($0.key, .string($0.value)) }),
      "trials": .array(trials.map(json)),
      "best": winner.map { .string(Self.runName(trial: $0.number, fold: nil)) } ?? .null,
      "final": final.map { final in
        [
          "directory": .string(Self.finalName), "steps": .number(final.steps),
          "test_accuracy": .measurement(final.testAccuracy), "test_data_loss": .measurement(final.testDataLoss),
          "weights_sha256": .string(final.weightsSHA256),
        ]
      } ?? .null,
    ]
  }

  private func json(_ trial: Trial) -> JSONValue {
    let newest = trial.newestRung
    let rungs = trial.rungs.enumerated().compactMap { rung, epochs -> JSONValue? in
      guard trial.outcomes[rung].contains(where: { $0 != nil }) else { return nil }
      return ["epochs": .number(epochs), "runs": .array(trial.outcomes[rung].map(Self.json))]
    }
    return [
      "trial": .number(trial.number),
      "values": .object(zip(space.axes, trial.values).map { JSONValue.Member($0.name, .string($1)) }),
      "state": .string(state(of: trial)),
      "epochs": .number(newest.map { trial.rungs[$0] } ?? 0),
      "validation_accuracy": .measurement(newest.flatMap { trial.accuracy(at: $0) }),
      "validation_deviation": .measurement(newest.flatMap { trial.deviation(at: $0) }),
      "rungs": .array(rungs),
    ]
  }

  private static func json(_ outcome: Outcome?) -> JSONValue {
    guard let outcome else { return .null }
    return [
      "diverged": .boolean(outcome.accuracy == nil), "validation_accuracy": .exact(outcome.accuracy),
      "steps": .number(outcome.steps), "weights_sha256": .string(outcome.weightsSHA256),
    ]
  }

  /// Writes the file durably.
  public func save(in directory: String) throws(Failure) {
    try FileSystem().replace("\(directory)/\(Self.fileName)", with: json.indentedText)
  }

  /// Takes over what the file in the directory knows of this sweep. Does nothing where there is none. Hold the lock of the
  /// directory.
  ///
  /// - Throws: `badConfiguration` if it is that of another sweep, with what differs; `badData` if it is damaged.
  public mutating func restore(from directory: String) throws(Failure) {
    let path = "\(directory)/\(Self.fileName)"
    FileSystem().removeUnfinished([path])
    guard FileSystem().exists(path) else { return }
    let fields = try JSONFields(parsing: FileSystem().read(path, limit: Self.sizeLimit), source: path)
    let version: Int = try fields["format_version"]
    guard version == Self.formatVersion else {
      throw Failure(
        .badData, "\(path): format version", found: "\(version)", expected: "\(Self.formatVersion)",
        remedy: "Name another --sweep-dir")
    }
    try requireSame(fields.object("definition"), directory)
    let recorded = try fields.objects("trials") { (trial) throws(Failure) in trial }
    guard recorded.count == trials.count else { throw Failure(.badData, "\(path) is damaged: trials are missing") }
    for (index, trial) in recorded.enumerated() { try restore(trial, index) }
    final = try fields.objectIfPresent("final").map { (final) throws(Failure) in
      FinalOutcome(
        testAccuracy: try final["test_accuracy"], testDataLoss: try final["test_data_loss"], steps: try final["steps"],
        weightsSHA256: try final["weights_sha256"])
    }
  }

  private func requireSame(_ recorded: JSONFields, _ directory: String) throws(Failure) {
    var differences: [String] = []
    let names = recorded.members.map(\.name)
    for pair in definition {
      let text: String? = names.contains(pair.key) ? try recorded[pair.key] : nil
      if text != pair.value { differences.append("\(pair.key) is \(pair.value), but was \(text ?? "not set")") }
    }
    for name in names where !definition.contains(where: { $0.key == name }) {
      let text: String = try recorded[name]
      differences.append("\(name) is not set, but was \(text)")
    }
    guard differences.isEmpty else {
      throw Failure(
        .badConfiguration, "\(directory) holds another sweep: \(differences.joined(separator: "; "))",
        remedy: "Continue it with the same command as before, or name another --sweep-dir")
    }
  }

  private mutating func restore(_ fields: JSONFields, _ index: Int) throws(Failure) {
    let values = try fields.object("values")
    for (axis, value) in zip(space.axes, trials[index].values) {
      let recorded: String = try values[axis.name]
      guard recorded == value else {
        throw Failure(.badData, "\(fields.context): \(axis.name)", found: recorded, expected: value)
      }
    }
    let rungs = try fields.objects("rungs") { (rung) throws(Failure) in rung }
    for (rung, recorded) in rungs.enumerated() {
      let runs: [JSONValue] = try recorded["runs"]
      guard rung < trials[index].outcomes.count, runs.count == trials[index].outcomes[rung].count else {
        throw Failure(.badData, "\(recorded.context) has another number of runs")
      }
      for (fold, run) in runs.enumerated() where run != .null {
        let run = try JSONFields(run, context: recorded.context)
        trials[index].outcomes[rung][fold] = Outcome(
          accuracy: try run["validation_accuracy"], steps: try run["steps"], weightsSHA256: try run["weights_sha256"])
      }
    }
  }
}
