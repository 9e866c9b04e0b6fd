import Diagnostics
import Optimization

extension ResolvedSettings {
  /// Of the hidden units, with the slope or α that is set.
  var activationInUse: Activation {
    switch self.activation {
    case .leakyReLU: .leakyReLU(slope: Float(self.leakySlope))
    case .elu: .elu(alpha: Float(self.eluAlpha))
    case .relu, .tanh, .sigmoid, .identity: self.activation
    }
  }

  /// The one that is set, or that the model asks for.
  var initializationInUse: Initialization {
    self.initialization ?? Initialization(advisedFor: modelShape(of: .cifar10))
  }

  /// The model of these settings, for data of the classes and pixels of `data`.
  func modelShape(of data: ModelShape) -> ModelShape {
    ModelShape(classes: data.classes, pixels: data.pixels, hidden: self.hidden, activation: activationInUse)
  }

  /// These settings for a training set of `exampleCount` examples: unless it was chosen, `validation-examples` is at most a
  /// tenth of them.
  public func fitting(exampleCount: Int) -> ResolvedSettings {
    let setting = SettingTable.rows.validationExamples.definition
    guard let index = entries.firstIndex(where: { $0.setting.name == setting.name }),
      entries[index].origin == .defaultValue, self.validationExamples > exampleCount / 10
    else { return self }
    var fitted = self
    fitted.entries[index].text = String(exampleCount / 10)
    return fitted
  }

  /// Of `exampleCount` training examples, in the order that the seed gives them, those that are held out for validation.
  ///
  /// - Throws: `badConfiguration` if there are fewer examples than folds, or none would be left to train on.
  public func validationPositions(among exampleCount: Int) throws(Failure) -> Range<Int> {
    guard let fold = self.validationFold else {
      guard self.validationExamples < exampleCount else {
        throw Failure(
          .badConfiguration,
          "validation-examples must be 0 to \(exampleCount - 1) (the data set has \(exampleCount) "
            + "examples), but is \(self.validationExamples)")
      }
      return 0..<self.validationExamples
    }
    guard fold.count <= exampleCount else {
      throw Failure(
        .badConfiguration,
        "validation-fold \(fold.number)/\(fold.count) needs \(fold.count) training examples, but there are \(exampleCount)"
      )
    }
    return fold.positions(among: exampleCount)
  }

  /// The plan of the run over a training set of `exampleCount` examples, validation examples included, with so many classes
  /// and pixel values.
  ///
  /// The horizon of the schedule is that of the epochs, or of `schedule-epochs`, whatever `max-steps` says: a run that is
  /// stopped early and resumed follows the same trajectory as one that was not.
  ///
  /// - Throws: `badConfiguration` where the settings do not fit each other or the training set.
  public func trainingPlan(
    exampleCount: Int, classes: Int = ModelShape.cifar10.classes, pixels: Int = ModelShape.cifar10.pixels
  ) throws(Failure) -> TrainingPlan {
    let validation = try validationPositions(among: exampleCount)
    // Steps per epoch are only defined for a plan whose shards and batch are valid, so those are checked first, with
    // a schedule that cannot be wrong yet.
    var plan = TrainingPlan(
      exampleCount: exampleCount, batchSize: self.batchSize, shardCount: self.shards, totalSteps: 1
    ) {
      $0.shape = modelShape(of: ModelShape(classes: classes, pixels: pixels))
      $0.dropout = Float(self.dropout)
      $0.preprocessing = self.preprocessing
      $0.loss = self.loss
      $0.margin = Float(self.margin)
      $0.reduction = self.reduction
      $0.l2 = Float(self.l2)
      $0.l1 = Float(self.l1)
      $0.maxNorm = Float(self.maxNorm ?? 0)
      $0.seed = self.seed
      $0.initialization = initializationInUse
      $0.initialStandardDeviation = Float(self.initialStandardDeviation)
      $0.learningRate.base = Float(self.learningRate)
      $0.learningRate.warmupSteps = self.warmupSteps
      $0.optimizer = self.chosenOptimizer
      ($0.validationStart, $0.validationCount) = (validation.lowerBound, validation.count)
      $0.checkpointEvery = self.checkpointEvery
      $0.consistency = self.consistency
    }
    try plan.validate()
    plan.evaluateEvery = self.evaluateEvery ?? plan.stepsPerEpoch
    let lastStep = self.epochs * plan.stepsPerEpoch
    plan.learningRate.schedule = LearningRateSchedule(
      self.schedule, every: self.stepEvery, factor: Float(self.stepFactor))
    plan.learningRate.horizon = horizonEpochs * plan.stepsPerEpoch
    plan.totalSteps = min(lastStep, self.maxSteps ?? lastStep)
    try plan.validate()
    return plan
  }

  /// Of `sgd`, `momentum` and `nesterov` it is `momentum` that says whether there is a velocity.
  private var chosenOptimizer: Optimizer {
    var kind = self.optimizer
    if kind.takesMomentum {
      let isNesterov = kind == .nesterov || kind == .sgd && self.momentumKind == .nesterov
      kind = self.momentum == 0 ? .sgd : isNesterov ? .nesterov : .momentum
    }
    return Optimizer(
      kind,
      [
        .momentum: self.momentum, .beta1: self.beta1, .beta2: self.beta2, .epsilon: self.epsilon,
        .decayRate: self.decayRate,
      ])
  }

  /// When the run of `plan` ends before its last step, and what its last step is called.
  public func stoppingRule(for plan: TrainingPlan) -> StoppingRule {
    StoppingRule(
      targetAccuracy: self.targetAccuracy, patience: self.patience, tolerance: self.tolerance,
      gradientNorm: self.gradientNorm,
      stepsAreEpochs: plan.totalSteps == self.epochs * plan.stepsPerEpoch)
  }
}

extension Optimizer.Kind {
  /// Whether the setting `momentum` has an effect.
  var takesMomentum: Bool { self == .sgd || hyperparameters.contains(.momentum) }
}
