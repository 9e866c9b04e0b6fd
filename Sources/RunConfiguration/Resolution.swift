import Diagnostics
import JSONText
import Optimization

extension ResolvedSettings {
  /// Resolves every setting: defaults < file < environment < flags.
  ///
  /// - Parameters:
  ///   - file: a configuration file that has been read, if there is one.
  ///   - environment: all variables of the process; those without our prefix are ignored.
  ///   - flags: names without dashes, and their texts, as they stood on the command line. Of a name that occurs
  ///     twice the last counts.
  /// - Throws: `usage` for a flag, `badConfiguration` for a file or variable that is unknown, of the wrong type, out of
  ///   bounds, or contradicts another; the message names the value, what is accepted and where it stood.
  public static func resolve(
    file: ConfigurationFile? = nil, environment: [String: String] = [:],
    flags: [(name: String, text: String)] = []
  ) throws(Failure) -> ResolvedSettings {
    var layers = Layers()
    if let file { try layers.add(file) }
    try layers.add(environment: environment)
    try layers.add(flags: flags)
    return try layers.settings()
  }

  /// Resolves from the `document` of another process and flags over it; file and environment of this one do not count.
  ///
  /// - Throws: as above, and `badConfiguration` for a document that is none, or of another version.
  public static func resolve(
    document: String, flags: [(name: String, text: String)] = []
  ) throws(Failure) -> ResolvedSettings {
    var layers = Layers()
    try layers.add(document: document)
    try layers.add(flags: flags)
    return try layers.settings()
  }

  /// All values that are not defaults, with their origins, as one line for a process of the same version: with it the
  /// process resolves to these settings, whatever they came from.
  public var document: String {
    let given = entries.filter { $0 != Self.defaultEntry($0.setting, loss: self.loss) }
    let members = given.map {
      JSONValue.Member($0.setting.name, .array([.string(orNull: $0.text), .string($0.origin.description)]))
    }
    return JSONValue.object(members).compactText
  }

  fileprivate static func defaultEntry(_ setting: SettingDefinition, loss: Loss) -> Entry {
    Entry(setting: setting, text: setting.defaultText(loss), origin: .defaultValue)
  }
}

/// The values given so far, the later over the earlier.
private struct Layers {
  private var given: [String: ResolvedSettings.Entry] = [:]

  mutating func add(_ file: ConfigurationFile) throws(Failure) {
    for entry in file.entries {
      let origin = SettingOrigin.file(path: file.path, line: entry.line)
      guard let setting = SettingTable.setting(named: entry.key) else {
        throw Self.unknown("setting", entry.key, at: origin) { $0.name }
      }
      try add(setting, entry.value, origin)
    }
  }

  mutating func add(environment: [String: String]) throws(Failure) {
    // In the order of the names, so that of several mistakes the same one is always reported.
    let ours = environment.keys.filter { $0.hasPrefix(SettingTable.environmentPrefix) }.sorted()
    for name in ours where !SettingTable.otherEnvironmentNames.contains(name) {
      let origin = SettingOrigin.environment(name)
      guard let setting = SettingTable.all.first(where: { $0.environmentName == name }) else {
        let others = SettingTable.otherEnvironmentNames.sorted()
        // defence: misspelt
        throw Self.unknown("environment variable", name, at: origin, others) { $0.environmentName }
      }
      try add(setting, environment[name], origin)
    }
  }

  mutating func add(document: String) throws(Failure) {
    let source = "the settings of the launch"
    let fields = try JSONFields(JSONReader.parse(Array(document.utf8)[...], source: source), context: source)
    for member in fields.members {
      guard case .array(let pair) = member.value, pair.count == 2, case .string(let origin) = pair[1],
        let setting = SettingTable.setting(named: member.name)
      else { throw Failure(.badConfiguration, "\(source) are of another version: \"\(member.name.prefix(100))\"") }
      let text: String? = if case .string(let text) = pair[0] { text } else { nil }
      try add(setting, text, SettingOrigin(description: origin))
    }
  }

  mutating func add(flags: [(name: String, text: String)]) throws(Failure) {
    for flag in flags {
      guard let setting = SettingTable.setting(named: flag.name) else {
        throw Self.unknown("flag", "--" + flag.name, at: .flag("--" + flag.name)) { $0.flagName }
      }
      try add(setting, flag.text, .flag(setting.flagName))
    }
  }

  /// `text` is nil where a file has nothing behind the colon: that is how to write "not set".
  mutating func add(_ setting: SettingDefinition, _ text: String?, _ origin: SettingOrigin) throws(Failure) {
    guard let accepted = setting.accepted(text) else {
      let place = origin.isFile ? "\(origin): \(setting.name)" : "\(origin)"
      let found = text.map { "is \"\($0.prefix(100))\"" } ?? "has no value"
      throw Failure(origin.failureStatus, "\(place) must be \(setting.expectation), but \(found)")
    }
    given[setting.name] = ResolvedSettings.Entry(setting: setting, text: accepted.text, origin: origin)
  }

  private static func unknown(
    _ what: String, _ name: String, at origin: SettingOrigin, _ others: [String] = [],
    spelling: (SettingDefinition) -> String
  ) -> Failure {
    let place = origin.isFile ? "\(origin): " : ""
    let candidates = SettingTable.all.map(spelling) + others
    let meant =
      SettingTable.all.first { $0.alias == name }.map(spelling) ?? Suggestion.nearest(to: name, among: candidates)
    return Failure(
      origin.failureStatus, "\(place)unknown \(what) `\(name)`",
      remedy: meant.map { "Did you mean `\($0)`?" } ?? "List all settings with: descent config show")
  }

  /// Every setting, with its default where nothing was given.
  func settings() throws(Failure) -> ResolvedSettings {
    let row = SettingTable.rows.loss
    let loss = row.value(of: given["loss"]?.text ?? row.definition.defaultText(.softmaxCrossEntropy))
    let settings = ResolvedSettings(
      entries: SettingTable.all.map { given[$0.name] ?? ResolvedSettings.defaultEntry($0, loss: loss) })
    try settings.requireAgreement()
    return settings
  }
}

// MARK: - Settings that must agree

extension ResolvedSettings {
  /// Checks what can be checked before the data set is known; the rest is in `TrainingPlan.validate()`.
  fileprivate func requireAgreement() throws(Failure) {
    try require(self.batchSize % self.shards == 0, \.batchSize, "must be a multiple of", \.shards)
    try require(self.workers <= self.shards, \.workers, "exceeds", \.shards)
    if case .bsp(let backup) = self.consistency {
      try require(backup < self.shards, \.consistency, "must have fewer backup shards than", \.shards)
    }
    try require(
      self.workers > 0 || self.consistency == .bsp(backup: 0), \.consistency,
      "must be bsp for the sequential trainer of", \.workers)
    try require(
      self.leaseSeconds >= 2 * self.heartbeatSeconds, \.leaseSeconds, "must be at least twice", \.heartbeatSeconds)
  }

  /// "--batch-size 100 must be a multiple of --shards (16, the default)". It is an error of `row`, or of `other` if only
  /// that one was given.
  private func require(
    _ condition: Bool, _ row: KeyPath<SettingTable, Setting<some Any>>, _ relation: String,
    _ other: KeyPath<SettingTable, Setting<some Any>>
  ) throws(Failure) {
    guard !condition else { return }
    let (first, second) = (entry(row), entry(other))
    let (name, text) = (first.setting.name, first.text ?? "")
    let subject =
      first.origin == .defaultValue
      ? "--\(name) (\(text), the default)"
      : first.origin.isFile ? "\(first.origin): \(name) \(text)" : "\(first.origin) \(text)"
    let origin = second.origin.isFlag ? "" : ", \(second.origin.phrase)"
    throw Failure(
      (first.origin == .defaultValue ? second : first).origin.failureStatus,
      "\(subject) \(relation) \(second.setting.flagName) (\(second.text ?? "")\(origin))")
  }
}
