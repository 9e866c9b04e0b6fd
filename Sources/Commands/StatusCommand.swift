import ArgumentParser
import Messaging
import NodeRuntime

struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Ask a running coordinator how things stand.",
    discussion: """
      Examples:
        descent status --run-dir runs/today
        descent status --coordinator tcp://127.0.0.1:5555
        descent status --coordinator tcp://10.0.0.1:5555 --keys keys
      """)

  @OptionGroup var node: NodeSettingsOptions
  @Option(help: "Seconds to wait for the answer.") var timeout = 3.0

  func validate() throws {
    // Beyond that a time no longer fits into the clock's nanoseconds, nor into anybody's patience.
    guard (0...86_400).contains(timeout) else { throw ValidationError("--timeout must be from 0 to 86400.") }
  }

  func run() throws {
    try reportingFailures {
      let settings = try node.resolve([])
      print(
        try queryStatus(
          of: try node.location(settings), timeout: .seconds(timeout), security: node.exposure.security(settings)))
    }
  }
}
