import Diagnostics
import Optimization

/// Everything needed to go on at one step as if nothing had happened, and to use the model without us.
///
/// The sampler is counter based, so the step alone says which examples come next: no generator state is saved.
public struct Checkpoint: Sendable, Equatable {
  /// A setting of the run as text, in the spelling of the configuration file.
  public struct Setting: Sendable, Equatable {
    public var key: String
    public var value: String

    public init(_ key: String, _ value: String) {
      self.key = key
      self.value = value
    }
  }

  /// What `ConvergenceMonitor` must remember.
  public struct Convergence: Sendable, Equatable {
    /// Smallest mean validation loss that counted as an improvement; infinite before the first evaluation.
    public var bestValidationLoss: Double
    public var evaluationsWithoutImprovement: Int
    /// At the newest evaluation that could end the run; nil before the first.
    public var newestAccuracy: Double?
    public var newestGradientNorm: Double?

    public init(
      bestValidationLoss: Double = .infinity, evaluationsWithoutImprovement: Int = 0, newestAccuracy: Double? = nil,
      newestGradientNorm: Double? = nil
    ) {
      self.bestValidationLoss = bestValidationLoss
      self.evaluationsWithoutImprovement = evaluationsWithoutImprovement
      self.newestAccuracy = newestAccuracy
      self.newestGradientNorm = newestGradientNorm
    }
  }

  /// The newest evaluation on the validation split.
  public struct Validation: Sendable, Equatable {
    /// Mean data loss per example, without the penalty.
    public var loss: Double
    /// In 0 ... 1.
    public var accuracy: Double

    public init(loss: Double, accuracy: Double) {
      self.loss = loss
      self.accuracy = accuracy
    }
  }

  /// Updates applied so far; the next step to compute.
  public var step: UInt64
  public var runIdentifier: String
  /// Increases whenever the workers or their shards change; a server refuses messages of an older one.
  public var membershipEpoch: UInt64
  public var shape: ModelShape
  /// `shape.parameterCount` values, laid out as `shape.blocks`.
  public var parameters: ParameterVector
  /// The momentum's velocity, laid out as the parameters; nil when momentum is off.
  public var velocity: ParameterVector?
  /// Steps that each shard has contributed to; all equal `step` under `bsp`.
  public var shardClocks: [UInt64]
  /// The mean of the training images, in pixel units 0 ... 255, `shape.pixels` values.
  public var meanImage: [Float]
  /// In label order, `shape.classes` names.
  public var classNames: [String]
  /// The input is `(pixel − mean) / pixelScale`.
  public var pixelScale: Float
  public var loss: Loss
  public var settings: [Setting]
  /// `CIFAR10Dataset.fingerprint` of the training files.
  public var datasetFingerprint: UInt64
  public var convergence: Convergence
  public var validation: Validation?
  /// Mean data loss per example of the newest steps, without the penalty.
  public var trainLoss: Double?
  public var examplesProcessed: UInt64
  /// Time spent in training, over all resumptions.
  public var seconds: Double
  /// Element n counts the updates whose gradient was n steps old.
  public var staleness: [UInt64]
  /// Shards whose gradients came after their step was complete (`bsp:backup=b`).
  public var lateShards: UInt64

  public init(
    step: UInt64, runIdentifier: String, membershipEpoch: UInt64, shape: ModelShape, parameters: ParameterVector,
    velocity: ParameterVector?, shardClocks: [UInt64], meanImage: [Float], classNames: [String],
    pixelScale: Float = ExampleTable.pixelScale, loss: Loss, settings: [Setting], datasetFingerprint: UInt64,
    convergence: Convergence = Convergence(), validation: Validation? = nil, trainLoss: Double? = nil,
    examplesProcessed: UInt64 = 0, seconds: Double = 0, staleness: [UInt64] = [], lateShards: UInt64 = 0
  ) {
    self.step = step
    self.runIdentifier = runIdentifier
    self.membershipEpoch = membershipEpoch
    self.shape = shape
    self.parameters = parameters
    self.velocity = velocity
    self.shardClocks = shardClocks
    self.meanImage = meanImage
    self.classNames = classNames
    self.pixelScale = pixelScale
    self.loss = loss
    self.settings = settings
    self.datasetFingerprint = datasetFingerprint
    self.convergence = convergence
    self.validation = validation
    self.trainLoss = trainLoss
    self.examplesProcessed = examplesProcessed
    self.seconds = seconds
    self.staleness = staleness
    self.lateShards = lateShards
  }

  /// What the server goes on with.
  public var trainingState: TrainingState {
    TrainingState(step: step, parameters: parameters, velocity: velocity)
  }

  /// What classifies with the parameters of this step.
  public var model: TrainedModel {
    TrainedModel(
      shape: shape, parameters: parameters, meanImage: meanImage, pixelScale: pixelScale, classNames: classNames,
      loss: loss)
  }

  /// Refuses to save what loading would refuse: a checkpoint that cannot be read back is no checkpoint.
  func validate() throws(Failure) {
    let sizesAgree =
      parameters.count == shape.parameterCount && velocity.map { $0.count == parameters.count } ?? true
      && meanImage.count == shape.pixels && classNames.count == shape.classes
    guard sizesAgree else {
      throw Failure(.internalError, "the sizes in the checkpoint of step \(step) contradict each other")
    }
    guard Set(settings.map(\.key)).count == settings.count else {
      throw Failure(.internalError, "a setting stands twice in the checkpoint of step \(step)")
    }
    let values = [parameters.values, velocity?.values ?? [], meanImage]
    guard pixelScale.isFinite, pixelScale > 0, values.allSatisfy({ $0.allSatisfy(\.isFinite) }) else {
      throw Failure(
        .internalError, "the model of step \(step) is not saved", found: "values that are not finite",
        expected: "finite ones", remedy: "The training diverged: lower the learning rate")
    }
  }
}
