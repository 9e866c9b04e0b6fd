import Diagnostics
import FoundationEssentials
import Optimization
import RunConfiguration
import Testing

@Suite struct ResolvedSettingsTests {
  private func resolve(_ flags: [(name: String, text: String)] = []) throws -> ResolvedSettings {
    try ResolvedSettings.resolve(flags: flags)
  }

  // MARK: - Plan

  @Test func `the plan of CIFAR-10 has 87 steps an epoch`() throws {
    let plan = try resolve().trainingPlan(exampleCount: 50_000)
    #expect(plan.stepsPerEpoch == 87)
    #expect(plan.totalSteps == 1044)
    #expect(plan.learningRate.horizon == 1044)
    #expect(plan.learningRate.schedule == .cosine)
    #expect(plan.validationCount == 5000)
  }

  @Test func `a small data set keeps a tenth for validation, unless the number was chosen`() throws {
    for (examples, expected) in [(50_000, 5000), (49_999, 4999), (120, 12), (9, 0)] {
      #expect(try resolve().fitting(exampleCount: examples).validationExamples == expected)
    }
    // What was chosen stays, and is refused where it does not fit.
    let chosen = try resolve([("validation-examples", "5000")]).fitting(exampleCount: 120)
    #expect(chosen.validationExamples == 5000)
    #expect(throws: Failure.self) { try chosen.trainingPlan(exampleCount: 120) }
  }

  @Test func `the folds of a cross-validation hold out every example once`() throws {
    let plans = try (1...3).map { try resolve([("validation-fold", "\($0)/3")]).trainingPlan(exampleCount: 50_000) }
    #expect(plans.map(\.validationPositions) == [0..<16_666, 16_666..<33_333, 33_333..<50_000])
    // In place of validation-examples.
    let both = try resolve([("validation-fold", "1/5"), ("validation-examples", "0")])
    #expect(try both.trainingPlan(exampleCount: 50_000).validationPositions == 0..<10_000)
    #expect(throws: Failure.self) { try resolve([("validation-fold", "1/5")]).trainingPlan(exampleCount: 4) }
  }

  @Test(arguments: ["0/5", "6/5", "1/1", "1/1001", "1", "1/", "/5", "1/5/5", "-1/5", "1 / 5", "a/b", ""])
  func `a fold is one of 2 to 1000 parts`(text: String) {
    #expect { try resolve([("validation-fold", text)]) } throws: {
      ($0 as? Failure)?.description.contains("must be K/N, the K-th of N parts, with N from 2 to 1000") == true
    }
  }

  @Test func `a run continues with the fold that it has, and a checkpoint without one has none`() throws {
    let second = try resolve([("validation-fold", "2/5")])
    #expect(second.differences(from: second.checkpointPairs) == [])
    let others = [try resolve(), try resolve([("validation-fold", "3/5")]), try resolve([("validation-fold", "2/6")])]
    for other in others {
      #expect(other.differences(from: second.checkpointPairs).contains { $0.hasPrefix("validation-fold differs") })
      #expect(second.differences(from: other.checkpointPairs).contains { $0.hasPrefix("validation-fold differs") })
    }
    #expect(ResolvedSettings(recorded: second.checkpointPairs).validationFold == second.validationFold)
  }

  @Test func `max-steps shortens the run and not the schedule`() throws {
    let settings = try resolve([("max-steps", "100")])
    let plan = try settings.trainingPlan(exampleCount: 50_000)
    #expect(plan.totalSteps == 100)
    #expect(plan.learningRate.horizon == 1044)
    #expect(settings.stoppingRule(for: plan).endOfPlan == .steps)
  }

  @Test func `a run that reaches the end of its epochs says so`() throws {
    for maxSteps in ["0", "1044", "99999"] {
      let settings = try resolve([("max-steps", maxSteps)])
      let plan = try settings.trainingPlan(exampleCount: 50_000)
      #expect(settings.stoppingRule(for: plan).endOfPlan == .epochs)
    }
  }

  @Test(arguments: [(nil, 87), ("epoch", 87), ("20", 20), ("0", 0)] as [(String?, UInt64)])
  func `evaluations come once an epoch, every so many steps, or only at the end`(text: String?, every: UInt64) throws {
    let settings = try resolve(text.map { [("evaluate-every", $0)] } ?? [])
    #expect(try settings.trainingPlan(exampleCount: 50_000).evaluateEvery == every)
    let shown = every == 87 ? "\"epoch\"" : "\(every)"
    #expect(settings.json.contains("\"evaluate-every\": {\n    \"value\": \(shown),"))
  }

  @Test func `the stopping rule holds what was asked for`() throws {
    let settings = try resolve([
      ("target-accuracy", "0.4"), ("patience", "3"), ("tolerance", "0.01"), ("gradient-norm", "0.5"),
    ])
    let rule = settings.stoppingRule(for: try settings.trainingPlan(exampleCount: 50_000))
    let expected = StoppingRule(
      targetAccuracy: 0.4, patience: 3, tolerance: 0.01, gradientNorm: 0.5, stepsAreEpochs: true)
    #expect(rule == expected)
  }

  @Test func `a training set that is too small is refused`() throws {
    for exampleCount in [0, 1, 5000, 5016, 5400] {
      let failure = #expect(throws: Failure.self) { try resolve().trainingPlan(exampleCount: exampleCount) }
      #expect(failure?.status == .badConfiguration)
    }
  }

  // MARK: - Texts

  @Test func `the listing shows every value with its origin`() throws {
    let lines = try resolve([("seed", "7")]).listing.split(separator: "\n")
    #expect(lines.contains { $0.split(separator: " ") == ["seed", "7", "--seed"] })
    #expect(lines.contains { $0.split(separator: " ") == ["batch-size", "512", "default"] })
    #expect(lines.contains { $0.split(separator: " ") == ["data", "(not", "set)", "default"] })
    #expect(lines.count == SettingTable.all.count + SettingGroup.allCases.count)
  }

  @Test func `the JSON holds every value in its own type`() throws {
    struct Entry<Value: Decodable>: Decodable {
      let value: Value
      let origin: String
    }
    struct Some: Decodable {
      let seed: Entry<UInt64>
      let l2: Entry<Double>
      let loss: Entry<String>
      let data: Entry<String?>
      let consistency: Entry<String>
    }
    let json = try resolve([("seed", "18446744073709551615"), ("consistency", "ssp:4")]).json
    let decoded = try JSONDecoder().decode(Some.self, from: Data(json.utf8))
    #expect(decoded.seed.value == .max)
    #expect(decoded.seed.origin == "--seed")
    #expect(decoded.l2.value == 0.001)
    #expect(decoded.loss.value == "softmax")
    #expect(decoded.data.value == nil)
    #expect(decoded.consistency.value == "ssp:4")
  }

  @Test func `the YAML resolves to the same values`() throws {
    let settings = try resolve([
      ("data", "/tmp/with space/ä: \"quoted\" \\ # &*\u{2028}\u{7}"), ("bind", "no"), ("l2", "1.1e-7"),
      ("seed", "18446744073709551615"), ("consistency", "bsp:backup=2"), ("loss", "svm"),
    ])
    let file = try ConfigurationFile(text: settings.yaml(workingDirectory: "/home"), path: "config.yaml")
    let again = try ResolvedSettings.resolve(file: file)
    #expect(again.entries.map(\.text) == settings.entries.map(\.text))
  }

  // MARK: - Resuming

  @Test func `the same settings do not differ`() throws {
    let settings = try resolve()
    #expect(settings.differences(from: settings.checkpointPairs).isEmpty)
    #expect(throws: Never.self) {
      try settings.requireSameTrajectory(as: settings.checkpointPairs, checkpoint: "runs/x")
    }
  }

  @Test func `a run may be resumed with other workers, paths and stopping rules`() throws {
    let pairs = try resolve().checkpointPairs
    let settings = try resolve([
      ("workers", "5"), ("data", "/elsewhere"), ("transport", "tcp"), ("max-steps", "9"), ("keep-last", "1"),
      ("evaluate-every", "10"), ("run-dir", "/runs/y"), ("resume", "must"), ("target-accuracy", "0.4"),
    ])
    #expect(settings.differences(from: pairs).isEmpty)
  }

  @Test func `checkpoints hold no paths`() throws {
    let pairs = try resolve([("data", "/home/me"), ("run-dir", "/home/me/run")]).checkpointPairs
    #expect(!pairs.contains { $0.value.contains("/") })
  }

  @Test func `another trajectory is refused, and each difference named`() throws {
    let pairs = try resolve([("batch-size", "256")]).checkpointPairs
    let settings = try resolve([("l2", "0.5")])
    let failure = #expect(throws: Failure.self) {
      try settings.requireSameTrajectory(as: pairs, checkpoint: "runs/x")
    }
    #expect(failure?.status == .badConfiguration)
    #expect(
      failure?.message == """
        cannot resume from runs/x: l2 differs: 0.5 (from --l2), but the checkpoint was trained with 0.001; \
        batch-size differs: 512 (the default), but the checkpoint was trained with 256
        """)
  }

  @Test func `settings without effect may differ`() throws {
    let cosine = try resolve().checkpointPairs
    #expect(try resolve([("step-factor", "0.1"), ("momentum-kind", "nesterov")]).differences(from: cosine).isEmpty)
    #expect(try resolve([("epochs", "20")]).differences(from: cosine).count == 1)
    let constant = try resolve([("schedule", "constant")]).checkpointPairs
    #expect(try resolve([("schedule", "constant"), ("epochs", "20")]).differences(from: constant).isEmpty)
    let momentum = try resolve([("momentum", "0.9")]).checkpointPairs
    let nesterov = try resolve([("momentum", "0.9"), ("momentum-kind", "nesterov")])
    #expect(
      nesterov.differences(from: momentum) == [
        "momentum-kind differs: nesterov (from --momentum-kind), but the checkpoint was trained with polyak"
      ])
    let adam = try resolve([("optimizer", "adam")]).checkpointPairs
    let other = try resolve([("optimizer", "adam"), ("momentum", "0.5"), ("decay-rate", "0.5")])
    #expect(other.differences(from: adam).isEmpty)
    #expect(try resolve([("optimizer", "adam"), ("beta2", "0.99")]).differences(from: adam).count == 1)
  }

  @Test func `a checkpoint of a version without optimizers is one of SGD`() throws {
    let names = ["optimizer", "l1", "max-norm", "beta1", "beta2", "epsilon", "decay-rate"]
    let old = try resolve([("momentum", "0.9")]).checkpointPairs.filter { !names.contains($0.key) }
    #expect(try resolve([("momentum", "0.9")]).differences(from: old).isEmpty)
    #expect(
      try resolve([("optimizer", "adam"), ("learning-rate", "0.05")]).differences(from: old).contains(
        "optimizer differs: adam (from --optimizer), but the checkpoint does not record it"))
    #expect(try resolve([("momentum", "0.9"), ("l1", "0.1")]).differences(from: old).count == 1)
  }

  @Test func `momentum and its kind are another way to choose the optimizer`() throws {
    func optimizer(_ flags: [(name: String, text: String)]) throws -> Optimizer {
      try resolve(flags).trainingPlan(exampleCount: 50_000).optimizer
    }
    #expect(try optimizer([]) == Optimizer(.sgd))
    #expect(try optimizer([("momentum", "0.5")]) == Optimizer(.momentum, [.momentum: 0.5]))
    #expect(try optimizer([("optimizer", "momentum"), ("momentum", "0.5")]) == Optimizer(.momentum, [.momentum: 0.5]))
    #expect(try optimizer([("momentum", "0.9"), ("momentum-kind", "nesterov")]) == Optimizer(.nesterov))
    #expect(try optimizer([("optimizer", "nesterov")]) == Optimizer(.nesterov))
    #expect(try optimizer([("optimizer", "nesterov"), ("momentum", "0")]) == Optimizer(.sgd))
    #expect(
      try optimizer([("optimizer", "adam"), ("beta1", "0.5"), ("momentum", "0.5")])
        == Optimizer(.adam, [.beta1: 0.5]))
  }

  @Test func `defaults depend on the optimizer`() throws {
    for kind in Optimizer.Kind.allCases {
      for loss in Loss.allCases {
        let settings = try resolve([("optimizer", kind.settingName), ("loss", loss.settingName)])
        #expect(settings.learningRate == kind.defaultLearningRate(loss))
        #expect(settings.momentum == ([.momentum, .nesterov].contains(kind) ? 0.9 : 0))
        #expect(try resolve([("optimizer", kind.settingName), ("learning-rate", "0.5")]).learningRate == 0.5)
      }
    }
    let recorded = ResolvedSettings(recorded: [KeyValue("optimizer", "adam")])
    #expect(recorded.learningRate == Optimizer.Kind.adam.defaultLearningRate(.softmaxCrossEntropy))
  }

  @Test func `a setting that the checkpoint does not record differs`() throws {
    let settings = try resolve()
    let pairs = settings.checkpointPairs.filter { $0.key != "seed" }
    #expect(
      settings.differences(from: pairs) == ["seed differs: 1 (the default), but the checkpoint does not record it"])
  }

  @Test func `numbers are compared as numbers`() throws {
    let pairs = try resolve().checkpointPairs.map { KeyValue($0.key, $0.key == "l2" ? "1e-3" : $0.value) }
    #expect(try resolve().differences(from: pairs).isEmpty)
  }

  @Test func `a recorded text that is no value differs`() throws {
    let pairs = try resolve().checkpointPairs.map { KeyValue($0.key, $0.key == "l2" ? "lots" : $0.value) }
    #expect(
      try resolve().differences(from: pairs) == [
        "l2 differs: 0.001 (the default), but the checkpoint was trained with lots"
      ])
  }
}
