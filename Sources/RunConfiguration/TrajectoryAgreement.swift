import Diagnostics
import Optimization

extension ResolvedSettings {
  /// What a checkpoint records: the settings that shape the trajectory, in the order of the table. Paths and names of
  /// this host are not among them, so a model can be given away.
  public var checkpointPairs: [KeyValue] {
    entries.compactMap { entry in
      guard entry.setting.shapesTrajectory, let text = entry.text else { return nil }
      return KeyValue(entry.setting.name, text)
    }
  }

  /// The settings that a checkpoint records, as a whole, so that they fit each other whatever the defaults are. What it does
  /// not record, or not as this version does, has its default.
  public init(recorded pairs: [KeyValue]) {
    func choice<Choice: SettingChoice>(_ row: Setting<Choice>) -> Choice? {
      pairs.last { $0.key == row.definition.name }.flatMap { pair in
        Choice.allCases.first { $0.settingName == pair.value }
      }
    }
    var basis = DefaultBasis()
    basis.loss = choice(SettingTable.rows.loss) ?? basis.loss
    basis.optimizer = choice(SettingTable.rows.optimizer) ?? basis.optimizer
    entries = SettingTable.all.map { setting in
      let text = pairs.last { $0.key == setting.name }.flatMap { setting.accepted($0.value) }
      return Entry(
        setting: setting, text: text ?? setting.defaultText(basis), origin: .defaultValue)
    }
  }

  /// Each setting that would make a resumed run leave the trajectory of the checkpoint with these `pairs`, as a sentence:
  /// "epochs differs: 24 (from --epochs), but the checkpoint was trained with 12".
  ///
  /// A setting without effect on either side is not compared: the factor of the step schedule under cosine, or the
  /// number of epochs where the learning rate does not depend on it, so that a finished run can be given more. Of the
  /// cosine schedule its end is compared, unless `schedule-epochs` states it: that is how to stretch it.
  public func differences(from pairs: [KeyValue]) -> [String] { differingEntries(from: pairs).map(\.sentence) }

  /// The epochs over which the cosine schedule falls to zero.
  var horizonEpochs: UInt64 { self.scheduleEpochs ?? self.epochs }

  /// In epochs; nil for the schedules that have no end.
  package var scheduleLength: UInt64? { self.schedule == .cosine ? horizonEpochs : nil }

  private func differingEntries(from pairs: [KeyValue]) -> [(entry: Entry, sentence: String)] {
    var recorded = self
    var isRecorded = Set<String>()
    let horizon = SettingTable.rows.scheduleEpochs.definition
    for (index, entry) in entries.enumerated() {
      guard entry.setting.shapesTrajectory, let pair = pairs.last(where: { $0.key == entry.setting.name }) else {
        guard entry.setting.absenceMeansDefault else { continue }
        recorded.entries[index].text = entry.setting.defaultText(basis)
        isRecorded.insert(entry.setting.name)
        continue
      }
      guard let accepted = entry.setting.accepted(pair.value) else { continue }
      recorded.entries[index].text = accepted
      isRecorded.insert(pair.key)
    }
    return zip(entries, recorded.entries).compactMap { entry, then in
      let setting = entry.setting
      if setting.name == horizon.name { return nil }
      if setting.name == "epochs", isRecorded.contains(setting.name) {
        guard self.scheduleEpochs == nil, self.epochs != recorded.horizonEpochs,
          setting.hasEffect(self) || setting.hasEffect(recorded)
        else { return nil }
        return (
          entry,
          "epochs differs: \(self.epochs) (\(entry.origin.phrase)), but the schedule of the checkpoint has "
            + "\(recorded.horizonEpochs)"
        )
      }
      guard setting.shapesTrajectory, entry.text != then.text || !isRecorded.contains(setting.name),
        setting.hasEffect(self) || setting.hasEffect(recorded)
      else { return nil }
      let text = pairs.last { $0.key == setting.name }?.value
      return (
        entry,
        "\(setting.name) differs: \(entry.text ?? "not set") (\(entry.origin.phrase)), but the checkpoint "
          + (text.map { "was trained with \($0)" } ?? "does not record it")
      )
    }
  }

  /// Refuses to resume from the checkpoint at `path` under settings that shape another trajectory.
  ///
  /// - Parameter configuration: path of the configuration file of the run, for the command that starts a new one.
  public func requireSameTrajectory(
    as pairs: [KeyValue], checkpoint path: String, configuration: String? = nil
  ) throws(Failure) {
    let differing = differingEntries(from: pairs)
    guard !differing.isEmpty else { return }
    let file = configuration.map { ["--config", $0] } ?? []
    let flags = differing.flatMap { difference in
      difference.entry.origin == .defaultValue
        ? [] : difference.entry.text.map { [difference.entry.setting.flagName, $0] } ?? []
    }
    throw Failure(
      .badConfiguration, "cannot resume from \(path): " + differing.map(\.sentence).joined(separator: "; "),
      remedy: "Omit what differs, or start a new run from these weights: "
        + shellCommand(["descent", "train"] + file + ["--init-from", path] + flags))
  }
}
