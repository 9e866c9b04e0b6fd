import Diagnostics
import Optimization

/// Where a value came from: the layers in rising precedence.
public enum SettingOrigin: Sendable, Equatable, CustomStringConvertible {
  case defaultValue
  case file(path: String, line: Int)
  /// The name of the variable.
  case environment(String)
  /// The flag, with its dashes.
  case flag(String)

  /// "default", "train.yaml:12", "DESCENT_SEED", "--seed".
  public var description: String {
    switch self {
    case .defaultValue: "default"
    case .file(let path, let line): "\(path):\(line)"
    case .environment(let name): name
    case .flag(let name): name
    }
  }
}

/// How processes on one host talk.
public enum Transport: String, Sendable, CaseIterable {
  /// Gradients and weights through memory that server and workers share, everything else as with `ipc`.
  case memory
  /// Unix-domain sockets in a directory that only this user can enter.
  case ipc
  case tcp
}

/// What to do about a run that is already there.
public enum ResumePolicy: Sendable, Equatable {
  /// Go on from the newest valid checkpoint if there is one, begin otherwise.
  case auto
  /// Go on from the newest valid checkpoint; fail if there is none.
  case must
  /// Begin; fail if the directory already holds a run.
  case never
  /// Go on from this checkpoint.
  case checkpoint(path: String)
}

/// The settings of a run: every one has a value and remembers where it came from.
///
/// The typed properties are what the program uses; the table, the layers and the texts are behind them.
public struct ResolvedSettings: Sendable, Equatable {
  /// One setting as resolved.
  public struct Entry: Sendable, Equatable {
    public let definition: SettingDefinition
    /// `nil` for a setting that is not set and has no default.
    public let value: SettingValue?
    public let origin: SettingOrigin
  }

  /// One entry for each setting, in the order of the table.
  public let entries: [Entry]
  private let indices: [SettingKey: Int]

  /// `entries` must be those of the whole table.
  init(entries: [Entry]) {
    precondition(entries.map(\.definition.key) == SettingKey.allCases)
    self.entries = entries
    self.indices = Dictionary(uniqueKeysWithValues: entries.indices.map { (entries[$0].definition.key, $0) })
  }

  public static func == (first: ResolvedSettings, second: ResolvedSettings) -> Bool {
    first.entries == second.entries
  }

  /// What `key` was resolved to.
  public func entry(_ key: SettingKey) -> Entry {
    guard let index = indices[key] else { preconditionFailure("no entry for \(key.rawValue)") }
    return entries[index]
  }

  /// Where the value of `key` came from.
  public func origin(of key: SettingKey) -> SettingOrigin { entry(key).origin }
}

// MARK: - Typed access

extension ResolvedSettings {
  /// Directory of the data set.
  ///
  /// - Throws: `missingInput` if nobody named one.
  public var dataDirectory: String {
    get throws(Failure) {
      if let directory = optionalText(.data) { return directory }
      throw Failure(
        .missingInput, "no data set is named", expected: "--data DIR",
        remedy: "Get CIFAR-10 with Scripts/fetch-cifar10.sh DIR, or make a set with: descent data synthesize DIR")
    }
  }
  public var validationExamples: Int { integer(.validationExamples) }
  public var shards: Int { integer(.shards) }
  public var seed: UInt64 { wholeInteger(.seed) }

  public var loss: Loss { Loss(settingName: text(.loss)) ?? .softmaxCrossEntropy }
  public var l2: Float { Float(number(.l2)) }
  public var initialStandardDeviation: Float { Float(number(.initialStandardDeviation)) }

  public var batchSize: Int { integer(.batchSize) }
  /// The learning rate after the warm-up, where the schedule starts.
  public var learningRate: Float { Float(number(.learningRate)) }
  public var schedule: LearningRateSchedule {
    switch text(.schedule) {
    case "constant": .constant
    case "step": .step(every: wholeInteger(.stepEvery), factor: Float(number(.stepFactor)))
    default: .cosine
    }
  }
  public var warmupSteps: UInt64 { wholeInteger(.warmupSteps) }
  public var momentum: Momentum {
    Momentum(
      coefficient: Float(number(.momentum)), kind: text(.momentumKind) == "nesterov" ? .nesterov : .polyak)
  }

  public var epochs: UInt64 { wholeInteger(.epochs) }
  /// `nil` where only the epochs bound the run.
  public var maxSteps: UInt64? { positive(wholeInteger(.maxSteps)) }
  /// As a fraction; `nil` when off.
  public var targetAccuracy: Double? { positive(number(.targetAccuracy)) }
  /// Evaluations; 0 when off.
  public var patience: Int { integer(.patience) }
  public var tolerance: Double { number(.tolerance) }
  /// `nil` when off.
  public var gradientNorm: Double? { positive(number(.gradientNorm)) }

  /// Worker processes; 0 for the sequential trainer.
  public var workers: Int { integer(.workers) }
  public var consistency: ConsistencyModel {
    guard case .consistency(let model) = entry(.consistency).value else { wrongKind(.consistency) }
    return model
  }
  public var transport: Transport { Transport(rawValue: text(.transport)) ?? .memory }
  /// The host that TCP listens on.
  public var bindHost: String { text(.bind) }
  /// The coordinator's; `nil` for any that is free.
  public var port: UInt16? { positive(UInt16(integer(.port))) }
  /// `nil` where processes do not know each other by keys.
  public var keyDirectory: String? { optionalText(.keys) }
  /// `nil` for the first of the role that is free.
  public var keyName: String? { optionalText(.key) }
  public var heartbeatSeconds: Double { number(.heartbeatSeconds) }
  public var leaseSeconds: Double { number(.leaseSeconds) }
  public var rendezvousSeconds: Double { number(.rendezvousSeconds) }

  /// `nil` where the run is to get a directory of its own under `runs/`.
  public var runDirectory: String? { optionalText(.runDirectory) }
  public var resume: ResumePolicy {
    switch text(.resume) {
    case "auto": .auto
    case "must": .must
    case "never": .never
    case let path: .checkpoint(path: path)
    }
  }
  /// Steps; 0 for only at the end.
  public var evaluateEvery: UInt64 { wholeInteger(.evaluateEvery) }
  /// Steps; 0 for only at the end.
  public var checkpointEvery: UInt64 { wholeInteger(.checkpointEvery) }
  /// `nil` when off.
  public var checkpointSeconds: Double? { positive(number(.checkpointSeconds)) }
  /// Checkpoints, besides the best one.
  public var keepLast: Int { integer(.keepLast) }

  // MARK: - By kind

  func text(_ key: SettingKey) -> String {
    guard let text = optionalText(key) else { wrongKind(key) }
    return text
  }

  func number(_ key: SettingKey) -> Double {
    guard case .number(let number) = entry(key).value else { wrongKind(key) }
    return number
  }

  private func optionalText(_ key: SettingKey) -> String? {
    switch entry(key).value {
    case .text(let text): text
    case nil: nil
    default: wrongKind(key)
    }
  }

  private func wholeInteger(_ key: SettingKey) -> UInt64 {
    guard case .integer(let integer) = entry(key).value else { wrongKind(key) }
    return integer
  }

  /// For settings whose bounds fit into an `Int`.
  private func integer(_ key: SettingKey) -> Int { Int(wholeInteger(key)) }

  /// Zero is how people write "off".
  private func positive<Number: Comparable & AdditiveArithmetic>(_ number: Number) -> Number? {
    number > .zero ? number : nil
  }

  private func wrongKind(_ key: SettingKey) -> Never {
    preconditionFailure("the table gives \(key.rawValue) another kind than its accessor")
  }
}
