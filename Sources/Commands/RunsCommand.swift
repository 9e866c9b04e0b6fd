import ArgumentParser
import Diagnostics
import NodeRuntime
import Reporting

struct RunsCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "runs", abstract: "List the runs in a directory, the earliest first.",
    discussion: """
      Examples:
        descent runs
        descent runs experiments --json

      Of each run: its directory, loss, learning rate, L2 strength and epochs; the accuracy on the validation and the test \
      examples; and how it stands or why it ended. Directories that contain no run are passed over.
      """)

  @Argument(help: "The directory that contains the directories of the runs.", completion: .directory) var directory =
    "runs"
  @Flag(help: "Print one JSON array, with all settings of each run.") var json = false

  func perform() throws {
    let runs = try RunSummary.all(in: directory)
    if json {
      print(JSONValue.array(runs.map { .object($0.members) }).indentedText, terminator: "")
    } else if runs.isEmpty {
      StandardError.write("descent: there are no runs in \(directory)\n")
    } else {
      let heads = ["run", "loss", "model", "lr", "l2", "epochs", "validation", "test", "state"]
      print(table([heads] + runs.map(\.row)), terminator: "")
    }
  }
}

extension RunSummary {
  fileprivate var row: [String] {
    let settings = ["learning-rate", "l2", "epochs"].map { settingText($0) ?? "-" }
    let results = [Display.percent(validationAccuracy), Display.percent(testAccuracy), stateText]
    return [name, settingText("loss") ?? "-", model] + settings + results
  }

  private var name: String { runDirectory.split(separator: "/").last.map(String.init) ?? runDirectory }

  private var stateText: String {
    if state == .damaged { return "damaged: \(problem ?? "")" }
    return ended.map { "\(state.rawValue) (\($0.signal ?? $0.reason.rawValue))" } ?? state.rawValue
  }
}
