import Diagnostics
import Glibc

/// Where a value came from: the default, a file, the environment or a flag, in rising precedence.
public struct SettingOrigin: Sendable, Equatable, CustomStringConvertible {
  /// "default", "train.yaml:12", "DESCENT_SEED", "--seed".
  public let description: String

  public static let defaultValue = SettingOrigin(description: "default")
  public static func file(path: String, line: Int) -> SettingOrigin { SettingOrigin(description: "\(path):\(line)") }
  public static func environment(_ name: String) -> SettingOrigin { SettingOrigin(description: name) }
  public static func flag(_ name: String) -> SettingOrigin { SettingOrigin(description: name) }
  public static func checkpoint(_ path: String) -> SettingOrigin {
    SettingOrigin(description: "\(path)/state.json:settings")
  }

  var isFlag: Bool { description.hasPrefix("--") }
  var isFile: Bool { description.contains(":") }
  /// For the beginning of a message: "--seed", "train.yaml:1: seed".
  func place(of setting: SettingDefinition) -> String { isFile ? "\(self): \(setting.name)" : description }
  /// In the middle of a message: "from --seed", "the default".
  var phrase: String { self == .defaultValue ? "the default" : "from \(self)" }
  /// A wrong flag is a usage error, anything else a wrong configuration.
  var failureStatus: ExitStatus { isFlag ? .usage : .badConfiguration }
}

/// The settings of a run: each has a value and remembers where it came from. `settings.batchSize` is the value of the
/// row `SettingTable.batchSize`, in its type.
@dynamicMemberLookup
public struct ResolvedSettings: Sendable, Equatable {
  /// One setting as resolved.
  public struct Entry: Sendable, Equatable {
    public let setting: SettingDefinition
    /// The canonical spelling of the value; nil for "not set".
    public internal(set) var text: String?
    public let origin: SettingOrigin

    /// For the beginning of a message: "--seed 7", "train.yaml:1: seed 7", "--seed (1, the default)".
    var phrase: String {
      origin == .defaultValue
        ? "--\(setting.name) (\(text ?? ""), the default)" : "\(origin.place(of: setting)) \(text ?? "")"
    }

    public static func == (first: Entry, second: Entry) -> Bool {
      first.setting.name == second.setting.name && first.text == second.text && first.origin == second.origin
    }
  }

  /// One entry for each setting, in the order of the table.
  public internal(set) var entries: [Entry]

  /// The value of a setting.
  public subscript<Value>(dynamicMember row: KeyPath<SettingTable, Setting<Value>>) -> Value {
    SettingTable.rows[keyPath: row].value(of: entry(row).text)
  }

  /// Where the value of a setting came from.
  public func origin(of row: KeyPath<SettingTable, Setting<some Any>>) -> SettingOrigin { entry(row).origin }

  func entry(_ row: KeyPath<SettingTable, Setting<some Any>>) -> Entry {
    let name = SettingTable.rows[keyPath: row].definition.name
    guard let entry = entries.first(where: { $0.setting.name == name }) else {
      preconditionFailure("no entry for \(name)")
    }
    return entry
  }

  var basis: DefaultBasis { DefaultBasis(loss: self.loss, optimizer: self.optimizer) }

  /// Directory of the data set.
  ///
  /// - Throws: `missingInput` if it is not set, or if a file names it and the working directory does not have it.
  public var dataDirectory: String {
    get throws(Failure) {
      let entry = entry(\.data)
      if let directory = entry.text {
        guard entry.origin.isFile, !directory.hasPrefix("/"), access(directory, F_OK) != 0 else { return directory }
        throw Failure(
          .missingInput, "\(entry.phrase) does not exist in the working directory",  // defence: relative-data
          remedy: "Start the command where it does, or write the full path")
      }
      throw Failure(
        .missingInput, "no data set given: pass --data DIR",
        remedy: "Get CIFAR-10 with Scripts/fetch-cifar10.sh DIR, or make a set with: descent data synthesize DIR")
    }
  }
}

// MARK: - Listings

extension ResolvedSettings {
  /// For people: a line for each setting with its value and where it came from, in columns under group headings.
  public var listing: String {
    let rows = entries.map { ($0, $0.setting.name, $0.text ?? "(not set)") }
    let nameWidth = rows.map(\.1.count).max() ?? 0
    let valueWidth = rows.map(\.2.count).filter { $0 <= 32 }.max() ?? 0
    var text = ""
    var group: SettingGroup?
    for (entry, name, value) in rows {
      if entry.setting.group != group {
        text += (group == nil ? "" : "\n") + entry.setting.group.rawValue + "\n"
        group = entry.setting.group
      }
      text += "  " + name.padded(to: nameWidth) + "  " + value.padded(to: valueWidth) + "  \(entry.origin)\n"
    }
    return text
  }

  /// The value of each setting, null for "not set", and where it came from: objects in the order of the table.
  package var values: JSONValue { .object(entries.map { JSONValue.Member($0.setting.name, $0.setting.json($0.text)) }) }
  package var origins: JSONValue {
    .object(entries.map { JSONValue.Member($0.setting.name, .string($0.origin.description)) })
  }

  /// For scripts: `{"data": {"value": null, "origin": "default"}, …}`, in the order of the table; a setting that is not
  /// set has the value null.
  public var json: String { jsonValue.indentedText }

  package var jsonValue: JSONValue {
    let members = entries.map { entry in
      JSONValue.Member(
        entry.setting.name,
        ["value": entry.setting.json(entry.text), "origin": .string(entry.origin.description)])
    }
    return .object(members)
  }

  /// The settings of one start and not of the run: where it is, what it continues, the key of one of its processes, and the
  /// steps that are traced.
  static let namesOfStart: Set<String> = ["run-dir", "resume", "key", "trace-steps"]

  /// A configuration file that starts another run with the same values, whatever the defaults become and wherever it is
  /// used.
  ///
  /// - Parameter workingDirectory: what the paths are relative to.
  public func yaml(workingDirectory: String) -> String {
    entries.filter { !Self.namesOfStart.contains($0.setting.name) }.map { entry in
      guard let text = entry.text else { return "# \(entry.setting.name):\n" }
      var value = text
      if entry.setting.isPath {
        if !text.hasPrefix("/") { value = "\(workingDirectory)/\(text)" }
        // The file is read with variables.
        value = value.replacing("$", with: "$$")
      }
      return "\(entry.setting.name): \(ConfigurationFile.scalar(value))\n"
    }.joined()
  }
}
