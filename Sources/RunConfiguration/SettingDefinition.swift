import Optimization

/// The part of the program that a setting concerns; the heading it stands under in listings.
public enum SettingGroup: String, Sendable, CaseIterable {
  case data = "Data"
  case model = "Model and objective"
  case optimization = "Optimization"
  case stopping = "When to stop"
  case cluster = "Cluster"
  case run = "Run and checkpoints"
}

/// One value of a setting, already of the right kind and within its bounds.
public enum SettingValue: Sendable, Equatable {
  /// A path, a host, a choice, a resume policy.
  case text(String)
  case integer(UInt64)
  case number(Double)
  case consistency(ConsistencyModel)

  /// The canonical spelling: reading it again gives the same value, to the last bit of a number.
  public var text: String {
    switch self {
    case .text(let text): text
    case .integer(let integer): String(integer)
    case .number(let number): Self.shortest(number)
    case .consistency(let model): model.description
    }
  }

  /// The shortest decimal that reads back as the same number, without a fraction of zero.
  private static func shortest(_ number: Double) -> String {
    let text = number.description
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
  }
}

/// The numbers that a setting accepts. Either end may be excluded: a momentum of 1 never comes to rest.
public struct NumberBounds: Sendable, Equatable, CustomStringConvertible {
  public let lower: Double
  public let upper: Double
  public let includesLower: Bool
  public let includesUpper: Bool

  static func from(_ lower: Double, through upper: Double) -> NumberBounds {
    NumberBounds(lower: lower, upper: upper, includesLower: true, includesUpper: true)
  }

  static func from(_ lower: Double, below upper: Double) -> NumberBounds {
    NumberBounds(lower: lower, upper: upper, includesLower: true, includesUpper: false)
  }

  static func above(_ lower: Double, through upper: Double) -> NumberBounds {
    NumberBounds(lower: lower, upper: upper, includesLower: false, includesUpper: true)
  }

  public func contains(_ number: Double) -> Bool {
    (includesLower ? number >= lower : number > lower) && (includesUpper ? number <= upper : number < upper)
  }

  public var description: String {
    let low = (includesLower ? "from " : "above ") + SettingValue.number(lower).text
    let high = (includesUpper ? " to " : " to below ") + SettingValue.number(upper).text
    return low + high
  }
}

/// What a setting accepts, and how its text is read.
public enum SettingKind: Sendable, Equatable {
  case path
  case text
  /// The name of a key; which names there are is for the keys to say.
  case keyName
  case integer(ClosedRange<UInt64>)
  case number(NumberBounds)
  case choice([String])
  /// `bsp`, `bsp:backup=b`, `ssp:s` or `asp`.
  case consistency
  /// `auto`, `must`, `never` or the path of a checkpoint.
  case resume

  /// Reads `text` as a value of this kind; `nil` if it is of another kind or out of bounds.
  public func value(parsing text: String) -> SettingValue? {
    switch self {
    case .path, .text, .keyName, .resume:
      return text.isEmpty || text.utf8.contains(0) ? nil : .text(text)
    case .integer(let bounds):
      guard text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
      guard let integer = UInt64(text), bounds.contains(integer) else { return nil }
      return .integer(integer)
    case .number(let bounds):
      // Only decimal spellings: Swift also reads "nan", "inf" and hexadecimal, which nobody means here.
      guard text.utf8.allSatisfy({ "0123456789+-.eE".utf8.contains($0) }) else { return nil }
      guard let number = Double(text), number.isFinite, bounds.contains(number) else { return nil }
      // Adding zero turns a negative zero into the usual one.
      return .number(number + 0)
    case .choice(let choices):
      return choices.contains(text) ? .text(text) : nil
    case .consistency:
      return ConsistencyModel(parsing: text).map(SettingValue.consistency)
    }
  }

  /// What is accepted, for error messages and the reference: "an integer from 1 to 1024".
  public var expectation: String {
    switch self {
    case .path: "a path"
    case .text: "a host name or address"
    case .keyName: "coordinator, server, worker-NAME or observer-NAME"
    case .integer(let bounds): "an integer from \(bounds.lowerBound) to \(bounds.upperBound)"
    case .number(let bounds): "a number \(bounds)"
    case .choice(let choices): choices.dropLast().joined(separator: ", ") + " or " + (choices.last ?? "")
    case .consistency: "bsp, bsp:backup=B, ssp:S or asp"
    case .resume: "auto, must, never or the path of a checkpoint"
    }
  }
}

/// What a setting is when nobody says anything.
public enum SettingDefault: Sendable, Equatable {
  /// Not set. What happens then is in the help.
  case unset
  case value(SettingValue)
  /// The two losses differ in scale: the hinge loss sums over nine margins, so its steps must be smaller.
  case byLoss(softmax: SettingValue, svm: SettingValue)
}

/// One row of the table of settings.
public struct SettingDefinition: Sendable, Equatable {
  public let key: SettingKey
  public let group: SettingGroup
  public let kind: SettingKind
  /// What one of the number is: "examples", "steps", "seconds". `nil` where it has no unit.
  public let unit: String?
  public let defaultValue: SettingDefault
  /// Whether the bits of the weights depend on it, so that it must be the same when a run is resumed.
  public let shapesTrajectory: Bool
  /// One line, no full stop.
  public let help: String

  init(
    _ key: SettingKey, _ group: SettingGroup, _ kind: SettingKind, unit: String? = nil,
    default defaultValue: SettingDefault, shapesTrajectory: Bool = false, _ help: String
  ) {
    self.key = key
    self.group = group
    self.kind = kind
    self.unit = unit
    self.defaultValue = defaultValue
    self.shapesTrajectory = shapesTrajectory
    self.help = help
  }

  /// "an integer from 1 to 1024 (shards)".
  public var expectation: String {
    unit.map { "\(kind.expectation) (\($0))" } ?? kind.expectation
  }

  /// The help for `--help` of a flag: what it is, what it takes, and its default.
  public var flagHelp: String {
    switch defaultValue {
    case .unset: "\(help): \(expectation)"
    case .value(let value): "\(help): \(expectation); default \(value.text)"
    case .byLoss(let softmax, let svm):
      "\(help): \(expectation); default \(softmax.text) for softmax, \(svm.text) for svm"
    }
  }
}
