import Diagnostics
import FoundationEssentials
import RunConfiguration
import Testing

/// The files that people copy from: they must say what the table says.
@Suite struct ConfigDirectoryTests {
  private static let directory = URL(filePath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().appending(path: "Config")

  private func lines(_ name: String) throws -> [String] {
    let text = try String(contentsOf: Self.directory.appending(path: name), encoding: .utf8)
    return text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
  }

  /// The commented-out settings of the reference: `# key: value` or `# key:`, and the comment above each.
  private func reference() throws -> [(line: String, key: String, value: String?, comment: String)] {
    var settings: [(line: String, key: String, value: String?, comment: String)] = []
    var comment = ""
    for line in try lines("reference.yaml") {
      if line.isEmpty {
        comment = ""
      } else if let match = line.wholeMatch(of: /# (?<key>[a-z0-9-]+):(?: (?<value>\S+))?/),
        !comment.isEmpty
      {
        settings.append((String(line.dropFirst(2)), String(match.key), match.value.map(String.init), comment))
      } else {
        comment += line.dropFirst(2) + " "
      }
    }
    return settings
  }

  @Test func theReferenceListsExactlyTheTableWithItsDefaults() throws {
    let reference = try reference()
    #expect(reference.map(\.key) == SettingDefinition.all.map(\.key.rawValue))
    let defaults = try ResolvedSettings.resolve().entries.map { $0.value?.text }
    #expect(reference.map(\.value) == defaults)
  }

  @Test func theReferenceNamesEveryUnitBoundAndMark() throws {
    for (setting, definition) in zip(try reference(), SettingDefinition.all) {
      #expect(setting.comment.contains("Takes \(definition.expectation)."), "\(setting.key)")
      #expect(setting.comment.contains("[trajectory]") == definition.shapesTrajectory, "\(setting.key)")
      if case .byLoss(_, let svm) = definition.defaultValue {
        #expect(setting.comment.contains("it is \(svm.text)."), "\(setting.key)")
      }
    }
  }

  @Test func everyLineOfTheReferenceResolvesToTheDefault() throws {
    let defaults = try ResolvedSettings.resolve()
    for setting in try reference() {
      let file = try ConfigurationFile(text: setting.line, path: "reference.yaml")
      let settings = try ResolvedSettings.resolve(file: file)
      #expect(settings.entries.map(\.value) == defaults.entries.map(\.value))
    }
  }

  @Test func theReferenceItselfSetsNothing() throws {
    let path = Self.directory.appending(path: "reference.yaml").path(percentEncoded: false)
    #expect(try ConfigurationFile(readingFrom: path).entries.isEmpty)
  }

  @Test(arguments: ["cifar10-softmax.yaml", "cifar10-svm.yaml", "smoke.yaml", "two-hosts.yaml"])
  func everyOtherFileResolvesAndIsHeadedByItsLaunchLineAndResult(_ name: String) throws {
    let path = Self.directory.appending(path: name).path(percentEncoded: false)
    let settings = try ResolvedSettings.resolve(file: ConfigurationFile(readingFrom: path))
    _ = try settings.trainingPlan(exampleCount: 50_000)
    let header = try lines(name).prefix { $0.hasPrefix("#") }
    #expect(header.contains { $0.contains("descent train --config Config/\(name)") })
    #expect(header.contains { $0.hasPrefix("# Expected: ") })
  }
}
