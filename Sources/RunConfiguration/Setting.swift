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
  /// Whether a checkpoint that does not record it is one of its default, because versions before did not have the setting.
  let absenceMeansDefault: Bool
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
  package let isNumeric: Bool
  /// The canonical spelling of a text, which reads back as the same value to the last bit; nil if the setting does not
  /// accept the text. The text and its spelling are `.some(nil)` for "not set".
  package let accepted: @Sendable (String?) -> String??
  /// Nil for "not set".
  public let defaultText: @Sendable (DefaultBasis) -> String?

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
      bare, bare.lowercased(), bare.uppercased(), digits, digits.replacing("_", with: "").replacing("+", with: ""),
      digits.replacing(",", with: placeholder == "x" ? "." : ""),
    ]
    // A list of numbers, as [256, 128] or 256x128.
    let list = placeholder == "n,n" ? [digits.split { " ,;x[]()".contains($0) }.joined(separator: ",")] : []
    // The ends of a range, as 10-20 or 10:20.
    let ends = bare.split { !$0.isNumber }
    let range = placeholder == "a..b" && ends.count == 2 ? [ends.joined(separator: "..")] : []
    // defence: spelling
    return isPath ? nil : (spellings + list + range).first { accepted($0) != nil }
  }

  /// `--learning-rate` for `learning-rate`.
  public var flagName: String { "--" + name }

  /// "512", or "0.05 with softmax, 0.005 with svm, 0.001 with adam"; nil where the default is "not set". Optimizers without
  /// a default of their own have that of the loss.
  public var describedDefault: String? {
    func text(_ loss: Loss, _ optimizer: Optimizer.Kind = .sgd) -> String? {
      defaultText(DefaultBasis(loss: loss, optimizer: optimizer))
    }
    let (basis, losses) = (DefaultBasis(), Loss.allCases)
    guard let general = defaultText(basis) else { return nil }
    let ofLoss = losses.allSatisfy { text($0) == general } ? [] : losses.map { ($0.settingName, text($0)) }
    let ofOptimizer = Optimizer.Kind.allCases.filter { kind in losses.contains { text($0, kind) != text($0) } }
      .map { ($0.settingName, text(basis.loss, $0)) }
    let parts = (ofLoss + ofOptimizer).map { "\($0.1 ?? "") with \($0.0)" }
    return ((ofLoss.isEmpty ? [general] : []) + parts).joined(separator: ", ")
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

/// The settings that defaults of others depend on.
public struct DefaultBasis: Sendable, Equatable {
  public var loss = Loss.softmaxCrossEntropy
  public var optimizer = Optimizer.Kind.sgd

  public init(loss: Loss = .softmaxCrossEntropy, optimizer: Optimizer.Kind = .sgd) {
    self.loss = loss
    self.optimizer = optimizer
  }
}

/// A row of `SettingTable`: a setting with the type of its value.
public struct Setting<Value: Sendable>: AnySetting {
  public let definition: SettingDefinition
  private let type: SettingType<Value>

  /// - Parameters:
  ///   - unit: what the number counts: "examples", "steps", "seconds".
  ///   - basedDefault: the default, if it depends on other settings.
  ///   - isEffective: under which settings the value shapes the trajectory.
  init(
    _ name: String, _ group: SettingGroup, _ type: SettingType<Value>, unit: String? = nil, alias: String? = nil,
    default value: Value, by basedDefault: (@Sendable (DefaultBasis) -> Value)? = nil, shapesTrajectory: Bool = false,
    absenceMeansDefault: Bool = false,
    when isEffective: @escaping @Sendable (ResolvedSettings) -> Bool = { _ in true }, _ help: String,
    _ details: String = ""
  ) {
    self.type = type
    definition = SettingDefinition(
      name: name, group: group, alias: alias, shapesTrajectory: shapesTrajectory,
      absenceMeansDefault: absenceMeansDefault, hasEffect: isEffective, help: help, details: details,
      expectation: type.expectation + (unit.map { " (\($0))" } ?? ""), placeholder: type.placeholder,
      choices: type.choices, isNumeric: type.isNumeric,
      accepted: { text in type.value(text).map(type.text) },
      defaultText: { type.text(basedDefault?($0) ?? value) })
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
