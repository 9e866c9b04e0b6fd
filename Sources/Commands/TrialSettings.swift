import Datasets
import Diagnostics
import Experiments
import NodeRuntime
import RunConfiguration

/// The settings of the runs of a sweep.
struct TrialSettings {
  let space: SearchSpace
  /// What all trials share; the settings that vary have any value.
  let base: ResolvedSettings
  /// Parts of the cross-validation; nil where the validation examples are one part of the data set.
  let folds: Int?
  let sweepDir: String

  /// Of a run that is trained to the end of a rung.
  func settings(of job: Sweep.Job, in sweep: Sweep) throws(Failure) -> ResolvedSettings {
    let trial = sweep.trials[job.trial]
    return try resolve(
      trial.values, rung: trial.rungs[job.rung], fold: job.fold,
      [("test", "never"), ("run-dir", "\(sweepDir)/\(sweep.runName(of: job))"), ("resume", "auto")])
  }

  /// Of the run that is tested: the winner's, on everything that is not test.
  func finalSettings(of winner: Sweep.Trial) throws(Failure) -> ResolvedSettings {
    try resolve(
      winner.values,
      [
        ("test", "end"), ("validation-examples", "0"), ("run-dir", "\(sweepDir)/\(Sweep.finalName)"),
        ("resume", "auto"),
      ])
  }

  /// - Parameters:
  ///   - rung: the epochs to stop after; nil for all.
  private func resolve(
    _ values: [String], rung: UInt64? = nil, fold: Int? = nil, _ more: [(name: String, text: String)] = []
  ) throws(Failure) -> ResolvedSettings {
    var flags = zip(space.axes, values).map { (name: $0.name, text: $1) } + more
    if let fold, let folds { flags.append(("validation-fold", "\(fold)/\(folds)")) }
    // Of many trials that are never looked at again, one checkpoint is enough.
    if base.origin(of: \.keepLast) == .defaultValue { flags.append(("keep-last", "1")) }
    let whole = try ResolvedSettings.resolve(document: base.document, flags: flags)
    // The learning rate falls over all epochs, wherever the run stops.
    if whole.schedule == .cosine, whole.scheduleEpochs == nil { flags.append(("schedule-epochs", "\(whole.epochs)")) }
    if let rung { flags.append(("epochs", "\(rung)")) }
    return try ResolvedSettings.resolve(document: base.document, flags: flags)
  }

  /// Checks that every trial can begin.
  ///
  /// - Returns: the epochs that each takes to its end, and what has no effect in any of them.
  /// - Throws: what keeps a trial from beginning, with its values.
  func check(_ points: [[String]], _ dataset: Dataset) throws(Failure) -> (epochs: [UInt64], warnings: [String]) {
    var (epochs, warnings): ([UInt64], [String]?) = ([], nil)
    for (index, point) in points.enumerated() {
      do throws(Failure) {
        let settings = try resolve(point, fold: folds.map { _ in 1 }).fitting(exampleCount: dataset.count)
        let plan = try settings.trainingPlan(
          exampleCount: dataset.count, classes: dataset.description.classes, pixels: dataset.description.pixels)
        guard plan.validationCount > 0 else {
          throw Failure(
            .usage, "there are no validation examples to judge a trial by", remedy: "Use --validation-examples above 0")
        }
        epochs.append(settings.epochs)
        let idle = settings.withoutEffect(in: plan)
        warnings = warnings?.filter(idle.contains) ?? idle
      } catch {
        var failure = error
        let values = zip(space.axes, point).map { "\($0.name) \($1)" }.joined(separator: ", ")
        failure.message = "trial \(index + 1) (\(values)): \(error.message)"
        throw failure
      }
    }
    return (epochs, warnings ?? [])
  }

  /// What decides the results besides the values of the trials.
  func definition(_ dataset: Dataset) -> [KeyValue] {
    let pairs = base.entries.compactMap { entry -> KeyValue? in
      let (setting, name) = (entry.setting, entry.setting.name)
      let decides = setting.shapesTrajectory || setting.group == .stopping || name == "evaluate-every"
      guard decides, !space.axes.contains(where: { $0.name == name }) else { return nil }
      return entry.text.map { KeyValue(name, $0) }
    }
    return pairs + [KeyValue("fingerprint of the training files", hexadecimal(dataset.fingerprint))]
  }
}
