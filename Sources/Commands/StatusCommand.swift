import ArgumentParser
import Messaging
import NodeRuntime

struct StatusCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Show the status of a running job.",
    discussion: """
      Examples:
        descent status --run-dir runs/today
        descent status --coordinator tcp://127.0.0.1:5555
        descent status --coordinator tcp://10.0.0.1:5555 --keys keys
      """)

  @OptionGroup var node: NodeSettingsOptions<NodeSelection>
  @Option(help: "Seconds to wait for the answer.") var timeout = 3.0

  func validate() throws {
    // A longer time would not fit into the clock's nanoseconds.
    guard (0...86_400).contains(timeout) else { throw ValidationError("--timeout must be from 0 to 86400.") }
  }

  func perform() throws {
    print(try queryStatus(try node.nodeOptions(), timeout: .seconds(timeout)))
  }
}
