import RunConfiguration
import Testing

@Suite struct SettingTableTests {
  @Test func hasOneRowForEachKeyInTheOrderOfTheKeys() {
    #expect(SettingDefinition.all.map(\.key) == SettingKey.allCases)
  }

  @Test func derivesTheEnvironmentNameAndTheFlagFromTheKey() {
    #expect(SettingKey.learningRate.environmentName == "DESCENT_LEARNING_RATE")
    #expect(SettingKey.l2.environmentName == "DESCENT_L2")
    #expect(SettingKey.learningRate.flagName == "--learning-rate")
  }

  @Test func everyDefaultIsAcceptedByItsOwnSetting() {
    for definition in SettingDefinition.all {
      let defaults: [SettingValue] =
        switch definition.defaultValue {
        case .unset: []
        case .value(let value): [value]
        case .byLoss(let softmax, let svm): [softmax, svm]
        }
      for value in defaults {
        #expect(definition.kind.value(parsing: value.text) == value, "\(definition.key.rawValue)")
      }
    }
  }

  @Test func acceptsTheBoundsAndRefusesWhatLiesBeyond() {
    let shards = SettingDefinition.of(.shards).kind
    #expect(shards.value(parsing: "1") == .integer(1))
    #expect(shards.value(parsing: "1024") == .integer(1024))
    #expect(shards.value(parsing: "0") == nil)
    #expect(shards.value(parsing: "1025") == nil)
    let momentum = SettingDefinition.of(.momentum).kind
    #expect(momentum.value(parsing: "0") == .number(0))
    #expect(momentum.value(parsing: "0.999") == .number(0.999))
    #expect(momentum.value(parsing: "1") == nil)
    let learningRate = SettingDefinition.of(.learningRate).kind
    #expect(learningRate.value(parsing: "0") == nil)
    #expect(learningRate.value(parsing: "5e-3") == .number(0.005))
    #expect(SettingDefinition.of(.seed).kind.value(parsing: "18446744073709551615") == .integer(.max))
  }

  @Test(arguments: ["", " ", "-1", "+1", "1.5", "1e3", "0x10", "1_000", "18446744073709551616", "many", "٣"])
  func refusesWhatIsNotAPlainInteger(_ text: String) {
    #expect(SettingDefinition.of(.maxSteps).kind.value(parsing: text) == nil)
  }

  @Test(arguments: ["", "nan", "inf", "-inf", "0x1p3", "1e999", "1,5", "half", "--1", " 1"])
  func refusesWhatIsNotAPlainNumber(_ text: String) {
    #expect(SettingDefinition.of(.l2).kind.value(parsing: text) == nil)
  }

  @Test func negativeZeroIsZero() {
    #expect(SettingDefinition.of(.l2).kind.value(parsing: "-0.0")?.text == "0")
  }

  @Test func namesUnitsBoundsAndDefaultsInTheHelp() {
    #expect(SettingDefinition.of(.shards).expectation == "an integer from 1 to 1024 (shards)")
    #expect(SettingDefinition.of(.momentum).expectation == "a number from 0 to below 1")
    #expect(SettingDefinition.of(.loss).expectation == "softmax or svm")
    #expect(SettingDefinition.of(.batchSize).flagHelp.hasSuffix("default 512"))
    #expect(SettingDefinition.of(.learningRate).flagHelp.contains("for svm"))
  }
}
