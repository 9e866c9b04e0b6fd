import ArgumentParser
import Datasets
import Diagnostics
import Experiments
import FoundationEssentials
import Reporting
import RunConfiguration
import Synchronization

extension Distance: ExpressibleByArgument {}

struct NeighborsCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "neighbors",
    abstract: "Classify by the nearest training examples, with k chosen without the test set.",
    discussion: """
      Examples:
        descent neighbors --data data/cifar10
        descent neighbors --data data/cifar10 --distance l1 --k 1,3,5,7,10,20,50 --folds 5 --picture neighbors.svg
        descent neighbors --data data/cifar10 --limit 1000

      The distance of two examples is computed over their bytes, and every example is compared with every other, on all \
      processors. The class is that of most of the k nearest examples; among several such classes that of the nearest one, \
      and of two examples at the same distance the one with the smaller number is the nearer. The accuracy of each k is \
      measured on the validation split of `descent train`, or by cross-validation over all training examples. The test set \
      is read after the best k has been chosen, and classified once, with all training examples as neighbours.

      The picture has the curve of k, test images beside their neighbours, and one image shifted, tinted and covered by \
      boxes so that the L2 distance to itself is the same: why one does not classify images like this.
      """)

  enum Selection: SettingSelection { static let names = ["data", "validation-examples", "seed"] }

  @OptionGroup var settings: SettingFlags<Selection>
  @Option(help: "l1, the sum of absolute differences, or l2, the root of the sum of their squares.")
  var distance = Distance.l2
  @Option(help: ArgumentHelp("The numbers of neighbours to try.", valueName: "n,…")) var k = NeighborCounts([
    1, 3, 5, 7, 10,
  ])
  @Option(help: ArgumentHelp("Cross-validation with so many folds instead of a validation split.", valueName: "n"))
  var folds: Int?
  @Option(
    help: ArgumentHelp(
      "Only so many training, validation and test examples each, chosen by the seed.", valueName: "n"))
  var limit: Int?
  @OptionGroup var result: ResultOptions

  func validate() throws {
    if let folds, folds < 2 { throw ValidationError("--folds must be at least 2, but is \(folds)") }
    if let limit, limit < 1 { throw ValidationError("--limit must be at least 1, but is \(limit)") }
    if folds != nil, settings.given.contains(where: { $0.name == "validation-examples" }) {
      throw ValidationError("--validation-examples has no meaning with --folds: omit one of them")
    }
  }

  func perform() throws {
    let resolved = try ResolvedSettings.resolve(
      only: Selection.names, environment: ProcessInfo.processInfo.environment, flags: settings.given)
    try result.requirePlace()
    let directory = try resolved.dataDirectory
    let training = try Dataset(directory: directory, part: .training)
    let fitted = resolved.fitting(exampleCount: training.count)
    let progress = SearchProgress()
    let neighbors = try Neighbors(
      Neighbors.Settings(
        distance: distance, k: k.values, folds: folds, validationExamples: fitted.validationExamples,
        seed: fitted.seed, limit: limit),
      training: training, kernel: selectedKernel(),
      test: { () throws(Failure) in try Dataset(directory: directory, part: .test) }, progress: progress.show)
    try result.show(json: neighbors.json, text: neighbors.text, figure: neighbors.figure)
  }
}

/// Numbers of neighbours: "1,3,5".
struct NeighborCounts: ExpressibleByArgument {
  let values: [Int]

  init(_ values: [Int]) { self.values = values }

  init?(argument: String) {
    let values = argument.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
    guard values.allSatisfy({ $0 > 0 }) else { return nil }
    self.init(values)
  }

  var defaultValueDescription: String { values.map(String.init).joined(separator: ",") }
}

/// Shows on standard error how far a search is, and how long it took.
private final class SearchProgress: Sendable {
  /// Seconds between two lines, and between two drawings of one.
  private static let (plainInterval, redrawInterval) = (10.0, 0.1)

  private struct State {
    var began = ContinuousClock.now
    var shown = ContinuousClock.now
  }

  private let state = Mutex(State())
  private let style = ProgressStyle(
    isQuiet: false, isTerminal: StandardError.isTerminal, environment: ProcessInfo.processInfo.environment)

  func show(_ progress: Neighbors.Progress) {
    state.withLock { state in
      let now = ContinuousClock.now
      let isRedrawn = style == .redrawn
      let isLast = progress.done == progress.queries
      let interval = isRedrawn ? Self.redrawInterval : Self.plainInterval
      guard isLast || (now - state.shown) / .seconds(1) >= interval else { return }
      state.shown = now
      let seconds = Display.decimal((now - state.began) / .seconds(1), places: 1)
      let text =
        "\(progress.stage.name): \(grouped(UInt64(progress.done))) of \(grouped(UInt64(progress.queries))) examples, each "
        + "against \(grouped(UInt64(progress.examples))): \(seconds) s"
      StandardError.write((isRedrawn ? "\r\(text)\u{1B}[K" : text) + (isRedrawn && !isLast ? "" : "\n"))
      if isLast { state.began = now }
    }
  }
}

extension Neighbors.Stage {
  fileprivate var name: String {
    switch self {
    case .validation: "validation"
    case .fold(let number): "fold \(number)"
    case .test: "test"
    }
  }
}
