import Checkpoints
import Datasets
import Diagnostics
import Optimization
import Pictures
import Reporting

/// What a model takes for what, and how far its confidence can be trusted.
public struct Mistakes: Sendable {
  /// Examples of one class that are taken for another.
  public struct Pair: Sendable {
    public var actual: Int
    public var predicted: Int
    /// The examples, the most confident mistake first.
    public var examples: [Example]

    public var count: Int { examples.count }
  }

  public struct Example: Sendable {
    /// In the data set.
    public var index: Int
    /// The probability of the predicted class; of a model that gives none, its score less that of the actual class.
    public var confidence: Double
  }

  public let classNames: [String]
  public let examples: Int
  /// Of each class.
  public let examplesOfClass: [Int]
  /// By falling count, then by the labels.
  public let pairs: [Pair]
  /// Nil of a model whose loss does not predict by softmax.
  public let calibration: Calibration?

  /// - Parameters:
  ///   - model: one that fits the data set.
  ///   - evaluator: of that model, over the examples of the data set.
  ///   - indices: the examples to look at.
  public init(of model: TrainedModel, evaluator: Evaluator, examples table: ExampleTable, indices: [UInt32]) {
    let classes = model.shape.classes
    let scores = model.parameters.withUnsafePointer { evaluator.scores(parameters: $0, indices: indices) }
    let probabilities = model.loss.predictsBySoftmax ? evaluator.probabilities(ofScores: scores) : nil
    var found = [[Example]](repeating: [], count: classes * classes)
    var predictions: [(confidence: Double, isRight: Bool)] = []
    for (row, index) in indices.enumerated() {
      let (start, actual) = (row * classes, table.label(at: Int(index)))
      // Ties go to the smaller label, as in evaluation.
      var predicted = 0
      for label in 1..<classes where scores[start + label] > scores[start + predicted] { predicted = label }
      let confidence =
        probabilities.map { Double($0[start + predicted]) }
        ?? Double(scores[start + predicted] - scores[start + actual])
      found[actual * classes + predicted].append(Example(index: Int(index), confidence: confidence))
      predictions.append((confidence, predicted == actual))
    }
    classNames = model.classNames
    examples = indices.count
    examplesOfClass = (0..<classes).map { actual in
      found[actual * classes..<(actual + 1) * classes].reduce(0) { $0 + $1.count }
    }
    pairs = found.indices.filter { $0 / classes != $0 % classes && !found[$0].isEmpty }.map { place in
      let examples = found[place].sorted { ($1.confidence, $0.index) < ($0.confidence, $1.index) }
      return Pair(actual: place / classes, predicted: place % classes, examples: examples)
    }.sorted { ($1.count, $0.actual, $0.predicted) < ($0.count, $1.actual, $1.predicted) }
    calibration = probabilities.map { _ in Calibration(predictions) }
  }

  /// Those that are taken for another class.
  public var count: Int { pairs.reduce(0) { $0 + $1.count } }

  /// In 0 ... 1; not a number where there is no example.
  public var accuracy: Double { Double(examples - count) / Double(examples) }

  /// The share of the pair in the examples of its actual class.
  public func share(of pair: Pair) -> Double { Double(pair.count) / Double(examplesOfClass[pair.actual]) }
}

/// Whether predictions are right as often as their confidence says (Guo et al. 2017, "On Calibration of Modern Neural
/// Networks").
public struct Calibration: Sendable {
  /// The predictions whose confidence lies in one tenth of 0 ... 1.
  public struct Bin: Sendable {
    public var lower: Double
    public var upper: Double
    public var count: Int
    /// Nil of a bin without predictions.
    public var meanConfidence: Double?
    public var accuracy: Double?
  }

  /// Ten, from 0 to 1; each holds its lower limit, and the last one 1.
  public let bins: [Bin]

  /// - Parameter predictions: with confidences in 0 ... 1.
  public init(_ predictions: [(confidence: Double, isRight: Bool)]) {
    var (counts, right) = ([Int](repeating: 0, count: 10), [Int](repeating: 0, count: 10))
    var sums = [Double](repeating: 0, count: 10)
    for (confidence, isRight) in predictions where confidence.isFinite {
      let bin = min(max(Int(confidence * 10), 0), 9)
      counts[bin] += 1
      right[bin] += isRight ? 1 : 0
      sums[bin] += confidence
    }
    bins = (0..<10).map { bin in
      let count = Double(counts[bin])
      return Bin(
        lower: Double(bin) / 10, upper: Double(bin + 1) / 10, count: counts[bin],
        meanConfidence: count > 0 ? sums[bin] / count : nil, accuracy: count > 0 ? Double(right[bin]) / count : nil)
    }
  }

  /// Σ (n of the bin / n) |accuracy − mean confidence|; not a number without predictions.
  public var expectedError: Double {
    let total = Double(bins.reduce(0) { $0 + $1.count })
    return bins.reduce(0) { sum, bin in
      guard let confidence = bin.meanConfidence, let accuracy = bin.accuracy else { return sum }
      return sum + Double(bin.count) * abs(accuracy - confidence)
    } / total
  }
}
