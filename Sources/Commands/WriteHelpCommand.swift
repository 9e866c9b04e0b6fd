import ArgumentParser
import Diagnostics
import Files
import FoundationEssentials
import Reporting

/// For `Scripts/install.sh`.
struct WriteHelpCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "write-help", abstract: "Write man pages, and completions for bash, zsh and fish.",
    discussion: """
      Examples:
        descent write-help /usr/local/share

      Of all programs, where the shells and man(1) look for them below DIR. Prints the names of the files, relative to DIR. \
      The date of the pages is today, or that of SOURCE_DATE_EPOCH.
      """, shouldDisplay: false)

  @Argument(
    help: "Directory for data that do not depend on the machine, such as ~/.local/share.", completion: .directory)
  var directory: String

  private static let programs: [any ParsableCommand.Type] = [
    DescentCommand.self, CoordinatorCommand.self, ServerCommand.self, WorkerCommand.self,
  ]

  private static let completions: [(shell: CompletionShell, path: @Sendable (_ program: String) -> String)] = [
    (.bash, { "bash-completion/completions/\($0)" }),
    (.zsh, { "zsh/site-functions/_\($0)" }),
    (.fish, { "fish/vendor_completions.d/\($0).fish" }),
  ]

  func perform() throws {
    let environment = ProcessInfo.processInfo.environment
    let seconds = environment["SOURCE_DATE_EPOCH"].flatMap { Int64($0) }
    let time =
      seconds.map { UTCTime(microseconds: $0.multipliedReportingOverflow(by: 1_000_000).partialValue) } ?? .now()
    for program in Self.programs {
      let tool = try JSONFields(parsing: Array(program._dumpHelp().utf8), source: "the description of the commands")
      let manual = try Manual(try tool.object("command"), date: String(time.timestamp.prefix(10)))
      for page in manual.pages { try write(page.text, to: "man/man1/\(page.name).1") }
      let name = manual.pages[0].name
      for (shell, path) in Self.completions {
        try write(program.completionScript(for: shell), to: path(name))
      }
    }
  }

  private func write(_ text: String, to path: String) throws(Failure) {
    let place = "\(directory)/\(path)"
    try FileSystem().makeDirectories(FileSystem.split(place).directory)
    try FileSystem().replace(place, with: text.hasSuffix("\n") ? text : text + "\n", permissions: 0o644)
    print(path)
  }
}
