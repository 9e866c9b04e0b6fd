import Diagnostics
import Optimization
import RunConfiguration
import Testing

/// How the settings of a run and those of its next start come together.
@Suite struct ContinuationTests {
  /// Resumes a run in `runs/a` that was started with `first`.
  private func resume(
    _ first: [(name: String, text: String)] = [], _ flags: [(name: String, text: String)],
    policy: String = "must", environment: [String: String] = [:]
  ) throws(Failure) -> ResolvedSettings {
    let yaml = try ResolvedSettings.resolve(flags: first).yaml(workingDirectory: "/home/me")
    let file = try ConfigurationFile(text: yaml, path: "runs/a/config.yaml")
    return try ResolvedSettings.resolve(
      environment: environment, flags: [("run-dir", "runs/a"), ("resume", policy)] + flags,
      run: { _, _ in file.lines })
  }

  private func pairs(_ flags: [(name: String, text: String)] = []) throws -> [KeyValue] {
    try ResolvedSettings.resolve(flags: flags).checkpointPairs
  }

  @Test func `a resumed run has the settings of the run, and those that are given`() throws {
    let first = [(name: "l2", text: "0.5"), ("patience", "3"), ("data", "cifar"), ("loss", "svm")]
    let settings = try resume(first, [("patience", "7")], environment: ["DESCENT_WORKERS": "4"])
    #expect(settings.l2 == 0.5)
    #expect(settings.loss == .hinge)
    #expect(settings.learningRate == 0.005)
    #expect(settings.data == "/home/me/cifar")
    #expect(settings.patience == 7)
    #expect(settings.workers == 4)
    #expect(settings.runDirectory == "runs/a")
    #expect(settings.origin(of: \.l2).description.hasPrefix("runs/a/config.yaml:"))
    #expect(settings.differences(from: try pairs(first)).isEmpty)
  }

  @Test func `the run is asked for with the policy and the directory, whatever gives them`() throws {
    var asked: [String?] = []
    _ = try ResolvedSettings.resolve(
      environment: ["DESCENT_RUN_DIR": "runs/b"], flags: [("resume", "auto")],
      run: { policy, directory in
        asked.append(policy == .auto ? directory : nil)
        return []
      })
    #expect(asked == ["runs/b"])
  }

  @Test func `config.yaml names no start: no directory, resumption, origin of weights or key`() throws {
    let settings = try ResolvedSettings.resolve(flags: [
      ("run-dir", "runs/a"), ("resume", "auto"), ("init-from", "runs/b"), ("key", "coordinator"), ("keys", "keys"),
      ("data", "cifar"),
    ])
    let yaml = settings.yaml(workingDirectory: "/home/me")
    for name in ["run-dir", "resume", "init-from", "key"] { #expect(!yaml.contains("\(name):")) }
    #expect(yaml.contains("data: /home/me/cifar\n"))
    #expect(yaml.contains("keys: /home/me/keys\n"))
    let old = try ConfigurationFile(text: "run-dir: runs/b\nresume: never\nseed: 3\n", path: "config.yaml")
    let resumed = try ResolvedSettings.resolve(
      flags: [("run-dir", "runs/a"), ("resume", "must")], run: { _, _ in old.lines })
    #expect(resumed.runDirectory == "runs/a")
    #expect(resumed.resume == .must)
    #expect(resumed.seed == 3)
  }

  // MARK: - The schedule

  @Test func `fewer epochs continue the schedule`() throws {
    let settings = try resume([("epochs", "12")], [("epochs", "6")])
    let plan = try settings.trainingPlan(exampleCount: 50_000)
    #expect(plan.totalSteps == 6 * 87)
    #expect(plan.learningRate.horizon == 12 * 87)
    #expect(settings.stoppingRule(for: plan).endOfPlan == .epochs)
    #expect(settings.differences(from: try pairs()).isEmpty)
  }

  @Test func `more epochs than the cosine schedule has are refused with the commands to choose from`() throws {
    let failure = #expect(throws: Failure.self) { try resume([("epochs", "12")], [("epochs", "24")]) }
    #expect(failure?.status == .usage)
    let text = failure?.description ?? ""
    #expect(text.hasPrefix("--epochs 24 exceeds --schedule-epochs (12, from runs/a/config.yaml:"))
    #expect(text.contains("descent train --run-dir runs/a --resume must --epochs 24 --schedule-epochs 24"))
    #expect(text.contains("descent train --config runs/a/config.yaml --init-from runs/a --epochs 12"))
  }

  @Test func `schedule-epochs stretches the schedule`() throws {
    let settings = try resume([("epochs", "12")], [("epochs", "24"), ("schedule-epochs", "24")])
    let plan = try settings.trainingPlan(exampleCount: 50_000)
    #expect(plan.totalSteps == 24 * 87)
    #expect(plan.learningRate.horizon == 24 * 87)
    #expect(plan.learningRate.rate(at: 12 * 87) > 0)
    #expect(settings.differences(from: try pairs()).isEmpty)
    // What was chosen stays chosen.
    let again = try ResolvedSettings.resolve(
      flags: [("resume", "must"), ("run-dir", "runs/a")],
      run: { _, _ throws(Failure) in
        try ConfigurationFile(text: settings.yaml(workingDirectory: "/"), path: "config.yaml").lines
      })
    #expect(try again.trainingPlan(exampleCount: 50_000) == plan)
    #expect(again.differences(from: settings.checkpointPairs).isEmpty)
  }

  @Test(arguments: ["constant", "step"])
  func `the other schedules have no end to be moved`(schedule: String) throws {
    let first = [(name: "schedule", text: schedule)]
    let settings = try resume(first, [("epochs", "24")])
    #expect(settings.differences(from: try pairs(first)).isEmpty)
    #expect(try settings.trainingPlan(exampleCount: 50_000).totalSteps == 24 * 87)
  }

  @Test func `without the settings of the run another end of the schedule differs`() throws {
    let given = [(name: "epochs", text: "6"), ("schedule-epochs", "12")]
    #expect(try ResolvedSettings.resolve(flags: given).differences(from: pairs()).isEmpty)
    #expect(try ResolvedSettings.resolve().differences(from: pairs(given)).isEmpty)
    #expect(
      try ResolvedSettings.resolve(flags: [("epochs", "6")]).differences(from: pairs(given)) == [
        "epochs differs: 6 (from --epochs), but the schedule of the checkpoint has 12"
      ])
    // As in a checkpoint of a version without the setting.
    let old = try pairs().filter { $0.key != "schedule-epochs" }
    #expect(try ResolvedSettings.resolve().differences(from: old).isEmpty)
    #expect(try ResolvedSettings.resolve(flags: [("epochs", "6")]).differences(from: old).count == 1)
  }

  // MARK: - Other weights

  @Test func `what would leave the trajectory is refused with the command for a new run`() throws {
    let settings = try resume([], [("learning-rate", "0.01"), ("l2", "0.5")])
    let failure = #expect(throws: Failure.self) {
      try settings.requireSameTrajectory(
        as: try pairs(), checkpoint: "runs/a/checkpoints/step-000000000012", configuration: "runs/a/config.yaml")
    }
    #expect(failure?.status == .badConfiguration)
    #expect(
      failure?.remedy == """
        Omit what differs, or start a new run from these weights: descent train --config runs/a/config.yaml --init-from \
        runs/a/checkpoints/step-000000000012 --l2 0.5 --learning-rate 0.01
        """)
  }

  @Test func `init-from excludes a resumption that must be one`() throws {
    for policy in ["must", "runs/b"] {
      let failure = #expect(throws: Failure.self) {
        try ResolvedSettings.resolve(flags: [("init-from", "runs/a"), ("resume", policy)])
      }
      #expect(failure?.description == "--init-from runs/a starts a new run, and so excludes --resume (\(policy))")
    }
    #expect(try ResolvedSettings.resolve(flags: [("init-from", "runs/a"), ("resume", "auto")]).initFrom == "runs/a")
  }
}
