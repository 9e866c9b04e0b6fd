import Datasets
import Diagnostics
import Optimization
import Reporting

/// Classification by the k nearest training examples, with k chosen on examples that are not the test set: CS231n, "Image
/// Classification", "Nearest Neighbor Classifier" and "Validation sets for Hyperparameter tuning".
public struct Neighbors: Sendable {
  public struct Settings: Sendable, Equatable {
    public var distance: Distance
    /// The numbers of neighbours to try, at least one.
    public var k: [Int]
    /// The parts of a cross-validation over all training examples, at least 2; nil for one validation split.
    public var folds: Int?
    /// Held out without `folds`: the same ones as those of a training with this seed.
    public var validationExamples: Int
    public var seed: UInt64
    /// So many training examples, validation examples and test examples instead of all; the seed chooses them.
    public var limit: Int?

    public init(
      distance: Distance, k: [Int], folds: Int? = nil, validationExamples: Int, seed: UInt64, limit: Int? = nil
    ) {
      (self.distance, self.k, self.folds) = (distance, k, folds)
      (self.validationExamples, self.seed, self.limit) = (validationExamples, seed, limit)
    }
  }

  /// What a number of neighbours is worth. Accuracies are fractions.
  public struct Accuracy: Sendable, Equatable {
    public let k: Int
    /// Of every fold, or of the one validation split.
    public let folds: [Double]
    public let mean: Double
    /// Of the folds around their mean, with one degree of freedom less than there are folds; nil without folds.
    public let standardDeviation: Double?

    package init(k: Int, folds: [Double]) {
      (self.k, self.folds) = (k, folds)
      let mean = folds.reduce(0, +) / Double(folds.count)
      self.mean = mean
      let squares = folds.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
      standardDeviation = folds.count < 2 ? nil : (squares / Double(folds.count - 1)).squareRoot()
    }
  }

  /// A test example and the training examples that decide its class.
  struct Shown: Sendable {
    let example: Example
    let prediction: Int
    let neighbors: [(example: Example, distance: Double)]
  }

  struct Example: Sendable {
    let index: Int
    let label: Int
    /// Nil for data that are no pictures.
    let image: RGBImage?
  }

  /// A search of the experiment.
  public enum Stage: Sendable, Equatable {
    case validation
    /// From 1.
    case fold(Int)
    case test
  }

  /// How far a search is.
  public struct Progress: Sendable {
    public let stage: Stage
    /// Queries.
    public let done: Int
    public let queries: Int
    /// Examples that each query is compared with.
    public let examples: Int
  }

  private static let (shownExamples, shownNeighbors) = (8, 7)

  public let settings: Settings
  public let classNames: [String]
  /// One for each k, in rising order.
  public let curve: [Accuracy]
  /// The k of the highest mean; of two with the same one the smaller.
  public let chosen: Int
  /// Compared with each other to choose k; with folds, those of the first fold.
  public let searched: (queries: Int, examples: Int)
  /// With the chosen k, among all training examples, those for validation included.
  public let testAccuracy: Double
  public let tested: (queries: Int, examples: Int)
  let shown: [Shown]
  let equalDistance: EqualDistance?
  /// Whether the accuracies can be compared with those of the lecture.
  let isCIFAR10: Bool

  /// Chooses k, then opens the test set and classifies it once.
  ///
  /// - Parameters:
  ///   - test: opens the test set. It is called once, after k was chosen.
  ///   - progress: called on any thread, one call at a time.
  /// - Throws: `usage` where there are fewer examples than neighbours, folds or validation examples need, `badData` where the
  ///   files have changed meanwhile or the test set is of another kind; what `test` throws.
  public init(
    _ settings: Settings, training: Dataset, kernel: KernelVariant,
    test openTest: () throws(Failure) -> Dataset, progress: @Sendable (Progress) -> Void = { _ in }
  ) throws(Failure) {
    self.settings = settings
    classNames = training.classNames
    let search = NeighborSearch(settings.distance, shape: training.description.shape, kernel: kernel)
    let plan = try NeighborsPlan(settings, exampleCount: training.count)
    let ks = Set(settings.k).sorted()
    let largest = ks[ks.count - 1]
    let accuracies = plan.trials.map { trial in
      let (queries, examples) = (
        ExampleSet(training.examples, trial.queries), ExampleSet(training.examples, trial.examples)
      )
      let nearest = search.nearest(largest, of: queries, among: examples) {
        progress(Progress(stage: trial.stage, done: $0, queries: queries.count, examples: examples.count))
      }
      return ks.map { k in Self.accuracy(k, queries, nearest, examples.table) }
    }
    try training.verify()
    curve = ks.indices.map { index in Accuracy(k: ks[index], folds: accuracies.map { $0[index] }) }
    let best = curve.reduce(curve[0]) { $1.mean > $0.mean ? $1 : $0 }
    chosen = best.k
    searched = (plan.trials[0].queries.count, plan.trials[0].examples.count)

    // Only now, and only for this k.
    let test = try openTest()
    guard test.description.shape == training.description.shape, test.classNames == training.classNames else {
      throw Failure(
        .badData, "\(test.directory): the test set must be of the shape and the classes of the training set")
    }
    let queries = ExampleSet(test.examples, plan.sample(of: test.count))
    let examples = ExampleSet(training.examples, plan.all)
    let nearest = search.nearest(max(chosen, min(Self.shownNeighbors, examples.count)), of: queries, among: examples) {
      progress(Progress(stage: .test, done: $0, queries: queries.count, examples: examples.count))
    }
    try training.verify()
    try test.verify()
    testAccuracy = Self.accuracy(chosen, queries, nearest, examples.table)
    tested = (queries.count, examples.count)
    isCIFAR10 = training.looksOfficial && test.looksOfficial && settings.limit == nil
    shown = queries.indices.indices.prefix(Self.shownExamples).map { position in
      Shown(
        example: Example(test, queries.indices[position]),
        prediction: Self.vote(nearest[position].prefix(best.k), examples.table),
        neighbors: nearest[position].prefix(Self.shownNeighbors).map { neighbor in
          (Example(training, neighbor.index), settings.distance.value(of: neighbor.distance))
        })
    }
    equalDistance = queries.indices.first.flatMap { EqualDistance(of: Int($0), in: test) }
  }

  /// The class of most of the neighbours, which are sorted; among several such classes that of the nearest.
  package static func vote(_ neighbors: some Sequence<Neighbor>, _ table: ExampleTable) -> Int {
    let labels = neighbors.map { table.label(at: Int($0.index)) }
    var votes = [Int](repeating: 0, count: table.classes)
    for label in labels { votes[label] += 1 }
    let most = votes.max() ?? 0
    return labels.first { votes[$0] == most } ?? 0
  }

  private static func accuracy(
    _ k: Int, _ queries: ExampleSet, _ nearest: [[Neighbor]], _ table: ExampleTable
  ) -> Double {
    let correct = zip(queries.indices, nearest).count { index, neighbors in
      vote(neighbors.prefix(k), table) == queries.table.label(at: Int(index))
    }
    return Double(correct) / Double(queries.count)
  }
}

extension Neighbors.Example {
  fileprivate init(_ dataset: Dataset, _ index: UInt32) {
    self.index = Int(index)
    label = dataset.examples.label(at: Int(index))
    image = dataset.picture(at: Int(index))
  }
}

/// Which examples are compared with which.
package struct NeighborsPlan {
  package struct Trial {
    let stage: Neighbors.Stage
    package let queries: [UInt32]
    package let examples: [UInt32]
  }

  package let trials: [Trial]
  /// Every training example that may be a neighbour of a test example.
  package let all: [UInt32]
  private let settings: Neighbors.Settings

  /// - Throws: `usage`.
  package init(_ settings: Neighbors.Settings, exampleCount: Int) throws(Failure) {
    self.settings = settings
    let order = Self.order(of: exampleCount, seed: settings.seed)
    let limit = settings.limit ?? exampleCount
    if let folds = settings.folds {
      let all = Array(order.prefix(limit))
      guard (2...max(2, all.count)).contains(folds), folds <= all.count else {
        throw Failure(
          .usage, "--folds must be 2 to \(all.count), the number of training examples, but is \(folds)")
      }
      trials = (0..<folds).map { fold in
        let held = fold * all.count / folds..<(fold + 1) * all.count / folds
        return Trial(
          stage: .fold(fold + 1), queries: Array(all[held]),
          examples: Array(all[..<held.lowerBound] + all[held.upperBound...]))
      }
      self.all = all
    } else {
      let held = settings.validationExamples
      guard (1..<max(2, exampleCount)).contains(held) else {
        throw Failure(
          .usage,
          "the validation split must have 1 to \(exampleCount - 1) of the \(exampleCount) training examples, but has \(held)",
          remedy: "Choose --validation-examples, or --folds 5")
      }
      let trial = Trial(
        stage: .validation, queries: Array(order[..<held].prefix(limit)),
        examples: Array(order[held...].prefix(limit)))
      trials = [trial]
      all = trial.examples + trial.queries
    }
    let fewest = trials.map(\.examples.count).min() ?? 0
    if let k = settings.k.first(where: { $0 > fewest }) {
      throw Failure(.usage, "--k must be at most \(fewest), the number of examples to compare with, but is \(k)")
    }
  }

  /// The test examples, all or as many as the limit says.
  func sample(of count: Int) -> ArraySlice<UInt32> {
    Self.order(of: count, seed: settings.seed).prefix(settings.limit ?? count)
  }

  /// The permutation that a training splits.
  private static func order(of count: Int, seed: UInt64) -> [UInt32] {
    DataSplit(exampleCount: count, validation: 0..<0, shardCount: 1, seed: seed).training
  }
}
