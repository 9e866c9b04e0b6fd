import Optimization
import RunConfiguration
import Testing

@Suite struct SettingTableTests {
  private static let rows = SettingTable.rows

  @Test func `every name is there once`() {
    let names = SettingTable.all.map(\.name)
    #expect(names.count == Set(names).count)
    #expect(names.count == 62)
    #expect(names.allSatisfy { $0.wholeMatch(of: /[a-z0-9]+(-[a-z0-9]+)*/) != nil })
  }

  @Test func `the rows of a group stand together`() {
    var groups: [SettingGroup] = []
    for setting in SettingTable.all where setting.group != groups.last { groups.append(setting.group) }
    #expect(groups == SettingGroup.allCases)
  }

  @Test func `derives the environment name and the flag from the name`() {
    #expect(Self.rows.learningRate.definition.environmentName == "DESCENT_LEARNING_RATE")
    #expect(Self.rows.l2.definition.environmentName == "DESCENT_L2")
    #expect(Self.rows.learningRate.definition.flagName == "--learning-rate")
  }

  @Test func `every default is accepted by its own setting`() {
    for setting in SettingTable.all {
      for loss in Loss.allCases {
        for optimizer in Optimizer.Kind.allCases {
          let text = setting.defaultText(DefaultBasis(loss: loss, optimizer: optimizer))
          #expect(setting.accepted(text) == .some(text), "\(setting.name)")
        }
      }
    }
  }

  @Test func `accepts the bounds, and refuses what lies beyond`() {
    func accepted(_ row: any AnySetting, _ text: String) -> String? { row.definition.accepted(text) ?? nil }
    let rows = Self.rows
    #expect(accepted(rows.shards, "1") == "1")
    #expect(accepted(rows.shards, "1024") == "1024")
    #expect(accepted(rows.shards, "0") == nil)
    #expect(accepted(rows.shards, "1025") == nil)
    #expect(accepted(rows.momentum, "0") == "0")
    #expect(accepted(rows.momentum, "0.999") == "0.999")
    #expect(accepted(rows.momentum, "1") == nil)
    #expect(accepted(rows.learningRate, "0") == nil)
    #expect(accepted(rows.learningRate, "5e-3") == "0.005")
    #expect(accepted(rows.seed, "18446744073709551615") == "18446744073709551615")
    #expect(accepted(rows.port, "0") == "0")
    #expect(accepted(rows.port, "65536") == nil)
  }

  @Test(arguments: SettingTable.all.filter { !$0.choices.isEmpty }.map(\.name))
  func `a name that is none of the choices is refused`(_ name: String) throws {
    let setting = try #require(SettingTable.setting(named: name))
    for choice in setting.choices { #expect(setting.accepted(choice) == choice) }
    if name != "resume" {
      #expect(setting.accepted("softmx") == nil)
      #expect(setting.accepted("") == nil)
      // Signals are upper-case, the others are lower-case.
      let choice = setting.choices[0]
      let other = choice == choice.uppercased() ? choice.lowercased() : choice.uppercased()
      #expect(setting.accepted(other) == nil)
    }
  }

  @Test(arguments: [("usr1", "USR1"), ("Term", "TERM"), ("sigusr2", "SIGUSR2")])
  func `a signal is upper-case, with SIG or without`(_ text: String, _ meant: String) throws {
    let setting = Self.rows.warningSignal.definition
    #expect(setting.accepted("SIGUSR1") == "USR1")
    #expect(setting.accepted("SIGSIGUSR1") == nil && setting.accepted("SIG") == nil)
    let failure = #expect(throws: (any Error).self) {
      try ResolvedSettings.resolve(flags: [(setting.name, text)])
    }
    #expect("\(failure!)".contains("Did you mean `\(meant)`?"), "\(failure!)")
  }

  @Test(arguments: ["", " ", "-1", "+1", "1.5", "1e3", "0x10", "1_000", "18446744073709551616", "many", "٣"])
  func `refuses what is not a plain integer`(_ text: String) {
    #expect(Self.rows.maxSteps.definition.accepted(text) == nil)
  }

  @Test(arguments: ["", "nan", "inf", "-inf", "0x1p3", "1e999", "1,5", "half", "--1", " 1"])
  func `refuses what is not a plain number`(_ text: String) {
    #expect(Self.rows.l2.definition.accepted(text) == nil)
  }

  @Test(arguments: [("1..1", 1...1), ("20..65555", 20...65_555), ("7..12", 7...12)] as [(String, ClosedRange<UInt64>)])
  func `a range of steps has both its ends`(text: String, steps: ClosedRange<UInt64>) throws {
    #expect(Self.rows.traceSteps.definition.accepted(text) == .some(text))
    let settings = try ResolvedSettings.resolve(flags: [("trace-steps", text)])
    #expect(settings.traceSteps == steps)
    // It is of one start: neither the run's file nor a checkpoint has it.
    #expect(!settings.yaml(workingDirectory: "/").contains("trace-steps"))
    #expect(!settings.checkpointPairs.contains { $0.key == "trace-steps" })
    #expect(try ResolvedSettings.resolve(document: settings.document).traceSteps == steps)
  }

  @Test(arguments: ["", "5", "0..5", "6..5", "1..", "..5", "1..2..3", "1...5", "-1..5", "1..65537", "1..1e3", "a..b"])
  func `refuses what is no range of steps`(text: String) {
    #expect {
      try ResolvedSettings.resolve(environment: ["DESCENT_TRACE_STEPS": text.isEmpty ? " " : text])
    } throws: { error in
      "\(error)".contains("DESCENT_TRACE_STEPS must be A..B, the first and the last of at most 65536 steps")
    }
  }

  @Test(arguments: ["10-20", "10:20", "10...20", "10, 20", "'10..20'"])
  func `offers the spelling of a range that was meant`(text: String) {
    let failure = #expect(throws: (any Error).self) {
      try ResolvedSettings.resolve(flags: [("trace-steps", text)])
    }
    #expect("\(failure!)".contains("Did you mean `10..20`?"))
  }

  @Test func `negative zero is zero`() {
    #expect(Self.rows.l2.definition.accepted("-0.0") == "0")
  }

  @Test func `names units, bounds and defaults in the help`() {
    #expect(Self.rows.shards.definition.expectation == "an integer from 1 to 1024 (shards)")
    #expect(Self.rows.momentum.definition.expectation == "a number from 0 up to but not including 1")
    #expect(
      Self.rows.loss.definition.expectation
        == "softmax, svm, squared-hinge, logistic, squared-error or sigmoid-squared-error")
    #expect(Self.rows.batchSize.definition.flagHelp.hasSuffix("default 512."))
    #expect(Self.rows.schedule.definition.flagHelp == "How the learning rate decays after the warm-up; default cosine.")
    #expect(Self.rows.keys.definition.flagHelp.hasSuffix(": a path.") == false)
    #expect(Self.rows.learningRate.definition.flagHelp.contains("default 0.05 with softmax, 0.005 with svm, "))
  }
}
