import Diagnostics

extension ResolvedSettings {
  /// What a checkpoint records: the settings that shape the trajectory, in the order of the table. Paths and names of
  /// this host are not among them, so a model can be given away.
  public var checkpointPairs: [KeyValue] {
    entries.compactMap { entry in
      guard entry.setting.shapesTrajectory, let text = entry.text else { return nil }
      return KeyValue(entry.setting.name, text)
    }
  }

  /// Each setting that would make a resumed run leave the trajectory of the checkpoint with these `pairs`, as a sentence:
  /// "epochs differs: 24 (from --epochs), but the checkpoint was trained with 12".
  ///
  /// A setting without effect on either side is not compared: the factor of the step schedule under cosine, or the
  /// number of epochs where the learning rate does not depend on it, so that a finished run can be given more.
  public func differences(from pairs: [KeyValue]) -> [String] {
    var recorded = self
    var isRecorded = Set<String>()
    for (index, entry) in entries.enumerated() {
      guard entry.setting.shapesTrajectory, let pair = pairs.last(where: { $0.key == entry.setting.name }),
        let accepted = entry.setting.accepted(pair.value)
      else { continue }
      recorded.entries[index].text = accepted
      isRecorded.insert(pair.key)
    }
    return zip(entries, recorded.entries).compactMap { entry, then in
      let setting = entry.setting
      guard setting.shapesTrajectory, entry.text != then.text || !isRecorded.contains(setting.name),
        setting.hasEffect(self) || setting.hasEffect(recorded)
      else { return nil }
      let text = pairs.last { $0.key == setting.name }?.value
      return "\(setting.name) differs: \(entry.text ?? "not set") (\(entry.origin.phrase)), but the checkpoint "
        + (text.map { "was trained with \($0)" } ?? "does not record it")
    }
  }

  /// Refuses to resume from the checkpoint at `path` under settings that shape another trajectory.
  public func requireSameTrajectory(
    as pairs: [KeyValue], checkpoint path: String
  ) throws(Failure) {
    let differences = differences(from: pairs)
    guard !differences.isEmpty else { return }
    throw Failure(
      .badConfiguration, "cannot resume from \(path): " + differences.joined(separator: "; "),
      remedy: "Resume with the same settings, or start a new run in another --run-dir")
  }
}
