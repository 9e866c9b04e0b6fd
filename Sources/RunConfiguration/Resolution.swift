import Diagnostics
import Optimization

extension ResolvedSettings {
  /// Resolves every setting: defaults < file < environment < flags.
  ///
  /// - Parameters:
  ///   - file: a configuration file that has been read, if there is one.
  ///   - environment: all variables of the process; those without our prefix are not looked at.
  ///   - flags: names without dashes, and their texts, as they stood on the command line. Of a name that occurs
  ///     twice the last counts.
  /// - Throws: `usage` for a flag, `badConfiguration` for a file or variable that is unknown, of the wrong kind, out of
  ///   bounds, or does not agree with another; the message names what was found, what is accepted and where it stood.
  public static func resolve(
    file: ConfigurationFile? = nil, environment: [String: String] = [:],
    flags: [(name: String, text: String)] = []
  ) throws(Failure) -> ResolvedSettings {
    var layers = Layers()
    if let file { try layers.add(file) }
    try layers.add(environment: environment)
    try layers.add(flags: flags)
    let settings = ResolvedSettings(entries: layers.entries())
    try settings.requireAgreement()
    return settings
  }
}

/// The values given so far, the later over the earlier.
private struct Layers {
  private var given: [SettingKey: (value: SettingValue?, origin: SettingOrigin)] = [:]

  mutating func add(_ file: ConfigurationFile) throws(Failure) {
    for entry in file.entries {
      let origin = SettingOrigin.file(path: file.path, line: entry.line)
      guard let key = SettingKey(rawValue: entry.key) else {
        throw Self.unknown("setting", entry.key, at: origin, candidates: SettingKey.allCases.map(\.rawValue))
      }
      try add(key, entry.value, origin)
    }
  }

  mutating func add(environment: [String: String]) throws(Failure) {
    // In the order of the names, so that of several mistakes the same one is always reported.
    let ours = environment.keys.filter { $0.hasPrefix(SettingKey.environmentPrefix) }.sorted()
    for name in ours where !SettingKey.otherEnvironmentNames.contains(name) {
      let origin = SettingOrigin.environment(name)
      guard let key = SettingKey.allCases.first(where: { $0.environmentName == name }) else {
        let candidates = SettingKey.allCases.map(\.environmentName) + SettingKey.otherEnvironmentNames.sorted()
        throw Self.unknown("environment variable", name, at: origin, candidates: candidates)  // defence: misspelt
      }
      try add(key, environment[name], origin)
    }
  }

  mutating func add(flags: [(name: String, text: String)]) throws(Failure) {
    for flag in flags {
      guard let key = SettingKey(rawValue: flag.name) else {
        let name = "--" + flag.name
        throw Self.unknown("flag", name, at: .flag(name), candidates: SettingKey.allCases.map(\.flagName))
      }
      try add(key, flag.text, .flag(key.flagName))
    }
  }

  /// `text` is `nil` where a file has nothing behind the colon: that is how to say "not set", where it can be.
  private mutating func add(_ key: SettingKey, _ text: String?, _ origin: SettingOrigin) throws(Failure) {
    let definition = SettingDefinition.of(key)
    if text == nil, definition.defaultValue == .unset {
      given[key] = (nil, origin)
    } else if let text, let value = definition.kind.value(parsing: text) {
      given[key] = (value, origin)
    } else {
      throw Failure(
        origin.failureStatus, key.message(at: origin), found: text.map { "\"\($0.prefix(100))\"" } ?? "nothing",
        expected: definition.expectation)
    }
  }

  private static func unknown(
    _ what: String, _ name: String, at origin: SettingOrigin, candidates: [String]
  ) -> Failure {
    let message = if case .file = origin { "\(origin): unknown \(what) `\(name)`" } else { "unknown \(what) \(name)" }
    let suggestion = Suggestion.nearest(to: name, among: candidates).map { "Did you mean `\($0)`?" }
    return Failure(
      origin.failureStatus, message, remedy: suggestion ?? "`descent config show` lists what there is")
  }

  /// Every setting, with its default where nothing was given.
  func entries() -> [ResolvedSettings.Entry] {
    let isHinge = given[.loss]?.value == .text(Loss.hinge.settingName)
    return SettingDefinition.all.map { definition in
      if let (value, origin) = given[definition.key] {
        return ResolvedSettings.Entry(definition: definition, value: value, origin: origin)
      }
      let value: SettingValue? =
        switch definition.defaultValue {
        case .unset: nil
        case .value(let value): value
        case .byLoss(let softmax, let svm): isHinge ? svm : softmax
        }
      return ResolvedSettings.Entry(definition: definition, value: value, origin: .defaultValue)
    }
  }
}

extension SettingOrigin {
  /// A wrong flag is a usage error, anything else a wrong configuration.
  var failureStatus: ExitStatus {
    if case .flag = self { .usage } else { .badConfiguration }
  }
}

extension SettingKey {
  /// How a message begins that is about this setting as given at `origin`.
  func message(at origin: SettingOrigin) -> String {
    switch origin {
    case .defaultValue: "\(rawValue) (default)"
    case .file: "\(origin): \(rawValue)"
    case .environment, .flag: origin.description
    }
  }
}

// MARK: - Settings that must agree

extension ResolvedSettings {
  /// Checks what can be checked before the data set is known; the rest is in `TrainingPlan.validate()`.
  private func requireAgreement() throws(Failure) {
    try require(
      batchSize % shards == 0, .batchSize, "a multiple of the \(described(.shards))", with: .shards)
    try require(
      workers <= shards, .workers, "no more workers than the \(described(.shards))", with: .shards)
    if case .bsp(let backup) = consistency {
      try require(
        backup < shards, .consistency, "fewer backup shards than the \(described(.shards))", with: .shards)
    }
    if workers == 0 {
      try require(
        consistency == .bsp(backup: 0), .consistency,
        "bsp, as the sequential trainer has nobody to wait for (\(described(.workers)))", with: .workers)
    }
    try require(
      leaseSeconds >= 2 * heartbeatSeconds, .leaseSeconds, "at least twice the \(described(.heartbeatSeconds))",
      with: .heartbeatSeconds)
  }

  /// Blames `key`, or `other` if only that one was given: a default is never at fault.
  private func require(
    _ condition: Bool, _ key: SettingKey, _ expected: String, with other: SettingKey
  ) throws(Failure) {
    guard !condition else { return }
    let culprit = origin(of: key) == .defaultValue ? origin(of: other) : origin(of: key)
    throw Failure(
      culprit.failureStatus, key.message(at: origin(of: key)), found: entry(key).value?.text, expected: expected)
  }

  /// "shards 16 (default)".
  private func described(_ key: SettingKey) -> String {
    "\(key.rawValue) \(entry(key).value?.text ?? "") (\(origin(of: key)))"
  }
}
