import Diagnostics
import Glibc

/// What `metrics.jsonl` says, in columns: a row for each line, steps strictly increasing. What was not measured is NaN.
public struct MetricsHistory: Sendable, Equatable {
  /// The fields of `MetricsRecord`, apart from the step.
  public enum Column: Int, Sendable, CaseIterable {
    case epoch, seconds, examples, workers, learningRate, penalty, trainDataLoss, trainAccuracy, gradientNorm
    case imagesPerSecond, validationDataLoss, validationAccuracy

    /// In the file.
    public var name: String {
      switch self {
      case .epoch: "epoch"
      case .seconds: "seconds"
      case .examples: "examples"
      case .workers: "workers"
      case .learningRate: "learning_rate"
      case .penalty: "penalty"
      case .trainDataLoss: "train_data_loss"
      case .trainAccuracy: "train_accuracy"
      case .gradientNorm: "gradient_norm"
      case .imagesPerSecond: "images_per_second"
      case .validationDataLoss: "validation_data_loss"
      case .validationAccuracy: "validation_accuracy"
      }
    }
  }

  /// Steps done.
  public private(set) var steps: [UInt64] = []
  private var columns = [[Double]](repeating: [], count: Column.allCases.count)
  /// Lines that are no record.
  public private(set) var damagedLines = 0

  public init() {}

  public var count: Int { steps.count }

  /// The values of a column, one for each of `steps`.
  public subscript(_ column: Column) -> [Double] { columns[column.rawValue] }

  /// The newest value of a column that was measured.
  public func newest(_ column: Column) -> Double? { columns[column.rawValue].last { !$0.isNaN } }

  /// The row at `index` as a record.
  public func record(at index: Int) -> MetricsRecord {
    func measured(_ column: Column) -> Double? {
      let value = columns[column.rawValue][index]
      return value.isNaN ? nil : value
    }
    func count(_ column: Column) -> UInt64 { measured(column).flatMap { UInt64(exactly: $0.rounded()) } ?? 0 }
    var record = MetricsRecord(step: steps[index], examples: count(.examples))
    (record.epoch, record.seconds) = (measured(.epoch) ?? 0, measured(.seconds) ?? 0)
    (record.workers, record.learningRate) = (Int(count(.workers)), measured(.learningRate) ?? 0)
    (record.penalty, record.gradientNorm) = (measured(.penalty), measured(.gradientNorm))
    (record.trainDataLoss, record.trainAccuracy) = (measured(.trainDataLoss), measured(.trainAccuracy))
    record.imagesPerSecond = measured(.imagesPerSecond)
    record.validationDataLoss = measured(.validationDataLoss)
    record.validationAccuracy = measured(.validationAccuracy)
    return record
  }

  // MARK: - Reading

  /// The names in the order in which the writer puts them; those without a column are passed over. Behind them those of
  /// earlier versions.
  private static let names: [(name: [UInt8], column: Int?)] = {
    let written = ["step"] + MetricsRecord(step: 0, examples: 0).json.memberNames.filter { $0 != "step" }
    let columns = Dictionary(uniqueKeysWithValues: Column.allCases.map { ($0.name, $0.rawValue) })
    let former = [
      ("train_loss", Column.trainDataLoss.rawValue), ("validation_loss", Column.validationDataLoss.rawValue),
    ]
    return written.map { (Array($0.utf8), columns[$0]) } + former.map { (Array($0.0.utf8), $0.1) }
  }()

  /// Adds the row of a line. A row whose step is not later than that of an earlier one takes its place, and that of those
  /// after it: a run that was resumed there has computed them again.
  mutating func append(_ line: UnsafeBufferPointer<UInt8>) {
    var row = Row()
    guard row.read(line) || row.readSlowly(line), let step = row.step else {
      damagedLines += 1
      return
    }
    while let last = steps.last, last >= step {
      steps.removeLast()
      for column in columns.indices { columns[column].removeLast() }
    }
    steps.append(step)
    for column in columns.indices { columns[column].append(row.values[column]) }
  }

  private struct Row {
    var step: UInt64?
    var values = InlineArray<12, Double>(repeating: .nan)

    /// False for a line that is not an object of numbers alone.
    mutating func read(_ line: UnsafeBufferPointer<UInt8>) -> Bool {
      var scanner = NumberScanner(line)
      let names = MetricsHistory.names
      // The next name is nearly always the one that followed this one in the line before.
      var guess = 0
      guard scanner.takes("{") else { return false }
      repeat {
        guard let name = scanner.name(), scanner.takes(":"), let value = scanner.number() else { return false }
        guard let index = Self.index(of: name, in: names, guess: guess) else { continue }
        guess = index + 1
        if index == 0 {
          guard value >= 0, value < 9_007_199_254_740_992 else { return false }
          step = UInt64(value)
        } else if let column = names[index].column {
          values[column] = value
        }
      } while scanner.takes(",")
      return scanner.takes("}")
    }

    private static func index(
      of name: UnsafeBufferPointer<UInt8>, in names: [(name: [UInt8], column: Int?)], guess: Int
    ) -> Int? {
      func isEqual(_ bytes: [UInt8]) -> Bool {
        name.count == bytes.count && name.baseAddress.map { memcmp($0, bytes, bytes.count) } == 0
      }
      if guess < names.count, isEqual(names[guess].name) { return guess }
      return names.firstIndex { isEqual($0.name) }
    }

    /// For a line that another program wrote: any JSON object that has a step.
    mutating func readSlowly(_ line: UnsafeBufferPointer<UInt8>) -> Bool {
      guard let fields = try? JSONFields(parsing: Array(line), source: ""), let step: UInt64 = try? fields["step"]
      else {
        return false
      }
      self = Row()
      self.step = step
      for (name, column) in MetricsHistory.names {
        let value: Double? = try? fields[String(decoding: name, as: UTF8.self)]
        if let column, let value, value.isFinite { values[column] = value }
      }
      return true
    }
  }
}

extension JSONValue {
  fileprivate var memberNames: [String] {
    guard case .object(let members) = self else { return [] }
    return members.map(\.name)
  }
}

/// Indices of at most about `limit` values that show the course of them all: of each stretch the least and the greatest, in
/// their order, so that no peak is lost; the first and the last as well. NaN is left out.
public func displayIndices(of values: [Double], limit: Int) -> [Int] {
  let known = values.indices.filter { !values[$0].isNaN }
  guard known.count > max(limit, 4) else { return known }
  let buckets = max(1, limit / 2 - 1)
  var indices = [known[0]]
  for bucket in 0..<buckets {
    let range = known.count * bucket / buckets..<known.count * (bucket + 1) / buckets
    guard let least = range.min(by: { values[known[$0]] < values[known[$1]] }),
      let greatest = range.max(by: { values[known[$0]] < values[known[$1]] })
    else { continue }
    for index in [min(least, greatest), max(least, greatest)] where known[index] > indices[indices.count - 1] {
      indices.append(known[index])
    }
  }
  if let last = known.last, last > indices[indices.count - 1] { indices.append(last) }
  return indices
}
