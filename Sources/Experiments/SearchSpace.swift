import Diagnostics
import Optimization
import RunConfiguration

/// One setting that a sweep varies, and the values that it takes.
public struct SearchAxis: Sendable, Equatable {
  public enum Values: Sendable, Equatable {
    /// In the spelling of the setting; at least one, each once.
    case choices([String])
    /// Equally likely everywhere between the bounds, or between their logarithms.
    case range(ClosedRange<Double>, isLogarithmic: Bool)
  }

  /// Of the setting.
  public let name: String
  public let values: Values
  /// Whether the values are whole numbers.
  let isInteger: Bool

  /// The settings whose trials could not be compared, each with the reason.
  private static let excluded = [
    "seed": "it chooses the validation examples", "validation-examples": "it chooses the validation examples",
    "validation-fold": "--validate chooses the folds", "schedule-epochs": "it follows epochs",
    "consistency": "a trial is trained by the sequential trainer, which is bsp",
  ]

  /// - Parameters:
  ///   - name: a setting, or its alias.
  ///   - text: `log:1e-4..1`, `linear:0..0.5` or `0..0.5`, each with `:N` behind it for N points instead of the whole range, or
  ///     the values themselves, `50|100|200`.
  /// - Throws: `usage` for a setting that is unknown or cannot be varied, and for values that it does not accept.
  public init(_ name: String, _ text: String) throws(Failure) {
    guard let setting = SettingTable.all.first(where: { $0.name == name || $0.alias == name }) else {
      throw Failure(
        .usage, "--over varies settings, and `\(name)` is none",
        remedy: SettingTable.hint(for: name) { $0.name } ?? "List them with: descent config show")
    }
    guard setting.shapesTrajectory, Self.excluded[setting.name] == nil else {
      throw Failure(
        .usage,
        "--over cannot vary `\(setting.name)`: "
          + (Self.excluded[setting.name] ?? "the weights do not depend on it"))
    }
    self.name = setting.name
    isInteger = ["n", "n,n"].contains(setting.placeholder)
    values = try Self.values(text, of: setting, isInteger: isInteger)
  }

  private static func values(
    _ text: String, of setting: SettingDefinition, isInteger: Bool
  ) throws(Failure) -> Values {
    if text.hasPrefix("log:") || text.hasPrefix("linear:") || text.contains("..") {
      return try range(text, of: setting, isInteger: isInteger)
    }
    var choices: [String] = []
    for part in text.split(separator: "|", omittingEmptySubsequences: false).map(String.init) {
      let spelling = try accepted(part, by: setting)
      guard !choices.contains(spelling) else {
        throw Failure(.usage, "--over \(setting.name)=\(text) names \(spelling) twice")
      }
      choices.append(spelling)
    }
    return .choices(choices)
  }

  /// The spelling of the setting for a value.
  private static func accepted(_ text: String, by setting: SettingDefinition) throws(Failure) -> String {
    // The spelling of "no hidden layers" is that there is none.
    guard let accepted = setting.accepted(text) else {
      throw Failure(
        .usage, "--over \(setting.name): a value must be \(setting.expectation), but is \"\(text.prefix(100))\"")
    }
    return accepted ?? text
  }

  private static func range(
    _ text: String, of setting: SettingDefinition, isInteger: Bool
  ) throws(Failure) -> Values {
    let expected = "log:A..B, linear:A..B or A..B, with :N behind it for N points"
    guard setting.placeholder == "x" || isInteger else {
      throw Failure(
        .usage, "--over \(setting.name)=\(text.prefix(100)): a range is for numbers", remedy: "Name the values: A|B|C")
    }
    guard let match = text.wholeMatch(of: /(?:(log|linear):)?([^:]+?)\.\.([^:]+)(?::([0-9]+))?/) else {
      throw Failure(.usage, "--over \(setting.name)", found: String(text.prefix(100)), expected: expected)
    }
    let isLogarithmic = match.1 == "log"
    let bounds = [try accepted(String(match.2), by: setting), try accepted(String(match.3), by: setting)]
    guard let lower = Double(bounds[0]), let upper = Double(bounds[1]), lower < upper else {
      throw Failure(.usage, "--over \(setting.name)=\(text): the lower bound must be below the upper one")
    }
    guard !isLogarithmic || lower > 0 else {
      throw Failure(.usage, "--over \(setting.name)=\(text): a logarithmic range must begin above 0")
    }
    let values = Values.range(lower...upper, isLogarithmic: isLogarithmic)
    guard let points = match.4 else { return values }
    guard let count = Int(points), (2...SearchSpace.largestTrialCount).contains(count) else {
      throw Failure(
        .usage, "--over \(setting.name)=\(text): the number of points must be 2 to \(SearchSpace.largestTrialCount)")
    }
    var choices: [String] = []
    for index in 0..<count {
      let point = try Self.value(
        at: Double(index) / Double(count - 1), lower...upper, isLogarithmic, isInteger, setting)
      // Integers that lie close to each other.
      if choices.last != point { choices.append(point) }
    }
    return .choices(choices)
  }

  /// The value at a fraction of the range.
  ///
  /// Real numbers are rounded to four significant digits, so that they can be typed.
  private static func value(
    at fraction: Double, _ range: ClosedRange<Double>, _ isLogarithmic: Bool, _ isInteger: Bool,
    _ setting: SettingDefinition
  ) throws(Failure) -> String {
    let (lower, upper) = (range.lowerBound, range.upperBound)
    var number = lower + fraction * (upper - lower)
    if isLogarithmic {
      let (first, last) = (ElementaryFunctions.logarithm(lower), ElementaryFunctions.logarithm(upper))
      number = ElementaryFunctions.exponential(first + fraction * (last - first))
    }
    if fraction == 0 { number = lower }
    if fraction == 1 { number = upper }
    number = isInteger ? number.rounded() : fourDigits(number)
    number = min(max(number, lower), upper)
    return try accepted(isInteger ? "\(Int64(number))" : "\(number)", by: setting)
  }

  private static func fourDigits(_ number: Double) -> Double {
    guard number != 0, number.isFinite else { return number }
    var (digits, exponent) = (abs(number), 0)
    while digits >= 10_000 { (digits, exponent) = (digits / 10, exponent + 1) }
    while digits < 1000 { (digits, exponent) = (digits * 10, exponent - 1) }
    let rounded = Double("\(Int(digits.rounded()))e\(exponent)") ?? number
    return number < 0 ? -rounded : rounded
  }

  // MARK: Drawing

  /// How many different values there are; nil for a range of real numbers, or of integers by their logarithm.
  var valueCount: Int? {
    switch values {
    case .choices(let choices): choices.count
    case .range(let range, let isLogarithmic):
      isInteger && !isLogarithmic && range.upperBound - range.lowerBound < 1e9
        ? Int(range.upperBound - range.lowerBound) + 1 : nil
    }
  }

  /// One of the values.
  public var anyValue: String {
    switch values {
    case .choices(let choices): choices[0]
    case .range(let range, _): Self.shortest(range.lowerBound)
    }
  }

  /// A value, drawn with the next numbers of `random`.
  func value(drawing random: inout RandomSequence) throws(Failure) -> String {
    switch values {
    case .choices(let choices): return choices[Int(random.next(below: UInt64(choices.count)))]
    case .range(let range, let isLogarithmic):
      var fraction = random.nextUnit()
      if isInteger, !isLogarithmic {
        // Each integer is as likely as any other, those at the ends included.
        let width = range.upperBound - range.lowerBound
        fraction = (fraction * (width + 1)).rounded(.down) / width
      }
      guard let setting = SettingTable.setting(named: name) else { preconditionFailure("no setting \(name)") }
      return try Self.value(at: fraction, range, isLogarithmic, isInteger, setting)
    }
  }

  /// The same on the command line.
  public var text: String {
    switch values {
    case .choices(let choices): "\(name)=\(choices.joined(separator: "|"))"
    case .range(let range, let isLogarithmic):
      "\(name)=\(isLogarithmic ? "log" : "linear"):"
        + "\(Self.shortest(range.lowerBound))..\(Self.shortest(range.upperBound))"
    }
  }

  private static func shortest(_ number: Double) -> String {
    let text = "\(number)"
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
  }
}

/// The settings that a sweep varies: values of all of them are a point, and a trial tries one.
public struct SearchSpace: Sendable, Equatable {
  static let largestTrialCount = 9999

  /// In the order of the command line.
  public let axes: [SearchAxis]

  /// - Parameter texts: each `NAME=VALUES`, or several of them with commas between; a part without `=` belongs to the
  ///   one before, as in `hidden=256,128|512`.
  /// - Throws: `usage` for what is none, and for a setting that occurs twice.
  public init(parsing texts: [String]) throws(Failure) {
    var parts: [String] = []
    for text in texts {
      for (index, part) in text.split(separator: ",", omittingEmptySubsequences: false).enumerated() {
        if index > 0, !part.contains("="), !parts.isEmpty {
          parts[parts.count - 1] += ",\(part)"
        } else {
          parts.append(String(part))
        }
      }
    }
    var axes: [SearchAxis] = []
    for part in parts {
      guard let sign = part.firstIndex(of: "="), sign > part.startIndex else {
        throw Failure(
          .usage, "--over", found: "\"\(part.prefix(100))\"", expected: "NAME=VALUES, as in learning-rate=log:1e-4..1")
      }
      let axis = try SearchAxis(String(part[..<sign]), String(part[part.index(after: sign)...]))
      guard !axes.contains(where: { $0.name == axis.name }) else {
        throw Failure(.usage, "--over names `\(axis.name)` twice")
      }
      axes.append(axis)
    }
    guard !axes.isEmpty else { throw Failure(.usage, "--over must name a setting at least") }
    self.axes = axes
  }

  /// How many points there are; nil if they are not countable.
  private var pointCount: Int? {
    var count = 1
    for axis in axes {
      guard let factor = axis.valueCount else { return nil }
      let (product, overflows) = count.multipliedReportingOverflow(by: factor)
      count = overflows ? .max : product
    }
    return count
  }

  /// Independent draws, without a point that was drawn before.
  ///
  /// A value is a function of the seed, the number of the trial and the name of the setting: it does not depend on how
  /// many trials there are. Only where a whole point was drawn before, it is drawn again.
  ///
  /// - Returns: the values of each trial, in the order of `axes`.
  /// - Throws: `usage` if there are fewer points than trials.
  public func randomPoints(_ count: Int, seed: UInt64) throws(Failure) -> [[String]] {
    if let pointCount, pointCount < count {
      throw Failure(
        .usage, "--tries \(count): there are only \(pointCount) different combinations of these values",
        remedy: "Try all of them with --search grid, or use --tries \(pointCount) at most")
    }
    let generator = Philox4x64(seed: seed, stream: .hyperparameters)
    var (points, known): ([[String]], Set<[String]>) = ([], [])
    for trial in 0..<count {
      var sequences = axes.map { RandomSequence(generator, epoch: UInt64(trial), shard: fnv1a($0.name.utf8)) }
      var point: [String]
      var attempts = 0
      repeat {
        point = []
        for (index, axis) in axes.enumerated() { point.append(try axis.value(drawing: &sequences[index])) }
        attempts += 1
      } while known.contains(point) && attempts < Self.attemptLimit
      guard known.insert(point).inserted else {
        throw Failure(
          .usage, "--tries \(count): after \(trial) trials no other combination of values was found",
          remedy: "Use fewer tries, or wider ranges")
      }
      points.append(point)
    }
    return points
  }

  private static let attemptLimit = 200_000

  /// Every point, those that differ in the last setting next to each other.
  ///
  /// - Throws: `usage` for a range without a number of points, and for more points than a sweep may have.
  public func gridPoints() throws(Failure) -> [[String]] {
    var points: [[String]] = [[]]
    for axis in axes {
      guard case .choices(let choices) = axis.values else {
        throw Failure(
          .usage, "--search grid needs the number of points of a range", found: "--over \(axis.text)",
          expected: "\(axis.text):5, or the values as A|B|C")
      }
      guard points.count * choices.count <= Self.largestTrialCount else {
        throw Failure(
          .usage, "the grid has more than \(Self.largestTrialCount) points",
          remedy: "Use fewer values, or --search random")
      }
      points = points.flatMap { point in choices.map { point + [$0] } }
    }
    return points
  }

  /// The same on the command line.
  public var text: String { axes.map(\.text).joined(separator: ",") }
}
