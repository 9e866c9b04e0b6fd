import Diagnostics
import Optimization

/// A setting as one source gives it. The text is nil where a file has nothing behind the colon.
public typealias SettingLine = (name: String, text: String?, origin: SettingOrigin)

extension ResolvedSettings {
  /// Resolves every setting: defaults < run < file < environment < flags.
  ///
  /// - Parameters:
  ///   - names: the settings that the caller needs; nil for all. Variables of others, which need not fit the flags of this
  ///     process, are not read.
  ///   - document: that of the process that started this one, which takes the place of file and environment.
  ///   - file: a configuration file that has been read, if there is one.
  ///   - environment: all variables of the process. Those without our prefix are ignored, as are empty ones and those that
  ///     belong to others (`SettingTable.variables`).
  ///   - flags: names without dashes, and their texts, as they stood on the command line. Of a name that occurs
  ///     twice the last counts.
  ///   - warn: called with each variable that has our prefix and is no setting, as a sentence.
  ///   - run: the settings of the run that a start with this `resume` and `run-dir` continues; not asked with a document,
  ///     which contains them.
  /// - Throws: `usage` for a flag, `badConfiguration` for a file or variable that is unknown, of the wrong type, out of
  ///   bounds, or contradicts another; the message names the value, what is accepted and where it stood. `badConfiguration`
  ///   for a document that is none, or of another version.
  public static func resolve(
    only names: [String]? = nil, document: String? = nil, file: ConfigurationFile? = nil,
    environment: [String: String] = [:], flags: [(name: String, text: String)] = [],
    warn: (String) -> Void = { _ in },
    run: (ResumePolicy, _ directory: String?) throws(Failure) -> [SettingLine] = { _, _ in [] }
  ) throws(Failure) -> ResolvedSettings {
    var layers = Layers(environment: environment)
    if let document {
      try layers.add(document: document)
    } else {
      try layers.add("setting", file?.lines ?? []) { $0.name }
      let variables = SettingTable.variables(environment, only: names, warn: warn)
      let others = SettingTable.otherEnvironmentNames.sorted()
      try layers.add("environment variable", variables, others) { $0.environmentName }
    }
    try layers.add("flag", flags.map { ("--" + $0.name, $0.text, .flag("--" + $0.name)) }) { $0.flagName }
    if document == nil {
      try layers.add(run: run(layers.value(SettingTable.rows.resume), layers.value(SettingTable.rows.runDirectory)))
    }
    return try layers.settings()
  }

  /// All values that are not defaults, with their origins, as one line for a process of the same version: with it the
  /// process resolves to these settings, whatever they came from.
  public var document: String {
    let given = entries.filter { $0 != Self.defaultEntry($0.setting, basis) }
    let members = given.map {
      JSONValue.Member(
        $0.setting.name, .array([$0.text.map(JSONValue.string) ?? .null, .string($0.origin.description)]))
    }
    return JSONValue.object(members).compactText
  }

  fileprivate static func defaultEntry(_ setting: SettingDefinition, _ basis: DefaultBasis) -> Entry {
    Entry(setting: setting, text: setting.defaultText(basis), origin: .defaultValue)
  }
}

/// The values given so far, the later over the earlier.
private struct Layers {
  /// What paths in files and variables may refer to.
  let environment: [String: String]
  private var given: [String: ResolvedSettings.Entry] = [:]

  init(environment: [String: String]) { self.environment = environment }

  /// - Parameters:
  ///   - what: the kind of the names, for errors.
  ///   - others: names that are known and no settings.
  ///   - spelling: how a setting is spelt there.
  mutating func add(
    _ what: String, _ given: [SettingLine], _ others: [String] = [],
    spelling: (SettingDefinition) -> String
  ) throws(Failure) {
    for (name, text, origin) in given {
      guard let setting = SettingTable.all.first(where: { spelling($0) == name }) else {
        let hint = SettingTable.hint(for: name, others: others, spelling: spelling)
        // defence: misspelt
        throw Failure(
          origin.failureStatus, "\(origin.isFile ? "\(origin): " : "")unknown \(what) `\(name)`",
          remedy: hint ?? "List all settings with: descent config show")
      }
      try add(setting, expanded(text, setting, origin), origin)
    }
  }

  /// A path as its writer meant it; the shell has expanded those of flags.
  private func expanded(
    _ text: String?, _ setting: SettingDefinition, _ origin: SettingOrigin
  ) throws(Failure) -> String? {
    guard let text, setting.isPath, !origin.isFlag else { return text }
    // defence: paths
    return try expanding(text, environment, at: origin.place(of: setting))
  }

  mutating func add(document: String) throws(Failure) {
    let source = "the settings of the launch"
    for member in try JSONFields(parsing: Array(document.utf8), source: source).members {
      guard let pair = [String?](json: member.value), pair.count == 2, let origin = pair[1],
        let setting = SettingTable.setting(named: member.name)
      else { throw Failure(.badConfiguration, "\(source) are of another version: \"\(member.name.prefix(100))\"") }
      try add(setting, pair[0], SettingOrigin(description: origin))
    }
  }

  func value<Value>(_ row: Setting<Value>) -> Value {
    row.value(of: given[row.definition.name]?.text ?? row.definition.defaultText(DefaultBasis()))
  }

  /// Adds the settings of the run to be resumed, below what is given. A schedule that ends with the epochs of the run
  /// keeps its end when they change.
  mutating func add(run lines: [SettingLine]) throws(Failure) {
    var run = Layers(environment: environment)
    try run.add("setting", lines.filter { !ResolvedSettings.namesOfStart.contains($0.name) }) { $0.name }
    let row = SettingTable.rows.scheduleEpochs
    if let epochs = run.given["epochs"], let new = given["epochs"], new.text != epochs.text, run.value(row) == nil {
      run.given[row.definition.name] = .init(setting: row.definition, text: epochs.text, origin: epochs.origin)
    }
    given.merge(run.given) { given, _ in given }
  }

  /// `text` is nil where a file has nothing behind the colon: that is how to write "not set".
  mutating func add(_ setting: SettingDefinition, _ text: String?, _ origin: SettingOrigin) throws(Failure) {
    guard let accepted = setting.accepted(text) else {
      let found = text.map { "is \"\(Self.visible($0.prefix(100)))\"" + Self.alien(in: $0) } ?? "has no value"
      throw Failure(
        origin.failureStatus, "\(origin.place(of: setting)) must be \(setting.expectation), but \(found)",
        remedy: text.flatMap { setting.acceptableSpelling(of: $0) }.map { "Did you mean `\($0)`?" })
    }
    given[setting.name] = ResolvedSettings.Entry(setting: setting, text: accepted, origin: origin)
  }

  /// The text with escapes for what cannot be seen.
  private static func visible(_ text: Substring) -> String {
    text.unicodeScalars.map { $0.isInvisible ? $0.escaped(asASCII: true) : String($0) }.joined()
  }

  /// The first character that no value has and that may pass for another, for the end of a message.
  private static func alien(in text: String) -> String {
    let first = text.unicodeScalars.enumerated().first { !$1.isASCII || $1.isInvisible }
    return first.map { ", with \($0.element.codePointName) at character \($0.offset + 1)" } ?? ""
  }

  /// Every setting, with its default where nothing was given.
  func settings() throws(Failure) -> ResolvedSettings {
    let rows = SettingTable.rows
    let basis = DefaultBasis(loss: value(rows.loss), optimizer: value(rows.optimizer))
    let settings = ResolvedSettings(
      entries: SettingTable.all.map { given[$0.name] ?? ResolvedSettings.defaultEntry($0, basis) })
    try settings.requireAgreement()
    return settings
  }
}

// MARK: - Settings that must agree

extension ResolvedSettings {
  /// Checks what can be checked before the data set is known; the rest is in `TrainingPlan.validate()`.
  fileprivate func requireAgreement() throws(Failure) {
    try require(
      self.batchSize % self.shards == 0, \.batchSize, "must be a multiple of", \.shards, remedy: divisibleSizes)
    try require(self.workers <= self.shards, \.workers, "exceeds", \.shards)
    try require(self.minWorkers <= self.shards, \.minWorkers, "exceeds", \.shards)
    if case .bsp(let backup) = self.consistency {
      try require(backup < self.shards, \.consistency, "must have fewer backup shards than", \.shards)
    }
    try require(
      self.workers > 0 || self.consistency == .bsp(backup: 0), \.consistency,
      "must be bsp for the sequential trainer of", \.workers)
    try require(
      self.leaseSeconds >= 2 * self.heartbeatSeconds, \.leaseSeconds, "must be at least twice", \.heartbeatSeconds)
    try require(
      self.dropout == 0 || !self.hidden.isEmpty, \.dropout, "needs hidden layers:", \.hidden,
      remedy: "Give their units, as in --hidden 100")
    // Equal units have equal gradients and so stay equal (CS231n, "Neural Networks Part 2").
    let startsAtZero = initializationInUse == .normal && self.initialStandardDeviation == 0 && self.initFrom == nil
    try require(
      self.hidden.isEmpty || !startsAtZero, \.initialStandardDeviation, "keeps all units of a layer the same:",
      \.hidden, remedy: "Use --initialization \(Initialization(advisedFor: modelShape(of: .cifar10)))")
    // The config.yaml of a run names the weights that it began with.
    try require(
      self.initFrom == nil || [.auto, .never].contains(self.resume) || entry(\.initFrom).origin.isFile, \.initFrom,
      "starts a new run, and so excludes", \.resume)
    try require(
      self.schedule != .cosine || self.epochs <= horizonEpochs, \.epochs, "exceeds", \.scheduleEpochs,
      remedy: scheduleAdvice)
  }

  /// What to type when the epochs exceed the schedule.
  private var scheduleAdvice: String {
    let zero = "The learning rate of the cosine schedule is zero from there on"
    let source: String? = if case .checkpoint(let path) = self.resume { path } else { self.runDirectory }
    guard self.resume != .never, let source else { return "\(zero): leave out --schedule-epochs, or raise it" }
    let place = self.runDirectory.map { ["--run-dir", $0] } ?? []
    let stretched =
      ["descent", "train"] + place + ["--resume", entry(\.resume).text ?? "must", "--epochs", "\(self.epochs)"]
      + ["--schedule-epochs", "\(self.epochs)"]
    let file = source == self.runDirectory ? ["--config", "\(source)/config.yaml"] : []
    let new = ["descent", "train"] + file + ["--init-from", source, "--epochs", "\(self.epochs - horizonEpochs)"]
    return "\(zero). To stretch the schedule: \(shellCommand(stretched)). "
      + "To start a new run from these weights: \(shellCommand(new))"
  }

  /// "--batch-size 100 must be a multiple of --shards (16, the default)". It is an error of `row`, or of `other` if only
  /// that one was given.
  private func require(
    _ condition: Bool, _ row: KeyPath<SettingTable, Setting<some Any>>, _ relation: String,
    _ other: KeyPath<SettingTable, Setting<some Any>>, remedy: @autoclosure () -> String? = nil
  ) throws(Failure) {
    guard !condition else { return }
    let (first, second) = (entry(row), entry(other))
    let origin = second.origin.isFlag ? "" : ", \(second.origin.phrase)"
    throw Failure(
      (first.origin == .defaultValue ? second : first).origin.failureStatus,
      "\(first.phrase) \(relation) \(second.setting.flagName) (\(second.text ?? "not set")\(origin))",
      remedy: remedy())
  }

  /// "Use --batch-size 96 or 112, or --shards 10 or 20": the nearest values on either side that fit the other setting.
  private var divisibleSizes: String {
    let (batchSize, shards) = (self.batchSize, self.shards)
    let lower = batchSize / shards * shards
    let sizes = [lower, lower + shards].filter { $0 > 0 }
    let divisors = (max(1, self.workers)...max(self.workers, 1024)).filter { batchSize % $0 == 0 }
    let counts = [divisors.last { $0 < shards }, divisors.first { $0 > shards }].compactMap { $0 }
    func choice(_ values: [Int]) -> String { values.map { "\($0)" }.joined(separator: " or ") }
    return "Use --batch-size \(choice(sizes))" + (counts.isEmpty ? "" : ", or --shards \(choice(counts))")
  }
}
