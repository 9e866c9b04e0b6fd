import Diagnostics
import Files
import Pictures
import Reporting
import RunConfiguration

/// Runs side by side: results, whether their weights are the same bits, and which settings differ.
public struct RunComparison: Sendable {
  /// A setting that is not the same in all runs.
  public struct Difference: Sendable, Equatable {
    public var name: String
    /// Of each run; nil where it is not set or where the run does not record it.
    public var values: [String?]
    public var origins: [String]
    /// Whether the bits of the weights depend on it.
    public var shapesWeights: Bool
  }

  /// The weights of a run.
  public struct Weights: Sendable, Equatable {
    public var sha256: String
    public var step: UInt64
  }

  /// The most runs of one comparison.
  public static let limit = 50

  public let runs: [RecordedRun]
  /// Of each run; nil where there are none yet.
  public let weights: [Weights?]
  /// In the order of the settings table.
  public let differences: [Difference]

  /// - Throws: `badData` when the checkpoint of a run that has not ended is damaged.
  public init(_ runs: [RecordedRun]) throws(Failure) {
    self.runs = runs
    weights = try runs.map { (run) throws(Failure) in
      try run.weights().map { Weights(sha256: $0.sha256, step: $0.step) }
    }
    differences = Self.differences(runs.map(\.settings))
  }

  /// The runs in these directories. Each is named by the last part of its directory, or by the whole of it where two have the
  /// same last part.
  ///
  /// - Throws: `usage` for one that is named twice, and what `RecordedRun` throws.
  public init(directories: [String]) throws(Failure) {
    var runs: [RecordedRun] = []
    for directory in directories {
      let run = try RecordedRun(directory: directory)
      if let other = runs.first(where: { $0.place == run.place }) {
        throw Failure(.usage, "\(printable(directory)) and \(printable(other.name)) are the same run")
      }
      runs.append(run)
    }
    if runs.count > 1 {
      let parts = runs.map { FileSystem.split($0.paths.directory).name }
      for (index, part) in parts.enumerated() where parts.count(where: { $0 == part }) == 1 && part.count > 2 {
        runs[index].name = part
      }
    }
    try self.init(runs)
  }

  /// Settings of a start, and of no run: where it is, and what it continues.
  private static let namesOfStart = ["run-dir", "resume", "key"]

  package static func differences(_ runs: [[(name: String, value: String?, origin: String)]]) -> [Difference] {
    var names: [String] = []
    for settings in runs { names += settings.map(\.name).filter { !names.contains($0) } }
    return names.filter { !namesOfStart.contains($0) }.compactMap { name in
      let found = runs.map { settings in settings.first { $0.name == name } }
      let values = found.map { $0.flatMap(\.value) }
      guard values.contains(where: { $0 != values[0] }) else { return nil }
      return Difference(
        name: name, values: values, origins: found.map { $0?.origin ?? "not recorded" },
        shapesWeights: SettingTable.setting(named: name)?.shapesTrajectory ?? false)
    }
  }

  /// The runs by their weights: those of the same bits together, in the order of the runs. Runs without weights are in none.
  public var groups: [[Int]] {
    var groups: [[Int]] = []
    for (index, weights) in weights.enumerated() {
      guard let weights else { continue }
      if let group = groups.firstIndex(where: { self.weights[$0[0]]?.sha256 == weights.sha256 }) {
        groups[group].append(index)
      } else {
        groups.append([index])
      }
    }
    return groups
  }

  /// "runs/a and runs/b have the same bits; runs/c has others."
  public var verdict: String {
    let groups = groups
    let known = groups.reduce(0) { $0 + $1.count }
    let unknown = known < runs.count ? " Of \(runs.count - known) there are no weights yet." : ""
    if known < 2 { return "There are not two runs with weights to compare." }
    if groups.count == 1 { return "All\(known < runs.count ? " that have weights" : "") have the same bits.\(unknown)" }
    let same = groups.filter { $0.count > 1 }.map { group in
      Self.list(group.map { printable(runs[$0].name) }) + " have the same bits."
    }
    return (same.isEmpty ? "No two runs have the same bits." : same.joined(separator: " ")) + unknown
  }

  package static func list(_ words: [String]) -> String {
    words.count < 2 ? words.joined() : words.dropLast().joined(separator: ", ") + " and " + (words.last ?? "")
  }

  public var figure: Figure { LearningCurves.overlay(of: runs) }
}

// MARK: - Showing

extension RunComparison {
  /// The heads and the rows of the table of results: one row for each run.
  var results: [[String]] {
    [
      [
        "run", "state", "steps", "epochs", "seconds", "images/s", "workers", "train loss", "val loss", "val accuracy",
        "test loss", "test accuracy", "weights",
      ]
    ]
      + runs.enumerated().map { index, run in
        let (result, last) = (run.result, run.evaluations.last)
        let measured = run.evaluations.last { $0.imagesPerSecond != nil }?.imagesPerSecond
        return [
          printable(run.name), run.summary.state.rawValue, (run.summary.step).map { grouped($0) } ?? "-",
          Display.decimal(result?.epochs ?? last?.epoch, places: 2),
          Display.decimal(result?.seconds ?? last?.seconds, places: 1),
          Display.rate(result?.imagesPerSecond ?? measured),
          (result?.workers ?? last?.workers).map(String.init) ?? "-",
          Display.decimal(result?.trainDataLoss ?? last?.trainDataLoss, places: 4),
          Display.decimal(result?.validationDataLoss ?? last?.validationDataLoss, places: 4),
          Display.percent(result?.validationAccuracy ?? last?.validationAccuracy, places: 2),
          Display.decimal(result?.testDataLoss, places: 4), Display.percent(result?.testAccuracy, places: 2),
          weights[index].map { String($0.sha256.prefix(12)) } ?? "-",
        ]
      }
  }

  /// For people, in tables.
  public var text: String {
    var text = table(results) + "\nweights: \(verdict)\n"
    let curves = sparklines
    if !curves.isEmpty { text += "\nvalidation accuracy over the epochs\n" + curves }
    guard !differences.isEmpty else { return text + "\nall settings are the same\n" }
    text += "\nsettings that differ (with * the weights depend on it)\n"
    let rows = differences.map { difference in
      [difference.name + (difference.shapesWeights ? " *" : "")]
        + zip(difference.values, difference.origins).map { "\(printable($0 ?? "not set")) (\(printable($1)))" }
    }
    return text + table([["setting"] + runs.map { printable($0.name) }] + rows)
  }

  private var sparklines: String {
    let accuracies = runs.flatMap { $0.evaluations.compactMap(\.validationAccuracy) }.filter { (0...1).contains($0) }
    guard let least = accuracies.min(), let greatest = accuracies.max() else { return "" }
    let end = runs.compactMap { $0.evaluations.last?.epoch }.filter(\.isFinite).max() ?? 0
    let rows = runs.map { run in
      let last = run.evaluations.last { $0.validationAccuracy != nil }?.validationAccuracy
      let curve = LearningCurves.sparkline(run.evaluations, width: 40, end: end, range: least...greatest)
      return [printable(run.name), Display.percent(last, places: 2), curve]
    }
    return table(rows)
  }

  package var json: JSONValue {
    let runs = runs.enumerated().map { index, run -> JSONValue in
      let members: [JSONValue.Member] = [
        .init("weights_sha256", weights[index].map { .string($0.sha256) } ?? .null),
        .init("weights_step", weights[index].map { .number($0.step) } ?? .null),
        .init("result", run.result.map { JSONValue(reflecting: $0) } ?? .null),
      ]
      guard case .object(let summary) = JSONValue(reflecting: run.summary) else { return .object(members) }
      return .object(summary + members)
    }
    let settings = differences.map { difference -> JSONValue in
      [
        "setting": .string(difference.name), "shapes_weights": .boolean(difference.shapesWeights),
        "values": .array(difference.values.map { $0.map(JSONValue.string) ?? .null }),
        "origins": .strings(difference.origins),
      ]
    }
    return [
      "runs": .array(runs), "same_weights": .array(groups.map { .numbers($0) }), "differing_settings": .array(settings),
    ]
  }
}
