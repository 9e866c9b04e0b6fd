import Diagnostics
import Optimization
import RunConfiguration
import Testing

@Suite struct ModelSettingsTests {
  private typealias Flags = [(name: String, text: String)]

  private func plan(_ flags: (name: String, text: String)...) throws -> TrainingPlan {
    try ResolvedSettings.resolve(flags: flags).trainingPlan(exampleCount: 50_000)
  }

  private func failure(_ flags: (name: String, text: String)...) -> Failure? {
    do throws(Failure) {
      _ = try ResolvedSettings.resolve(flags: flags).trainingPlan(exampleCount: 50_000)
      return nil
    } catch { return error }
  }

  private func warnings(_ flags: (name: String, text: String)...) throws -> [String] {
    let settings = try ResolvedSettings.resolve(flags: flags)
    return settings.withoutEffect(in: try settings.trainingPlan(exampleCount: 50_000))
  }

  @Test func `without hidden layers the plan is that of the linear classifier`() throws {
    for plan in [try plan(), try plan(("hidden", "0")), try plan(("activation", "tanh"))] {
      #expect(plan.shape == .cifar10)
      #expect(plan.initialization == .normal && plan.initialStandardDeviation == 0.001)
      #expect(plan.margin == 1 && plan.reduction == .mean && plan.dropout == 0)
    }
  }

  @Test func `hidden layers make a network, with ReLU and He's initialization unless told otherwise`() throws {
    let one = try plan(("hidden", "100"))
    #expect(one.shape == ModelShape(classes: 10, pixels: 3072, hidden: [100], activation: .relu))
    #expect(one.initialization == .he)
    let two = try plan(("hidden", "256,128"), ("activation", "tanh"), ("dropout", "0.5"))
    #expect(two.shape == ModelShape(classes: 10, pixels: 3072, hidden: [256, 128], activation: .tanh))
    #expect(two.initialization == .xavier && two.dropout == 0.5)
    let leaky = try plan(("hidden", "8"), ("activation", "leaky-relu"), ("initialization", "xavier"))
    #expect(leaky.shape.activation == .leakyReLU(slope: 0.2) && leaky.initialization == .xavier)
    let slope = try plan(("hidden", "8"), ("activation", "leaky-relu"), ("leaky-slope", "0.01"))
    #expect(slope.shape.activation == .leakyReLU(slope: 0.01))
    let elu = try plan(("hidden", "8"), ("activation", "elu"), ("elu-alpha", "0.5"))
    #expect(elu.shape.activation == .elu(alpha: 0.5))
    let normal = try plan(
      ("hidden", "8"), ("initialization", "normal"), ("initial-standard-deviation", "0.02"))
    #expect(normal.initialization == .normal && normal.initialStandardDeviation == 0.02)
    let hinge = try plan(("loss", "svm"), ("margin", "10"), ("reduction", "sum"))
    #expect(hinge.margin == 10 && hinge.reduction == .sum)
  }

  @Test(arguments: ["", "-1", "100,", ",100", "100,0", "0,0", "1e2", "100 50", "1048577", "1,1,1,1,1,1,1,1", "x"])
  func `hidden is a list of numbers of units, and nothing else`(text: String) {
    let failure = failure(("hidden", text))
    #expect(failure?.status == .usage)
    #expect(
      failure?.message.contains("--hidden must be the units of at most 7 layers, separated by commas, or 0") == true)
  }

  @Test(arguments: [("256, 128", "256,128"), ("256 128", "256,128"), ("[256,128]", "256,128"), ("256x128", "256,128")])
  func `another way of writing the layers is answered with ours`(text: String, ours: String) {
    #expect(failure(("hidden", text))?.remedy == "Did you mean `\(ours)`?")
  }

  @Test func `dropout needs hidden layers, and a network weights that differ`() {
    #expect(
      failure(("dropout", "0.5"))?.description
        == "--dropout 0.5 needs hidden layers: --hidden (not set, the default). Give their units, as in --hidden 100")
    let zero = failure(
      ("hidden", "100"), ("initialization", "normal"), ("initial-standard-deviation", "0"))
    #expect(
      zero?.message.hasPrefix("--initial-standard-deviation 0 keeps all units of a layer the same: --hidden") == true)
    #expect(zero?.remedy == "Use --initialization he")
    #expect(failure(("initial-standard-deviation", "0")) == nil)
  }

  @Test func `what has no effect is said, and what has is not`() throws {
    #expect(
      try warnings(("activation", "tanh")) == [
        "--activation tanh has no effect: without hidden layers the model is linear"
      ])
    #expect(try warnings(("hidden", "8"), ("activation", "tanh")) == [])
    #expect(
      try warnings(("hidden", "8"), ("leaky-slope", "0.1")) == [
        "--leaky-slope 0.1 has no effect: the activation is relu"
      ])
    #expect(try warnings(("hidden", "8"), ("activation", "leaky-relu"), ("leaky-slope", "0.1")) == [])
    #expect(
      try warnings(("hidden", "8"), ("activation", "leaky-relu"), ("elu-alpha", "2")) == [
        "--elu-alpha 2 has no effect: the activation is leaky-relu"
      ])
    #expect(
      try warnings(("hidden", "8"), ("initial-standard-deviation", "0.1")) == [
        "--initial-standard-deviation 0.1 has no effect: the initialization is he"
      ])
    #expect(try warnings(("initial-standard-deviation", "0.1")) == [])
    #expect(try warnings(("margin", "2")) == ["--margin 2 has no effect: the loss is softmax"])
    #expect(try warnings(("loss", "squared-hinge"), ("margin", "2")) == [])
    #expect(
      try warnings(("init-from", "runs/a"), ("initialization", "he")) == [
        "--initialization he has no effect: the weights are those of runs/a"
      ])
    #expect(
      try warnings(("trace-steps", "1045..1050")) == [
        "--trace-steps 1045..1050 has no effect: the run has 1044 steps"
      ])
    #expect(try warnings(("trace-steps", "1044..1050")) == [])
  }

  // MARK: - Resuming

  private func pairs(_ flags: (name: String, text: String)...) throws -> [KeyValue] {
    try ResolvedSettings.resolve(flags: flags).checkpointPairs
  }

  private func differences(_ pairs: [KeyValue], _ flags: (name: String, text: String)...) throws -> [String] {
    try ResolvedSettings.resolve(flags: flags).differences(from: pairs)
  }

  @Test func `a checkpoint of a version without these settings is one of a linear classifier`() throws {
    let new = [
      "hidden", "activation", "leaky-slope", "elu-alpha", "dropout", "initialization", "margin", "reduction",
    ]
    let old = try pairs().filter { !new.contains($0.key) }
    #expect(try differences(old) == [])
    #expect(
      try differences(old, ("reduction", "sum")) == [
        "reduction differs: sum (from --reduction), but the checkpoint does not record it"
      ])
    #expect(try differences(old, ("hidden", "8")).contains { $0.hasPrefix("hidden differs: 8 (from --hidden)") })
    #expect(ResolvedSettings(recorded: old).hidden == [])
  }

  @Test func `the model of a checkpoint must stay, and settings without effect may differ`() throws {
    let network = try pairs(("hidden", "8,9"), ("dropout", "0.25"))
    #expect(try differences(network, ("hidden", "8,9"), ("dropout", "0.25"), ("leaky-slope", "0.1")) == [])
    #expect(
      try differences(network, ("hidden", "8"), ("dropout", "0.25")) == [
        "hidden differs: 8 (from --hidden), but the checkpoint was trained with 8,9"
      ])
    #expect(
      try differences(network, ("hidden", "8,9"), ("activation", "elu"), ("dropout", "0.25")).count == 1)
    #expect(try differences(network).contains { $0.hasPrefix("hidden differs: not set (the default)") })
    #expect(try differences(pairs(), ("activation", "elu"), ("margin", "3")) == [])
    #expect(try differences(pairs(("loss", "svm")), ("loss", "svm"), ("margin", "3")).count == 1)
  }

  @Test func `the settings of a network survive the run's config file and the document of a launch`() throws {
    let flags: Flags = [
      ("hidden", "256,128"), ("activation", "leaky-relu"), ("leaky-slope", "0.1"), ("initialization", "xavier"),
      ("dropout", "0.3"), ("reduction", "sum"),
    ]
    let settings = try ResolvedSettings.resolve(flags: flags)
    let file = try ConfigurationFile(text: settings.yaml(workingDirectory: "/"), path: "config.yaml")
    let again = try [
      ResolvedSettings.resolve(file: file), ResolvedSettings.resolve(document: settings.document),
    ]
    for resolved in again { #expect(resolved.entries.map(\.text) == settings.entries.map(\.text)) }
    #expect(settings.json.contains("\"hidden\": {\n    \"value\": \"256,128\","))
  }

  @Test(arguments: [
    ("hidden-size", "hidden"), ("hidden-layer-sizes", "hidden"), ("model", "hidden"), ("nonlinearity", "activation"),
    ("negative-slope", "leaky-slope"), ("dropout-rate", "dropout"), ("init", "initialization"),
    ("weight-scale", "initial-standard-deviation"), ("delta", "margin"),
  ])
  func `names of other trainers lead to ours`(name: String, ours: String) {
    let failure = failure((name, "1"))
    #expect(failure?.remedy?.hasPrefix("Did you mean `--\(ours)`?") == true)
  }
}
