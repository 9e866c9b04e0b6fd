import Diagnostics
import Optimization
import RunConfiguration
import Testing

@Suite struct ResolutionTests {
  private func resolve(
    yaml: String? = nil, environment: [String: String] = [:], flags: [(name: String, text: String)] = []
  ) throws -> ResolvedSettings {
    let file = try yaml.map { text throws(Failure) in try ConfigurationFile(text: text, path: "train.yaml") }
    return try ResolvedSettings.resolve(file: file, environment: environment, flags: flags)
  }

  private func failure(
    yaml: String? = nil, environment: [String: String] = [:], flags: [(name: String, text: String)] = []
  ) -> Failure? {
    #expect(throws: Failure.self) { try resolve(yaml: yaml, environment: environment, flags: flags) }
  }

  @Test func everythingHasADefault() throws {
    let settings = try resolve()
    #expect(settings.entries.allSatisfy { $0.origin == .defaultValue })
    #expect(settings.workers == 2)
    #expect(settings.batchSize == 512)
    #expect(settings.loss == .softmaxCrossEntropy)
    #expect(settings.schedule == .cosine)
    #expect(settings.momentum == .off)
    #expect(settings.consistency == .bsp(backup: 0))
    #expect(settings.resume == .never)
    #expect(settings.transport == .memory)
    let failure = #expect(throws: Failure.self) { try settings.dataDirectory }
    #expect(failure?.status == .missingInput)
    #expect(settings.runDirectory == nil)
    #expect(settings.maxSteps == nil)
    #expect(settings.targetAccuracy == nil)
    #expect(settings.gradientNorm == nil)
    #expect(settings.checkpointSeconds == nil)
  }

  @Test func eachLayerOverridesTheOneBelow() throws {
    let yaml = "seed: 1\nbatch-size: 64\nl2: 0.5\n"
    let environment = ["DESCENT_BATCH_SIZE": "128", "DESCENT_L2": "0.25"]
    let settings = try resolve(yaml: yaml, environment: environment, flags: [("l2", "0.125")])
    #expect(settings.origin(of: .shards) == .defaultValue)
    #expect(settings.seed == 1)
    #expect(settings.origin(of: .seed) == .file(path: "train.yaml", line: 1))
    #expect(settings.batchSize == 128)
    #expect(settings.origin(of: .batchSize) == .environment("DESCENT_BATCH_SIZE"))
    #expect(settings.l2 == 0.125)
    #expect(settings.origin(of: .l2) == .flag("--l2"))
  }

  @Test func theLastOfTwoEqualFlagsCounts() throws {
    #expect(try resolve(flags: [("seed", "1"), ("seed", "2")]).seed == 2)
  }

  @Test func theDefaultLearningRateDependsOnTheLoss() throws {
    let softmax = try resolve().learningRate
    let svm = try resolve(environment: ["DESCENT_LOSS": "svm"]).learningRate
    #expect(svm < softmax)
    #expect(try resolve(yaml: "loss: svm\nlearning-rate: 0.5\n").learningRate == 0.5)
  }

  @Test func readsEveryKindOfValue() throws {
    let settings = try resolve(flags: [
      ("loss", "svm"), ("schedule", "step"), ("step-every", "30"), ("step-factor", "0.1"), ("momentum", "0.9"),
      ("momentum-kind", "nesterov"), ("consistency", "ssp:4"), ("transport", "tcp"), ("bind", "0.0.0.0"),
      ("run-dir", "runs/x"), ("resume", "runs/x/checkpoints/latest"), ("target-accuracy", "0.4"),
      ("checkpoint-seconds", "1.5"), ("max-steps", "10"), ("data", "/data/cifar10"),
    ])
    #expect(settings.loss == .hinge)
    #expect(settings.schedule == .step(every: 30, factor: 0.1))
    #expect(settings.momentum == Momentum(coefficient: 0.9, kind: .nesterov))
    #expect(settings.consistency == .ssp(4))
    #expect(settings.transport == .tcp)
    #expect(settings.bindHost == "0.0.0.0")
    #expect(settings.runDirectory == "runs/x")
    #expect(settings.resume == .checkpoint(path: "runs/x/checkpoints/latest"))
    #expect(settings.targetAccuracy == 0.4)
    #expect(settings.checkpointSeconds == 1.5)
    #expect(settings.maxSteps == 10)
    #expect(try settings.dataDirectory == "/data/cifar10")
    #expect(try resolve(flags: [("resume", "auto")]).resume == .auto)
    #expect(try resolve(flags: [("resume", "must")]).resume == .must)
  }

  @Test func variablesOfOthersAreNotOurs() throws {
    _ = try resolve(environment: ["PATH": "/bin", "DESCENT_KERNEL": "portable", "DESCENT_CIFAR10": "/data"])
  }

  @Test func anUnknownSettingIsAnErrorWithFileLineAndSuggestion() {
    let failure = failure(yaml: "seed: 1\nbatchsize: 64\n")
    #expect(failure?.status == .badConfiguration)
    #expect(failure?.description == "train.yaml:2: unknown setting `batchsize`. Did you mean `batch-size`?")
  }

  @Test(arguments: [
    ("learning_rate", "learning-rate"), ("lerning-rate", "learning-rate"), ("Epochs", "epochs"), ("sede", "seed"),
    ("worker", "workers"), ("momentum-knid", "momentum-kind"), ("keeplast", "keep-last"), ("l1", "l2"),
  ])
  func suggestsTheNearestSetting(_ written: String, _ meant: String) {
    #expect(failure(yaml: "\(written): 1\n")?.remedy == "Did you mean `\(meant)`?")
  }

  @Test func suggestsNothingFarFetched() {
    #expect(failure(yaml: "dropout: 0.5\n")?.remedy == "`descent config show` lists what there is")
  }

  @Test func anUnknownVariableWithOurPrefixIsAnError() {
    let failure = failure(environment: ["DESCENT_LERNING_RATE": "0.1"])
    #expect(failure?.status == .badConfiguration)
    #expect(failure?.remedy == "Did you mean `DESCENT_LEARNING_RATE`?")
  }

  @Test func anUnknownFlagIsAUsageError() {
    let failure = failure(flags: [("sharts", "3")])
    #expect(failure?.status == .usage)
    #expect(failure?.remedy == "Did you mean `--shards`?")
  }

  @Test func aWrongValueNamesWhatWasFoundWhatIsAcceptedAndWhereItStood() {
    let inFile = failure(yaml: "\nshards: lots\n")
    #expect(inFile?.status == .badConfiguration)
    #expect(
      inFile?.description == "train.yaml:2: shards: found \"lots\", expected an integer from 1 to 1024 (shards)")
    let inEnvironment = failure(environment: ["DESCENT_MOMENTUM": "1"])
    #expect(inEnvironment?.status == .badConfiguration)
    #expect(inEnvironment?.description == "DESCENT_MOMENTUM: found \"1\", expected a number from 0 to below 1")
    let inFlag = failure(flags: [("consistency", "ssp")])
    #expect(inFlag?.status == .usage)
    #expect(inFlag?.description == "--consistency: found \"ssp\", expected bsp, bsp:backup=B, ssp:S or asp")
  }

  @Test func anEmptyValueIsOnlyForSettingsThatMayBeUnset() throws {
    #expect(throws: Failure.self) { try resolve(yaml: "data:\n").dataDirectory }
    #expect(failure(yaml: "shards:\n")?.found == "nothing")
    #expect(failure(environment: ["DESCENT_SHARDS": ""])?.found == "\"\"")
    #expect(failure(flags: [("data", "")])?.status == .usage)
  }

  @Test func aWrongValueIsAnErrorEvenWhereAHigherLayerOverridesIt() {
    #expect(failure(yaml: "shards: 0\n", flags: [("shards", "16")])?.status == .badConfiguration)
  }

  @Test func settingsMustAgreeWithEachOther() {
    #expect(failure(flags: [("batch-size", "100")])?.expected == "a multiple of the shards 16 (default)")
    #expect(failure(flags: [("workers", "17")])?.expected == "no more workers than the shards 16 (default)")
    #expect(failure(flags: [("consistency", "bsp:backup=16")])?.status == .usage)
    #expect(failure(flags: [("workers", "0"), ("consistency", "asp")])?.status == .usage)
    #expect(failure(flags: [("lease-seconds", "0.9")])?.status == .usage)
  }

  @Test func aDefaultIsNeverTheCulprit() {
    let fromFile = failure(yaml: "shards: 7\n")
    #expect(fromFile?.status == .badConfiguration)
    #expect(fromFile?.expected == "a multiple of the shards 7 (train.yaml:1)")
    #expect(failure(flags: [("shards", "7")])?.status == .usage)
  }
}
