import Cluster
import Datasets
import Diagnostics
import Messaging
import Optimization

/// Everything needed to continue a run at one step with the same bits, and to use the model without Descent: where
/// the run stands, and what its model was made of.
public struct Checkpoint: Sendable, Equatable {
  /// What is the same in every checkpoint of a run.
  public struct Origin: Sendable, Equatable {
    public var runIdentifier: String
    public var shape: ModelShape
    public var loss: Loss
    /// Δ of the hinge losses.
    public var margin: Float
    /// What is subtracted from the inputs (`Preprocessing`), in pixel units 0 ... 255, `shape.pixels` values.
    public var meanImage: [Float]
    /// The input is `(pixel − mean) / pixelScale`.
    public var pixelScale: Float
    /// How the inputs are arranged; `shape.pixels` values.
    public var inputShape: InputShape
    /// In label order, `shape.classes` names.
    public var classNames: [String]
    /// Of the vectors of the optimizer's state (`Optimizer.Kind.slotNames`).
    public var slotNames: [String]
    /// In the spelling of the configuration file.
    public var settings: [KeyValue]
    /// `Dataset.fingerprint` of the training files.
    public var datasetFingerprint: UInt64
    /// Of a run that began with the weights of another one, or of a file.
    public var weights: WeightsOrigin?

    public init(
      runIdentifier: String, shape: ModelShape, loss: Loss, margin: Float = 1, meanImage: [Float],
      pixelScale: Float = ExampleTable.pixelScale, inputShape: InputShape? = nil, classNames: [String],
      slotNames: [String] = [], settings: [KeyValue], datasetFingerprint: UInt64, weights: WeightsOrigin? = nil
    ) {
      self.runIdentifier = runIdentifier
      self.shape = shape
      self.loss = loss
      self.margin = margin
      self.meanImage = meanImage
      self.pixelScale = pixelScale
      self.inputShape = inputShape ?? InputShape(pixels: shape.pixels)
      self.classNames = classNames
      self.slotNames = slotNames
      self.settings = settings
      self.datasetFingerprint = datasetFingerprint
      self.weights = weights
    }
  }

  public var run: RunState
  public var origin: Origin
  /// Time spent in training, over all resumptions.
  public var seconds: Double

  public init(run: RunState, origin: Origin, seconds: Double = 0) {
    self.run = run
    self.origin = origin
    self.seconds = seconds
  }

  public var step: UInt64 { run.step }

  /// What classifies with the parameters of this step.
  public var model: TrainedModel {
    TrainedModel(
      shape: origin.shape, parameters: run.snapshot.state.parameters(of: origin.shape), meanImage: origin.meanImage,
      pixelScale: origin.pixelScale, inputShape: origin.inputShape, classNames: origin.classNames, loss: origin.loss,
      margin: origin.margin)
  }

  /// Where a run with this plan continues.
  ///
  /// - Parameter path: of the checkpoint, for the error.
  /// - Throws: `badData` when the checkpoint contradicts the plan that its own settings lead to.
  public func state(resuming plan: TrainingPlan, path: String) throws(Failure) -> RunState {
    guard origin.shape == plan.shape, origin.slotNames == plan.optimizer.kind.slotNames, run.snapshot.fits(plan)
    else {
      throw Failure(.badData, "\(path) does not hold what its own settings ask for")
    }
    return run
  }

  /// Rejects what loading would reject: a checkpoint that cannot be read back is no checkpoint.
  func validate() throws(Failure) {
    let (shape, state) = (origin.shape, run.snapshot.state)
    guard state.fits(shape, slots: origin.slotNames.count), origin.meanImage.count == shape.pixels,
      origin.inputShape.pixels == shape.pixels,
      origin.classNames.count == shape.classes
    else {
      throw Failure(.internalError, "the sizes in the checkpoint of step \(step) contradict each other")
    }
    guard Set(origin.settings.map(\.key)).count == origin.settings.count else {
      throw Failure(.internalError, "a setting stands twice in the checkpoint of step \(step)")
    }
    let values = [state.parameters(of: shape).values, origin.meanImage] + state.slots(of: shape).map(\.values)
    guard origin.pixelScale.isFinite, origin.pixelScale > 0, values.allSatisfy({ $0.allSatisfy(\.isFinite) }) else {
      throw Failure(
        .internalError, "the model of step \(step) is not saved", found: "values that are not finite",
        expected: "finite ones", remedy: "The training diverged: lower the learning rate")
    }
  }
}
