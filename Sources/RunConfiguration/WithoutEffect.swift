import Optimization

extension ResolvedSettings {
  /// Each setting that was chosen and cannot act in this run, as a sentence: "--patience 100 has no effect: the run ends
  /// after 12 evaluations". A value that is the default was chosen if a flag gives it.
  public func withoutEffect(in plan: TrainingPlan) -> [String] {
    let run = modelWithoutEffect(plan) + stoppingWithoutEffect(plan) + scheduleWithoutEffect(plan)
    return (run + optimizerWithoutEffect(plan) + clusterWithoutEffect).compactMap(\.self)
  }

  private func idle(
    _ row: KeyPath<SettingTable, Setting<some Any>>, if isIdle: Bool, _ reason: String,
    verb: String = "has no effect"
  ) -> String? {
    let entry = entry(row)
    let isOther = entry.text != entry.setting.defaultText(basis)
    let isChosen = entry.origin.isFlag || entry.origin != .defaultValue && isOther
    // defence: without-effect
    guard isIdle, isChosen else { return nil }
    return "\(entry.phrase) \(verb): \(reason)"
  }

  private func modelWithoutEffect(_ plan: TrainingPlan) -> [String?] {
    let isLinear = plan.shape.isLinear
    let linear = "without hidden layers the model is linear"
    let activation = isLinear ? linear : "the activation is \(self.activation.settingName)"
    let start = "the weights are those of \(self.initFrom ?? "")"
    let isGiven = self.initFrom != nil
    return [
      idle(
        \.validationExamples, if: self.validationFold != nil,
        "validation-fold \(entry(\.validationFold).text ?? "") decides what is held out"),
      idle(\.activation, if: isLinear, linear),
      idle(\.leakySlope, if: isLinear || self.activation.settingName != "leaky-relu", activation),
      idle(\.eluAlpha, if: isLinear || self.activation.settingName != "elu", activation),
      idle(\.initialization, if: isGiven, start), idle(\.initialStandardDeviation, if: isGiven, start),
      idle(
        \.initialStandardDeviation, if: !isGiven && plan.initialization != .normal,
        "the initialization is \(plan.initialization)"),
      idle(\.margin, if: !self.loss.hasMargin, "the loss is \(self.loss.settingName)"),
    ]
  }

  private func stoppingWithoutEffect(_ plan: TrainingPlan) -> [String?] {
    let steps = "the run has \(plan.totalSteps) steps"
    let allSteps = self.epochs * plan.stepsPerEpoch
    // Besides the one before the first step.
    let evaluations = plan.evaluateEvery == 0 ? 1 : (plan.totalSteps - 1) / plan.evaluateEvery + 1
    let isValidated = plan.validationCount > 0
    let unseen = "there are no validation examples"
    let isEvaluatedAtEnds = plan.totalSteps > 1 && evaluations == 1
    let ends = "the run is evaluated only before its first step and after its last one"
    return [
      idle(\.targetAccuracy, if: self.targetAccuracy != nil && !isValidated, unseen),
      idle(\.targetAccuracy, if: self.targetAccuracy != nil && isValidated && isEvaluatedAtEnds, ends),
      idle(\.patience, if: self.patience > 0 && !isValidated, unseen),
      idle(
        \.patience, if: isValidated && self.patience > 0 && UInt64(self.patience) >= evaluations,
        "the run ends after \(evaluations) evaluation\(evaluations == 1 ? "" : "s")"),
      idle(\.tolerance, if: self.patience == 0, "patience is 0"),
      idle(\.gradientNorm, if: self.gradientNorm != nil && isEvaluatedAtEnds, ends),
      idle(\.evaluateEvery, if: self.evaluateEvery ?? 0 > plan.totalSteps, steps),
      idle(\.checkpointEvery, if: plan.checkpointEvery > plan.totalSteps, "\(steps), and is saved at its end"),
      idle(\.maxSteps, if: self.maxSteps ?? 0 > allSteps, "\(self.epochs) epochs have \(allSteps) steps"),
      idle(\.traceSteps, if: self.traceSteps?.lowerBound ?? 0 > plan.totalSteps, steps),
    ]
  }

  private func scheduleWithoutEffect(_ plan: TrainingPlan) -> [String?] {
    let steps = "the run has \(plan.totalSteps) steps"
    let schedule = "the schedule is \(self.schedule.settingName)"
    return [
      idle(\.stepEvery, if: self.schedule != .step, schedule),
      idle(\.stepEvery, if: self.schedule == .step && self.stepEvery >= plan.totalSteps, steps),
      idle(\.stepFactor, if: self.schedule != .step, schedule),
      idle(\.scheduleEpochs, if: self.scheduleEpochs != nil && self.schedule != .cosine, schedule),
      idle(
        \.warmupSteps, if: self.warmupSteps >= plan.totalSteps, steps,
        verb: "keeps the learning rate from reaching \(entry(\.learningRate).text ?? "")"),
    ]
  }

  private func optimizerWithoutEffect(_ plan: TrainingPlan) -> [String?] {
    let used = plan.optimizer.kind.hyperparameters
    let reason = "the optimizer is \(self.optimizer.settingName)"
    let noMomentum = "momentum is 0"
    return [
      idle(\.optimizer, if: self.optimizer != .sgd && plan.optimizer.kind == .sgd, noMomentum),
      idle(\.momentum, if: !self.optimizer.takesMomentum, reason),
      idle(\.momentumKind, if: self.optimizer != .sgd, reason),
      idle(\.momentumKind, if: self.optimizer == .sgd && self.momentum == 0, noMomentum),
      idle(\.beta1, if: !used.contains(.beta1), reason), idle(\.beta2, if: !used.contains(.beta2), reason),
      idle(\.epsilon, if: !used.contains(.epsilon), reason), idle(\.decayRate, if: !used.contains(.decayRate), reason),
    ]
  }

  private var clusterWithoutEffect: [String?] {
    let isAlone = self.workers == 0
    let alone = "workers is 0, so there are no other processes"
    let local = self.transport != .tcp
    let transport = "the transport is \(self.transport.settingName)"
    return [
      idle(
        \.consistency, if: self.workers == 1 && self.consistency != .bsp(backup: 0), "a single worker is never late"),
      idle(\.transport, if: isAlone, alone), idle(\.keys, if: isAlone, alone),
      idle(\.minWorkers, if: isAlone, alone),
      idle(\.bind, if: isAlone, alone), idle(\.bind, if: !isAlone && local, transport),
      idle(\.advertise, if: isAlone, alone), idle(\.advertise, if: !isAlone && local, transport),
      idle(\.port, if: isAlone, alone), idle(\.port, if: !isAlone && local && self.port != nil, transport),
    ]
  }
}
