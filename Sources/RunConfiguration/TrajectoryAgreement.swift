import Diagnostics
import Optimization

/// A setting that shapes the trajectory and is not what it was when a checkpoint was written.
public struct SettingDifference: Sendable, Equatable, CustomStringConvertible {
  public let key: SettingKey
  /// The text in the checkpoint; `nil` if it says nothing about the setting.
  public let inCheckpoint: String?
  public let now: String
  public let origin: SettingOrigin

  /// "batch-size is 256 (--batch-size), was 512".
  public var description: String {
    "\(key.rawValue) is \(now) (\(origin)), was \(inCheckpoint ?? "not recorded")"
  }
}

extension ResolvedSettings {
  /// What a checkpoint records: the settings that shape the trajectory, in the order of the table. Paths and names of
  /// this host are not among them, so a model can be given away.
  public var checkpointPairs: [(key: String, value: String)] {
    entries.compactMap { entry in
      guard entry.definition.shapesTrajectory, let value = entry.value else { return nil }
      return (entry.definition.key.rawValue, value.text)
    }
  }

  /// The settings that would make a resumed run leave the trajectory of the checkpoint with these `pairs`.
  ///
  /// A setting without effect on either side is not compared: the factor of the step schedule under cosine, or the
  /// number of epochs where the learning rate does not depend on it, so that a finished run can be given more.
  public func differences(from pairs: [(key: String, value: String)]) -> [SettingDifference] {
    let recorded = Dictionary(pairs.map { ($0.key, $0.value) }, uniquingKeysWith: { _, last in last })
    return entries.compactMap { entry -> SettingDifference? in
      let key = entry.definition.key
      guard entry.definition.shapesTrajectory, let value = entry.value else { return nil }
      let inCheckpoint = recorded[key.rawValue]
      guard entry.definition.kind.value(parsing: inCheckpoint ?? "") != value else { return nil }
      let hasEffect = key.hasEffect { self.entry($0).value?.text } || key.hasEffect { recorded[$0.rawValue] }
      guard hasEffect else { return nil }
      return SettingDifference(key: key, inCheckpoint: inCheckpoint, now: value.text, origin: entry.origin)
    }
  }

  /// Refuses to go on from the checkpoint at `path` under settings that shape another trajectory.
  public func requireSameTrajectory(
    as pairs: [(key: String, value: String)], checkpoint path: String
  ) throws(Failure) {
    let differences = differences(from: pairs)
    guard !differences.isEmpty else { return }
    throw Failure(
      .badConfiguration, "cannot resume from \(path): the run would not be the same",
      found: differences.map(\.description).joined(separator: "; "),
      expected: "the settings of the checkpoint",
      remedy: "Give the same settings, or start a new run in a directory of its own")
  }
}

extension SettingKey {
  /// Whether the setting changes anything, given the texts of the others.
  fileprivate func hasEffect(among text: (SettingKey) -> String?) -> Bool {
    switch self {
    case .epochs: text(.schedule) == "cosine"
    case .stepEvery, .stepFactor: text(.schedule) == "step"
    case .momentumKind: text(.momentum) != "0"
    default: true
    }
  }
}
