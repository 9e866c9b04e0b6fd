import ArgumentParser
import Diagnostics
import FoundationEssentials
import NodeRuntime
import Reporting
import RunConfiguration

/// The one decision about security that is no setting: it cannot be left behind in a file or a variable.
struct ExposureOptions: ParsableArguments {
  static let flag = "--insecure-plaintext-beyond-this-host"

  @Flag(
    name: .customLong("insecure-plaintext-beyond-this-host"),
    help: "Accept connections from other hosts without keys: anyone on the network can read, forge and stop the run.")
  var allowsPlaintext = false
}

/// Which settings a command takes as flags.
protocol SettingSelection: Sendable {
  static var names: [String] { get }
}

extension SettingSelection {
  static var settings: [SettingDefinition] { names.compactMap { SettingTable.setting(named: $0) } }
}

/// The flags of the selected settings, derived from their rows. Their texts go to the table of settings, which knows types
/// and bounds, so that a flag, a variable and a line of a file are checked by the same rule and named in the same words.
///
/// ArgumentParser finds the flags of a type by reflection of `init()` and decodes each under the label of its child; the
/// children here are made instead of declared.
struct SettingFlags<Selection: SettingSelection>: ParsableArguments, CustomReflectable {
  /// What was given on the command line.
  private(set) var given: [(name: String, text: String)] = []

  init() {}

  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: SettingName.self)
    given = try Selection.settings.compactMap { setting in
      try container.decodeIfPresent(String.self, forKey: SettingName(stringValue: setting.name)).map {
        (setting.name, $0)
      }
    }
  }

  var customMirror: Mirror {
    Mirror(self, children: Selection.settings.map { (label: $0.name, value: Self.option($0)) })
  }

  private static func option(_ setting: SettingDefinition) -> Option<String?> {
    let names = [setting.name] + (setting.alias.map { [$0] } ?? [])
    let completion: CompletionKind? =
      setting.placeholder == "path" ? .directory : setting.choices.isEmpty ? nil : .list(setting.choices)
    // So that the number of `--l2 -1` is out of bounds, and not an option.
    let isNumber = ["n", "x"].contains(setting.placeholder)
    return Option(
      name: NameSpecification(names.map { NameSpecification.Element.customLong($0) }),
      parsing: isNumber ? .unconditional : .next,
      help: ArgumentHelp(setting.flagHelp, valueName: setting.placeholder), completion: completion)
  }

  private struct SettingName: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }

    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }
}

/// The settings under one heading.
protocol GroupSelection: SettingSelection {
  static var group: SettingGroup { get }
}

extension GroupSelection {
  static var names: [String] { SettingTable.all.filter { $0.group == group }.map(\.name) }
}

/// The flags of all settings.
struct SettingsOptions: ParsableArguments {
  enum Data: GroupSelection { static let group = SettingGroup.data }
  enum Model: GroupSelection { static let group = SettingGroup.model }
  enum Optimization: GroupSelection { static let group = SettingGroup.optimization }
  enum Stopping: GroupSelection { static let group = SettingGroup.stopping }
  enum Cluster: GroupSelection { static let group = SettingGroup.cluster }
  enum Run: GroupSelection { static let group = SettingGroup.run }

  @Option(
    help: "YAML file with settings; flags and DESCENT_ variables override it.", completion: .file(extensions: ["yaml"]))
  var config: String?
  @OptionGroup(title: Data.group.rawValue) var data: SettingFlags<Data>
  @OptionGroup(title: Model.group.rawValue) var model: SettingFlags<Model>
  @OptionGroup(title: Optimization.group.rawValue) var optimization: SettingFlags<Optimization>
  @OptionGroup(title: Stopping.group.rawValue) var stopping: SettingFlags<Stopping>
  @OptionGroup(title: Cluster.group.rawValue) var cluster: SettingFlags<Cluster>
  @OptionGroup(title: Run.group.rawValue) var run: SettingFlags<Run>

  /// What was given on the command line.
  var flags: [(name: String, text: String)] {
    data.given + model.given + optimization.given + stopping.given + cluster.given + run.given
  }

  /// Defaults, the run to be resumed, file, environment and flags in rising precedence; `overrides` count as flags.
  ///
  /// - Parameters:
  ///   - document: takes the place of file and environment.
  ///   - isQuiet: says nothing of flags that stand there twice and of variables that are no settings.
  func resolve(
    document: String? = nil, overriding overrides: [(name: String, text: String)] = [], isQuiet: Bool = false
  ) throws(Failure) -> ResolvedSettings {
    let file = try config.map { path throws(Failure) in try ConfigurationFile(readingFrom: path) }
    if !isQuiet, document == nil { Self.repeatedFlags(CommandLine.arguments).forEach(warn) }
    return try ResolvedSettings.resolve(
      document: document, file: file, environment: ProcessInfo.processInfo.environment, flags: flags + overrides,
      warn: isQuiet ? { _ in } : warn, run: settingsOfRun)
  }

  /// Each flag that stands on the command line with several values, as a sentence.
  private static func repeatedFlags(_ arguments: [String]) -> [String] {
    let flags = [["--config"]] + SettingTable.all.map { [$0.flagName] + ($0.alias.map { ["--" + $0] } ?? []) }
    return flags.compactMap { names in
      let values = arguments.indices.compactMap { index -> String? in
        let parts = arguments[index].split(separator: "=", maxSplits: 1).map(String.init)
        guard let name = parts.first, names.contains(name) else { return nil }
        return parts.count == 2 ? parts[1] : arguments[(index + 1)...].first
      }
      guard let last = values.last, values.contains(where: { $0 != last }) else { return nil }
      // defence: repeated-flags
      return "\(names[0]) is given \(values.count) times: \(last.prefix(100)) counts"
    }
  }
}

/// On standard error.
func warn(_ sentence: String) { StandardError.write(message: "descent: warning: \(sentence)") }

/// The data set of a command that needs no other setting: that of its flag, or of the environment.
///
/// - Throws: `missingInput` if there is none.
func dataDirectory(_ flag: String?) throws(Failure) -> String {
  try ResolvedSettings.resolve(
    only: ["data"], environment: ProcessInfo.processInfo.environment, flags: flag.map { [("data", $0)] } ?? []
  ).dataDirectory
}
