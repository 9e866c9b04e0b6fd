import Optimization

/// What a setting accepts, and how its text is read and written.
public struct SettingType<Value: Sendable>: Sendable {
  /// For messages and the reference: "an integer from 1 to 1024".
  let expectation: String
  let placeholder: String
  var choices: [String] = []
  var isNumeric = false
  /// What "not set" stands for; nil where there must be a value.
  var unset: Value?
  /// Nil for a text of another type or out of bounds.
  let parse: @Sendable (String) -> Value?
  /// Nil for "not set".
  let text: @Sendable (Value) -> String?

  /// The value of a text, or of none.
  func value(_ text: String?) -> Value? { text.map(parse) ?? unset }
}

extension SettingType where Value: FixedWidthInteger {
  /// Decimal digits only: no sign, no separators.
  static func integer(_ bounds: ClosedRange<Value>) -> SettingType {
    SettingType(
      expectation: "an integer from \(bounds.lowerBound) to \(bounds.upperBound)", placeholder: "n", isNumeric: true,
      parse: { text in
        guard text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
        return Value(text).flatMap { bounds.contains($0) ? $0 : nil }
      },
      text: { String($0) })
  }
}

extension SettingType where Value == Double {
  static func number(_ bounds: ClosedRange<Double>) -> SettingType {
    number("from \(decimal(bounds.lowerBound)) to \(decimal(bounds.upperBound))") { bounds.contains($0) }
  }

  static func number(_ bounds: Range<Double>) -> SettingType {
    number("from \(decimal(bounds.lowerBound)) up to but not including \(decimal(bounds.upperBound))") {
      bounds.contains($0)
    }
  }

  static func number(above lower: Double, upTo upper: Double) -> SettingType {
    number("above \(decimal(lower)), up to \(decimal(upper))") { $0 > lower && $0 <= upper }
  }

  private static func number(_ bounds: String, _ contains: @escaping @Sendable (Double) -> Bool) -> SettingType {
    SettingType(
      expectation: "a number \(bounds)", placeholder: "x", isNumeric: true,
      parse: { text in
        // Only decimal spellings: Swift also reads "nan", "inf" and hexadecimal.
        guard text.utf8.allSatisfy({ "0123456789+-.eE".utf8.contains($0) }) else { return nil }
        guard let number = Double(text), number.isFinite, contains(number) else { return nil }
        // Adding zero turns a negative zero into the usual one.
        return number + 0
      },
      text: { decimal($0) })
  }

  /// The shortest decimal that reads back as the same number, without a fraction of zero.
  private static func decimal(_ number: Double) -> String {
    let text = number.description
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
  }
}

extension SettingType {
  /// The numbers of `type`, of which 0 means "off", "none" or "any".
  static func positive<Number: Numeric & Comparable & Sendable>(
    _ type: SettingType<Number>
  ) -> SettingType where Value == Number? {
    SettingType(
      expectation: type.expectation, placeholder: type.placeholder, isNumeric: true,
      parse: { text in type.parse(text).map { $0 > .zero ? $0 : nil } }, text: { type.text($0 ?? .zero) })
  }
}

extension SettingType where Value == UInt64? {
  /// A number of steps; nil for one epoch.
  static var stepsOrEpoch: SettingType {
    let steps = SettingType<UInt64>.integer(0...1_000_000_000)
    return SettingType(
      expectation: "epoch or \(steps.expectation)", placeholder: "n|epoch", choices: ["epoch"], isNumeric: true,
      parse: { text in text == "epoch" ? .some(nil) : steps.parse(text).map { .some($0) } },
      text: { $0.map { "\($0)" } ?? "epoch" })
  }
}

/// A type whose values have names in settings.
public protocol SettingChoice: CaseIterable, Sendable {
  var settingName: String { get }
}

extension SettingChoice {
  public var settingName: String { "\(self)" }
}

extension Loss: SettingChoice {}
extension Reduction: SettingChoice {}
extension Initialization: SettingChoice {}
extension Activation: SettingChoice {
  /// Those with a parameter have its default.
  public static var allCases: [Activation] { all }
}
extension Preprocessing: SettingChoice {}
extension LearningRateSchedule.Kind: SettingChoice {}
extension Optimizer.Kind: SettingChoice {}

/// Which of the two momentum updates plain `sgd` makes.
public enum MomentumKind: Sendable, SettingChoice {
  case polyak, nesterov
}

/// How the processes of one host communicate.
public enum Transport: Sendable, SettingChoice {
  /// Gradients and weights through memory shared by server and workers, everything else as with `ipc`.
  case memory
  /// Unix-domain sockets in a directory that only this user can enter.
  case ipc
  case tcp
}

/// A part of the training examples, in the order that the seed gives them, that is held out for validation.
public struct ValidationFold: Sendable, Equatable {
  /// Of the equal parts; at most `largestCount`.
  public var count: Int
  /// From 1 to `count`.
  public var number: Int

  static let largestCount = 1000

  /// Where its examples stand among `exampleCount`. The sizes of two folds differ by at most one.
  func positions(among exampleCount: Int) -> Range<Int> {
    exampleCount * (number - 1) / count..<exampleCount * number / count
  }
}

extension SettingType where Value == ValidationFold? {
  static var validationFold: SettingType {
    let counts = SettingType<Int>.integer(2...ValidationFold.largestCount)
    return SettingType(
      expectation: "K/N, the K-th of N parts, with N from 2 to \(ValidationFold.largestCount)", placeholder: "k/n",
      unset: .some(nil),
      parse: { text in
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, let count = counts.parse(parts[1]),
          let number = SettingType<Int>.integer(1...count).parse(parts[0])
        else { return nil }
        return ValidationFold(count: count, number: number)
      },
      text: { $0.map { "\($0.number)/\($0.count)" } })
  }
}

extension SettingType where Value == ClosedRange<UInt64>? {
  /// The longest range that can be given.
  public static var longestStepRange: UInt64 { 65_536 }

  /// Steps from 1 on, both ends included.
  static var stepRange: SettingType {
    let step = SettingType<UInt64>.integer(1...1_000_000_000_000)
    return SettingType(
      expectation: "A..B, the first and the last of at most \(longestStepRange) steps, counted from 1",
      placeholder: "a..b", unset: .some(nil),
      parse: { text in
        let ends = text.split(separator: "..", omittingEmptySubsequences: false).map { step.parse(String($0)) }
        guard ends.count == 2, let first = ends[0], let last = ends[1], first <= last, last - first < longestStepRange
        else { return nil }
        return first...last
      },
      text: { $0.map { "\($0.lowerBound)..\($0.upperBound)" } })
  }
}

/// When a run evaluates on the test split.
public enum TestPolicy: Sendable, SettingChoice {
  case end, never
}

/// Whether a run writes event files for TensorBoard.
public enum EventFilesPolicy: Sendable, SettingChoice {
  case on, off
}

/// The signal by which a scheduler says that it is about to end a run.
public enum WarningSignal: Sendable, SettingChoice {
  case term, usr1, usr2

  public var settingName: String { "\(self)".uppercased() }
}

extension SettingType where Value == WarningSignal {
  /// Schedulers write it with and without SIG.
  static var warningSignal: SettingType {
    let choice = SettingType.choice
    return SettingType(
      expectation: choice.expectation, placeholder: choice.placeholder, choices: choice.choices,
      parse: { text in choice.parse(text.hasPrefix("SIG") ? String(text.dropFirst(3)) : text) }, text: choice.text)
  }
}

extension SettingType where Value: SettingChoice {
  static var choice: SettingType {
    let names = Value.allCases.map(\.settingName)
    return SettingType(
      expectation: names.dropLast().joined(separator: ", ") + " or " + (names.last ?? ""),
      placeholder: names.joined(separator: "|"), choices: names,
      parse: { text in Value.allCases.first { $0.settingName == text } }, text: { $0.settingName })
  }
}

extension SettingType where Value == Initialization? {
  /// Nil for what the model asks for.
  static var initialization: SettingType {
    let choice = SettingType<Initialization>.choice
    let names = ["auto"] + choice.choices
    return SettingType(
      expectation: "auto, \(choice.expectation)", placeholder: names.joined(separator: "|"), choices: names,
      parse: { $0 == "auto" ? .some(nil) : choice.parse($0).map { .some($0) } }, text: { $0?.settingName ?? "auto" })
  }
}

extension SettingType where Value == [Int] {
  /// Numbers of units, that of the layer next to the pixels first; none for a linear classifier.
  static var hiddenLayers: SettingType {
    let units = SettingType<Int>.integer(1...1_048_576)
    return SettingType(
      expectation: "the units of at most \(ModelShape.maximumHiddenLayers) layers, separated by commas, or 0",
      placeholder: "n,n", unset: [],
      parse: { text in
        if text == "0" { return [] }
        let layers = text.split(separator: ",", omittingEmptySubsequences: false).map { units.parse(String($0)) }
        let known = layers.compactMap(\.self)
        return known.count == layers.count && known.count <= ModelShape.maximumHiddenLayers ? known : nil
      },
      text: { $0.isEmpty ? nil : $0.map(String.init).joined(separator: ",") })
  }
}

extension SettingType where Value == ConsistencyModel {
  static var consistency: SettingType {
    SettingType(
      expectation: "bsp, bsp:backup=B, ssp:S or asp", placeholder: "model",
      parse: { ConsistencyModel(parsing: $0) }, text: { $0.description })
  }
}

/// Whether to begin a run or to resume one. A resumed run has the settings of the run, unless they are given.
public enum ResumePolicy: Sendable, Equatable {
  /// Resume from the newest valid checkpoint if there is one, begin otherwise.
  case auto
  /// Resume from the newest valid checkpoint; fail if there is none.
  case must
  /// Begin; fail if the directory already contains a run.
  case never
  /// Resume from this checkpoint; in another run directory, as a copy of its run.
  case checkpoint(path: String)
}

extension SettingType where Value == ResumePolicy {
  static var resume: SettingType {
    let names: KeyValuePairs<String, ResumePolicy> = ["auto": .auto, "must": .must, "never": .never]
    return SettingType(
      expectation: "auto, must, never or the path of a checkpoint", placeholder: "policy", choices: names.map(\.key),
      parse: { text in names.first { $0.key == text }?.value ?? (isName(text) ? .checkpoint(path: text) : nil) },
      text: { policy in
        if case .checkpoint(let path) = policy { path } else { names.first { $0.value == policy }?.key }
      })
  }
}

extension SettingType where Value == String {
  /// An IPv6 address may stand in brackets. Whether there is such a host is for the transport.
  static var host: SettingType {
    SettingType(
      expectation: "a host name, an address or a network interface, without a port", placeholder: "host",
      parse: { text in
        // defence: brackets
        let name = text.hasPrefix("[") && text.hasSuffix("]") ? String(text.dropFirst().dropLast()) : text
        guard isName(name), !name.contains(where: { $0.isWhitespace || "/[]@".contains($0) }) else { return nil }
        // One colon would separate a port; an IPv6 address has two at least.
        return name.count { $0 == ":" } == 1 ? nil : name
      },
      text: { $0 })
  }
}

extension SettingType where Value == String? {
  /// The same; nil for none.
  static var hostIfGiven: SettingType {
    let host = SettingType<String>.host
    return SettingType(
      expectation: host.expectation, placeholder: host.placeholder, unset: .some(nil),
      parse: { text in host.parse(text).map { .some($0) } }, text: { $0 })
  }

  static var path: SettingType { name("a path", "path") }
  /// The transport knows which names there are.
  static var keyName: SettingType { name("coordinator, server, worker-NAME or observer-NAME", "name") }

  private static func name(_ expectation: String, _ placeholder: String) -> SettingType {
    SettingType(
      expectation: expectation, placeholder: placeholder, unset: .some(nil),
      parse: { isName($0) ? .some($0) : nil }, text: { $0 })
  }
}

/// Whether a path, host or name can be this text. Blanks other than spaces and marks that cannot be seen, such as the carriage
/// return of a file from Windows, belong to no end of one.
private func isName(_ text: String) -> Bool {
  let ends = [text.unicodeScalars.first, text.unicodeScalars.last].compactMap(\.self)
  return !ends.isEmpty && !text.utf8.contains(0)
    && !ends.contains { $0 != " " && ($0.properties.isWhitespace || $0.properties.generalCategory == .format) }
}
