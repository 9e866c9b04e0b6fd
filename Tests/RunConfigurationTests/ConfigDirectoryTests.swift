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

  /// The commented-out settings of the reference: `# key: value` or `# key:`.
  private func reference() throws -> [(line: String, key: String, value: String?)] {
    try lines("reference.yaml").compactMap { line in
      guard let match = line.wholeMatch(of: /# (?<key>[a-z0-9-]+):(?: (?<value>\S+))?/),
        SettingTable.setting(named: String(match.key)) != nil
      else { return nil }
      return (String(line.dropFirst(2)), String(match.key), match.value.map(String.init))
    }
  }

  @Test
  func `the reference is written from the table: set WRITE_REFERENCE and run this test to write it again`() throws {
    if ProcessInfo.processInfo.environment["WRITE_REFERENCE"] != nil {
      try Reference.text.write(to: Self.directory.appending(path: "reference.yaml"), atomically: true, encoding: .utf8)
    }
    #expect(try lines("reference.yaml").joined(separator: "\n") == Reference.text)
    #expect(try lines("reference.yaml").allSatisfy { $0.count <= 120 })
  }

  @Test func `the reference lists exactly the table, with its defaults`() throws {
    let reference = try reference()
    #expect(reference.map(\.key) == SettingTable.all.map(\.name))
    #expect(reference.map(\.value) == (try ResolvedSettings.resolve().entries.map(\.text)))
  }

  @Test func `every line of the reference resolves to the default`() throws {
    let defaults = try ResolvedSettings.resolve()
    for setting in try reference() {
      let file = try ConfigurationFile(text: setting.line, path: "reference.yaml")
      let settings = try ResolvedSettings.resolve(file: file)
      #expect(settings.entries.map(\.text) == defaults.entries.map(\.text))
    }
  }

  @Test func `the reference itself sets nothing`() throws {
    let path = Self.directory.appending(path: "reference.yaml").path(percentEncoded: false)
    #expect(try ConfigurationFile(readingFrom: path).entries.isEmpty)
  }

  @Test(arguments: [
    "cifar10-softmax.yaml", "cifar10-svm.yaml", "cifar10-squared-hinge.yaml", "cifar10-one-versus-all.yaml",
    "cifar10-hidden-100.yaml", "cifar10-hidden-512.yaml", "cifar10-hidden-256-128.yaml", "smoke.yaml", "two-hosts.yaml",
  ])
  func `every other file resolves, and is headed by its launch line and result`(_ name: String) throws {
    let path = Self.directory.appending(path: name).path(percentEncoded: false)
    let settings = try ResolvedSettings.resolve(file: ConfigurationFile(readingFrom: path))
    _ = try settings.trainingPlan(exampleCount: 50_000)
    let header = try lines(name).prefix { $0.hasPrefix("#") }
    #expect(header.contains { $0.contains("descent train --config Config/\(name)") })
    #expect(header.contains { $0.hasPrefix("# Expected: ") })
  }
}

/// `Config/reference.yaml`: a configuration file with every setting, commented out, with its default and its help.
private enum Reference {
  private static let width = 120

  static var text: String {
    var text = introduction
    for group in SettingGroup.allCases {
      let heading = "# --- \(group.rawValue) "
      text += "\n\n\(heading)\(String(repeating: "-", count: width - heading.count))\n"
      if group == .stopping {
        text += "# The run stops on the first of these, and always when a loss or gradient is no longer finite.\n"
      }
      for setting in SettingTable.all where setting.group == group { text += "\n" + paragraph(of: setting) }
    }
    return text
  }

  private static func paragraph(of setting: SettingDefinition) -> String {
    let value = setting.defaultText(DefaultBasis())
    let others = setting.describedDefault.map { $0 == value ? "" : " Default: \($0)." } ?? ""
    return filled("\(setting.help). \(setting.details)" + (setting.shapesTrajectory ? " [trajectory]" : ""))
      + filled("Takes \(setting.expectation).\(others)")
      + "# \(setting.name):" + (value.map { " \($0)" } ?? "") + "\n"
  }

  /// As comments of at most `width` characters; a line that begins with a space stays as it is.
  private static func filled(_ text: String) -> String {
    var lines: [String] = []
    for part in text.split(separator: "\n") {
      if part.hasPrefix(" ") {
        lines.append("#\(part)")
        continue
      }
      lines.append("#")
      for word in part.split(separator: " ") {
        if lines[lines.count - 1].count + word.count + 1 > width { lines.append("#") }
        lines[lines.count - 1] += " \(word)"
      }
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private static let introduction = """
    # Every setting of Descent, with its default. To use this file, remove the `#` in front of the settings to change:
    #
    #   descent train --config my-run.yaml --data DIR
    #
    # A setting is, in rising precedence, its default, a line in such a file, an environment variable or a flag:
    #
    #   batch-size: 256            DESCENT_BATCH_SIZE=256            --batch-size 256
    #
    # `descent config show` prints the value of each and where it came from. Unknown settings are errors, as are values
    # of the wrong type or out of bounds. A file contains one `key: value` on each line and nothing else; an empty variable
    # sets nothing. Paths are relative to the working directory of the command. In files and variables `~` and `~user` at
    # their beginning, `$NAME` and `${NAME}` are replaced, and `$$` is a dollar sign.
    #
    # Settings marked [trajectory] decide the bits of the weights: a run can only be resumed with the same values. The
    # exceptions are epochs and schedule-epochs, so that a run can be prolonged.

    """
}
