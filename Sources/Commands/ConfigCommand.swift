import ArgumentParser
import RunConfiguration

struct ConfigCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "config", abstract: "Show the settings.", subcommands: [ConfigShowCommand.self])
}

struct ConfigShowCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Print every setting with its value and where it came from.",
    discussion: """
      Examples:
        descent config show
        descent config show --config Config/cifar10-svm.yaml --batch-size 256
      """)

  @OptionGroup var settings: SettingsOptions
  @Flag(help: "Print JSON.") var json = false

  func perform() throws {
    let resolved = try settings.resolve()
    print(json ? resolved.json : resolved.listing, terminator: "")
  }
}
