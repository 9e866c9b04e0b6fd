import Diagnostics
import Optimization

/// The part of the program that a setting concerns; its heading in listings and help.
public enum SettingGroup: String, Sendable, CaseIterable {
  case data = "Data"
  case model = "Model and objective"
  case optimization = "Optimization"
  case stopping = "Stopping"
  case cluster = "Cluster"
  case run = "Run and checkpoints"
}

/// What a setting is, whatever the type of its value.
public struct SettingDefinition: Sendable {
  /// The one spelling: `batch-size` in a YAML file, `--batch-size` as a flag, `DESCENT_BATCH_SIZE` as an environment
  /// variable.
  public let name: String
  public let group: SettingGroup
  /// A second spelling of the flag.
  public let alias: String?
  /// Whether the bits of the weights depend on it, so that a run can only be resumed with the same value.
  public let shapesTrajectory: Bool
  /// Whether they do, given all other settings.
  let hasEffect: @Sendable (ResolvedSettings) -> Bool
  /// One sentence without a full stop.
  public let help: String
  /// Further sentences, for the reference; lines that begin with a space are not to be filled.
  public let details: String
  /// What is accepted: "an integer from 1 to 1024 (shards)".
  public let expectation: String
  /// Stands for the value in help: "n", "path".
  public let placeholder: String
  /// All values, where they can be listed.
  public let choices: [String]
  /// Whether JSON shows the value as a number, unless it is one of `choices`.
  let isNumeric: Bool
  /// The canonical spelling of a text, which reads back as the same value to the last bit; nil if the setting does not
  /// accept the text. The text and its spelling are `.some(nil)` for "not set".
  package let accepted: @Sendable (String?) -> String??
  /// Nil for "not set".
  public let defaultText: @Sendable (Loss) -> String?

  /// `DESCENT_LEARNING_RATE` for `learning-rate`.
  public var environmentName: String {
    SettingTable.environmentPrefix + String(name.map { $0 == "-" ? "_" : $0 }).uppercased()
  }

  /// Whether a value can be a path; `resume` may be one.
  var isPath: Bool { placeholder == "path" || placeholder == "policy" }

  /// The value that a text was probably meant for which the setting does not accept: in quotes or with blanks around it, with
  /// capitals, separators between digits or a decimal comma. Nil if there is none.
  func acceptableSpelling(of text: String) -> String? {
    let bare = text.trimming { $0.isWhitespace || "\"'\u{2018}\u{2019}\u{201C}\u{201D}".contains($0) }
    let digits = String(bare.prefix(64).map { $0.wholeNumberValue.map { Character("\($0)") } ?? $0 })
    let spellings = [
      bare, bare.lowercased(), digits, digits.replacing("_", with: "").replacing("+", with: ""),
      digits.replacing(",", with: placeholder == "x" ? "." : ""),
    ]
    // defence: spelling
    return isPath ? nil : spellings.first { accepted($0) != nil }
  }

  /// `--learning-rate` for `learning-rate`.
  public var flagName: String { "--" + name }

  /// "512", or "0.05 with softmax, 0.005 with svm"; nil where the default is "not set".
  public var describedDefault: String? {
    let texts = Loss.allCases.compactMap { loss in defaultText(loss).map { (loss, $0) } }
    guard let first = texts.first else { return nil }
    if texts.allSatisfy({ $0.1 == first.1 }) { return first.1 }
    return texts.map { "\($0.1) with \($0.0.settingName)" }.joined(separator: ", ")
  }

  /// A value in JSON: a number where it is one, null for "not set".
  package func json(_ text: String?) -> JSONValue {
    text.map { isNumeric && !choices.contains($0) ? .number($0) : .string($0) } ?? .null
  }

  /// The help of the flag: what it is, what it takes unless the placeholder says so, and its default.
  public var flagHelp: String {
    let isClear = placeholder == "path" || placeholder == choices.joined(separator: "|")
    return help + (isClear ? "" : ": \(expectation)") + (describedDefault.map { "; default \($0)." } ?? ".")
  }
}

/// A row of `SettingTable`: a setting with the type of its value.
public struct Setting<Value: Sendable>: AnySetting {
  public let definition: SettingDefinition
  private let type: SettingType<Value>

  /// - Parameters:
  ///   - unit: what the number counts: "examples", "steps", "seconds".
  ///   - otherDefaults: of the losses whose default is not `value`.
  ///   - isEffective: under which settings the value shapes the trajectory.
  init(
    _ name: String, _ group: SettingGroup, _ type: SettingType<Value>, unit: String? = nil, alias: String? = nil,
    default value: Value, byLoss otherDefaults: [Loss: Value] = [:], shapesTrajectory: Bool = false,
    when isEffective: @escaping @Sendable (ResolvedSettings) -> Bool = { _ in true }, _ help: String,
    _ details: String = ""
  ) {
    self.type = type
    definition = SettingDefinition(
      name: name, group: group, alias: alias, shapesTrajectory: shapesTrajectory, hasEffect: isEffective, help: help,
      details: details, expectation: type.expectation + (unit.map { " (\($0))" } ?? ""), placeholder: type.placeholder,
      choices: type.choices, isNumeric: type.isNumeric,
      accepted: { text in type.value(text).map(type.text) },
      defaultText: { type.text(otherDefaults[$0] ?? value) })
  }

  /// The value that an accepted text stands for.
  func value(of text: String?) -> Value {
    guard let value = type.value(text) else {
      preconditionFailure("\(definition.name) was resolved to a text that it does not accept")
    }
    return value
  }
}

/// A row whose type does not matter.
public protocol AnySetting: Sendable {
  var definition: SettingDefinition { get }
}
