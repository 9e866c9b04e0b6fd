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

  @Test func `everything has a default`() throws {
    let settings = try resolve()
    #expect(settings.entries.allSatisfy { $0.origin == .defaultValue })
    #expect(settings.workers == 2)
    #expect(settings.batchSize == 512)
    #expect(settings.loss == .softmaxCrossEntropy)
    #expect(settings.schedule == .cosine)
    #expect(settings.momentum == 0)
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

  @Test func `each layer overrides the one below`() throws {
    let yaml = "seed: 1\nbatch-size: 64\nl2: 0.5\n"
    let environment = ["DESCENT_BATCH_SIZE": "128", "DESCENT_L2": "0.25"]
    let settings = try resolve(yaml: yaml, environment: environment, flags: [("l2", "0.125")])
    #expect(settings.origin(of: \.shards) == .defaultValue)
    #expect(settings.seed == 1)
    #expect(settings.origin(of: \.seed) == .file(path: "train.yaml", line: 1))
    #expect(settings.batchSize == 128)
    #expect(settings.origin(of: \.batchSize) == .environment("DESCENT_BATCH_SIZE"))
    #expect(settings.l2 == 0.125)
    #expect(settings.origin(of: \.l2) == .flag("--l2"))
  }

  @Test func `the last of two equal flags counts`() throws {
    #expect(try resolve(flags: [("seed", "1"), ("seed", "2")]).seed == 2)
  }

  @Test func `the default learning rate depends on the loss`() throws {
    let softmax = try resolve().learningRate
    let svm = try resolve(environment: ["DESCENT_LOSS": "svm"]).learningRate
    #expect(svm < softmax)
    #expect(try resolve(yaml: "loss: svm\nlearning-rate: 0.5\n").learningRate == 0.5)
  }

  @Test func `reads every kind of value`() throws {
    let settings = try resolve(flags: [
      ("loss", "svm"), ("schedule", "step"), ("step-every", "30"), ("step-factor", "0.1"), ("momentum", "0.9"),
      ("momentum-kind", "nesterov"), ("consistency", "ssp:4"), ("transport", "tcp"), ("bind", "0.0.0.0"),
      ("run-dir", "runs/x"), ("resume", "runs/x/checkpoints/latest"), ("target-accuracy", "0.4"),
      ("checkpoint-seconds", "1.5"), ("max-steps", "10"), ("data", "/data/cifar10"),
    ])
    #expect(settings.loss == .hinge)
    #expect(settings.schedule == .step)
    #expect(settings.stepEvery == 30)
    #expect(settings.stepFactor == 0.1)
    #expect(settings.momentum == 0.9)
    #expect(settings.momentumKind == .nesterov)
    #expect(settings.consistency == .ssp(4))
    #expect(settings.transport == .tcp)
    #expect(settings.bind == "0.0.0.0")
    #expect(settings.runDirectory == "runs/x")
    #expect(settings.resume == .checkpoint(path: "runs/x/checkpoints/latest"))
    #expect(settings.targetAccuracy == 0.4)
    #expect(settings.checkpointSeconds == 1.5)
    #expect(settings.maxSteps == 10)
    #expect(try settings.dataDirectory == "/data/cifar10")
    #expect(try resolve(flags: [("resume", "auto")]).resume == .auto)
    #expect(try resolve(flags: [("resume", "must")]).resume == .must)
  }

  @Test func `settings without a value read as nil`() throws {
    let settings = try resolve()
    #expect(settings.keys == nil)
    #expect(settings.key == nil)
    #expect(settings.port == nil)
    #expect(try resolve(flags: [("port", "5555"), ("keys", "k")]).port == 5555)
  }

  @Test func `variables of others are not ours`() throws {
    _ = try resolve(environment: ["PATH": "/bin", "DESCENT_KERNEL": "portable", "DESCENT_PROGRAMS": "/bin"])
  }

  @Test func `an unknown setting is an error with file, line and suggestion`() {
    let failure = failure(yaml: "seed: 1\nbatchsize: 64\n")
    #expect(failure?.status == .badConfiguration)
    #expect(failure?.description == "train.yaml:2: unknown setting `batchsize`. Did you mean `batch-size`?")
  }

  @Test(arguments: [
    ("learning_rate", "learning-rate"), ("lerning-rate", "learning-rate"), ("Epochs", "epochs"), ("sede", "seed"),
    ("worker", "workers"), ("momentum-knid", "momentum-kind"), ("keeplast", "keep-last"), ("l3", "l2"),
    ("lr", "learning-rate"),
  ])
  func `suggests the nearest setting`(_ written: String, _ meant: String) {
    #expect(failure(yaml: "\(written): 1\n")?.remedy == "Did you mean `\(meant)`?")
  }

  @Test func `suggests nothing far-fetched`() {
    #expect(failure(yaml: "weather: 0.5\n")?.remedy == "List all settings with: descent config show")
  }

  @Test func `an unknown variable with our prefix is an error`() {
    let failure = failure(environment: ["DESCENT_LERNING_RATE": "0.1"])
    #expect(failure?.status == .badConfiguration)
    #expect(failure?.remedy == "Did you mean `DESCENT_LEARNING_RATE`?")
  }

  @Test(arguments: [
    ("lr", "Did you mean `--learning-rate`?"), ("iterations", "Did you mean `--max-steps`?"),
    ("Num_Epochs", "Did you mean `--epochs`?"), ("gpu", "Descent computes on the CPU"),
    (
      "weight-decay",
      "Did you mean `--l2`? A weight decay of d is an l2 of d/2: the penalty is l2 times the sum of the squared weights. "
        + "With `optimizer: adamw` it is decoupled from the gradient"
    ), ("optim", "Did you mean `--optimizer`?"),
    ("nesterov", "Did you mean `--optimizer`? One of its values is nesterov"),
  ])
  func `a name that other trainers use is answered by the setting in its place`(name: String, hint: String) {
    #expect(SettingTable.hint(for: "--" + name) { $0.flagName } == hint)
    #expect(
      failure(yaml: "\(name): 1\n")?.remedy == hint.replacing("`--", with: "`"))
    let variable = "DESCENT_" + name.uppercased().replacing("-", with: "_")
    let remedy = failure(environment: [variable: "1"])?.remedy
    #expect(remedy == SettingTable.hint(for: variable) { $0.environmentName })
    #expect(remedy?.contains("`--") == false && (remedy?.hasPrefix("Did you mean `DESCENT_") == true || name == "gpu"))
  }

  @Test func `every setting that a customary name stands for exists, and no such name is a setting`() {
    for (names, setting, remark) in SettingTable.customaryNames {
      #expect(setting.map { SettingTable.setting(named: $0) != nil } ?? (remark != nil))
      for name in names { #expect(SettingTable.setting(named: name) == nil, "\(name)") }
    }
  }

  @Test func `an unknown flag is a usage error`() {
    let failure = failure(flags: [("sharts", "3")])
    #expect(failure?.status == .usage)
    #expect(failure?.remedy == "Did you mean `--shards`?")
  }

  @Test func `a wrong value is an error that names what is accepted, what it is and where it stood`() {
    let inFile = failure(yaml: "\nshards: lots\n")
    #expect(inFile?.status == .badConfiguration)
    #expect(
      inFile?.description == "train.yaml:2: shards must be an integer from 1 to 1024 (shards), but is \"lots\"")
    let inEnvironment = failure(environment: ["DESCENT_MOMENTUM": "1"])
    #expect(inEnvironment?.status == .badConfiguration)
    #expect(
      inEnvironment?.description
        == "DESCENT_MOMENTUM must be a number from 0 up to but not including 1, but is \"1\"")
    let inFlag = failure(flags: [("consistency", "ssp")])
    #expect(inFlag?.status == .usage)
    #expect(inFlag?.description == "--consistency must be bsp, bsp:backup=B, ssp:S or asp, but is \"ssp\"")
  }

  @Test func `an empty value is only for settings that may be unset`() throws {
    #expect(throws: Failure.self) { try resolve(yaml: "data:\n").dataDirectory }
    #expect(failure(yaml: "shards:\n")?.message.hasSuffix("but has no value") == true)
    #expect(try resolve(environment: ["DESCENT_SHARDS": ""]).origin(of: \.shards) == .defaultValue)
    #expect(failure(flags: [("data", "")])?.status == .usage)
  }

  @Test func `a wrong value is an error even where a higher layer overrides it`() {
    #expect(failure(yaml: "shards: 0\n", flags: [("shards", "16")])?.status == .badConfiguration)
  }

  @Test func `settings must agree with each other`() {
    #expect(
      failure(flags: [("batch-size", "100")])?.description
        == "--batch-size 100 must be a multiple of --shards (16, the default). "
        + "Use --batch-size 96 or 112, or --shards 10 or 20")
    #expect(failure(flags: [("workers", "17")])?.description == "--workers 17 exceeds --shards (16, the default)")
    #expect(failure(flags: [("consistency", "bsp:backup=16")])?.status == .usage)
    #expect(failure(flags: [("workers", "0"), ("consistency", "asp")])?.status == .usage)
    #expect(failure(flags: [("lease-seconds", "0.9")])?.status == .usage)
    #expect(
      failure(yaml: "shards: 7\n", environment: ["DESCENT_BATCH_SIZE": "100"])?.description
        == "DESCENT_BATCH_SIZE 100 must be a multiple of --shards (7, from train.yaml:1). "
        + "Use --batch-size 98 or 105, or --shards 5 or 10")
    #expect(
      failure(flags: [("batch-size", "3"), ("workers", "3")])?.remedy == "Use --batch-size 16, or --shards 3")
  }

  @Test func `a default is never blamed`() {
    let fromFile = failure(yaml: "shards: 7\n")
    #expect(fromFile?.status == .badConfiguration)
    #expect(
      fromFile?.description
        == "--batch-size (512, the default) must be a multiple of --shards (7, from train.yaml:1). "
        + "Use --batch-size 511 or 518, or --shards 4 or 8")
    #expect(failure(flags: [("shards", "7")])?.status == .usage)
  }

  // MARK: - Handing over

  /// A value for every setting that is not its default, all of them together valid.
  private static let others = [
    "data": "/data: \"x\"", "validation-examples": "10", "validation-fold": "2/5", "preprocessing": "none",
    "shards": "8",
    "seed": "18446744073709551615", "loss": "svm",
    "l2": "0.1", "l1": "0.2", "max-norm": "3",
    "hidden": "9,8", "activation": "elu", "leaky-slope": "0.1", "elu-alpha": "2", "dropout": "0.5",
    "initialization": "xavier", "margin": "2", "reduction": "sum",
    "initial-standard-deviation": "0", "batch-size": "64", "learning-rate": "1e-07", "schedule": "step",
    "schedule-epochs": "4", "step-every": "7", "step-factor": "0.25", "warmup-steps": "3",
    "optimizer": "adam", "momentum": "0.9", "momentum-kind": "nesterov", "beta1": "0.5", "beta2": "0.99",
    "epsilon": "1e-06", "decay-rate": "0.9",
    "epochs": "3", "max-steps": "9", "target-accuracy": "0.4", "patience": "2", "tolerance": "0",
    "gradient-norm": "0.5",
    "workers": "1", "min-workers": "3", "consistency": "bsp:backup=2", "transport": "tcp", "bind": "::1",
    "advertise": "eth0", "port": "5555", "keys": "k", "key": "worker-0", "heartbeat-seconds": "0.25",
    "lease-seconds": "4", "rendezvous-seconds": "5", "warning-signal": "USR2", "run-dir": "runs/x",
    "resume": "auto", "init-from": "runs/x:1/checkpoints/latest",
    "evaluate-every": "0", "test": "never", "checkpoint-every": "5",
    "checkpoint-seconds": "1.5",
    "keep-last": "1", "trace-steps": "7..9", "event-files": "off",
  ]

  @Test func `the document resolves to the same settings, whatever they came from`() throws {
    let names = SettingTable.all.map(\.name)
    #expect(Set(names) == Set(Self.others.keys))
    let yaml = names.map { "\($0): '\(Self.others[$0] ?? "")'\n" }.joined()
    let environment = Dictionary(
      uniqueKeysWithValues: SettingTable.all.map { ($0.environmentName, Self.others[$0.name] ?? "") })
    let flags = names.map { (name: $0, text: Self.others[$0] ?? "") }
    for settings in [
      try resolve(), try resolve(yaml: yaml), try resolve(environment: environment), try resolve(flags: flags),
    ] {
      #expect(try ResolvedSettings.resolve(document: settings.document) == settings)
    }
    #expect(try resolve(yaml: yaml).entries.map(\.text) == names.map { Self.others[$0] })
    #expect(try resolve().document == "{}")
  }

  @Test func `flags override the document`() throws {
    let document = try resolve(yaml: "run-dir: runs/x\nseed: 7\n").document
    let settings = try ResolvedSettings.resolve(document: document, flags: [("run-dir", "runs/y"), ("resume", "auto")])
    #expect(settings.runDirectory == "runs/y")
    #expect(settings.resume == .auto)
    #expect(settings.origin(of: \.seed) == .file(path: "train.yaml", line: 2))
  }

  @Test(arguments: [
    "", "[]", "{", "{\"dropout\":[\"1\",\"default\"]}", "{\"seed\":\"1\"}", "{\"seed\":[\"x\",\"--seed\"]}",
    "{\"seed\":[\"1\"]}", "{\"seed\":[\"1\",2]}",
  ])
  func `a document that is none is refused`(_ document: String) {
    #expect(throws: Failure.self) { try ResolvedSettings.resolve(document: document) }
  }
}
