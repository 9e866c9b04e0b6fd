import Checkpoints
import Datasets
import Diagnostics
import Optimization
import RunConfiguration

/// What a run is made of before there is a run directory: the settings, the data, and the plan for them.
public struct TrainingJob: Sendable {
  public let settings: ResolvedSettings
  public let training: CIFAR10Dataset
  public let test: CIFAR10Dataset
  public let plan: TrainingPlan
  public let stoppingRule: StoppingRule
  public let split: DataSplit
  /// Of the training examples that are not held out, in pixel units.
  public let meanImage: [Float]

  /// Maps and checks both parts of the data set, so that what is wrong with the test files shows before the training
  /// and not after it.
  ///
  /// - Throws: `badConfiguration` when the settings fit neither each other nor the data, `missingInput` and
  ///   `badData` for the files.
  public init(settings: ResolvedSettings) throws(Failure) {
    let directory = try settings.dataDirectory
    self.settings = settings
    training = try CIFAR10Dataset(directory: directory, part: .training)
    test = try CIFAR10Dataset(directory: directory, part: .test)
    plan = try settings.trainingPlan(exampleCount: training.count)
    stoppingRule = settings.stoppingRule(for: plan)
    split = DataSplit(plan: plan)
    meanImage = training.meanImage(over: split.training)
  }

  /// What is the same in every checkpoint of the run.
  func origin(_ runIdentifier: String) -> Checkpoint.Origin {
    Checkpoint.Origin(
      runIdentifier: runIdentifier, shape: plan.shape, loss: plan.loss, meanImage: meanImage,
      classNames: training.classNames,
      settings: settings.checkpointPairs,
      datasetFingerprint: training.fingerprint)
  }

  /// Passes over the training examples that `steps` are.
  func epochs(_ steps: UInt64) -> Double { Double(steps) / Double(plan.stepsPerEpoch) }
}
