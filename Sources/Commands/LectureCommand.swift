import ArgumentParser
import Diagnostics
import Experiments

struct LectureCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "lecture", abstract: "Compute the worked examples of CS231n.",
    discussion: """
      Examples:
        descent lecture
        descent lecture --json

      Each example has the numbers that a slide or the notes print, and those that the code of the training finds: losses, \
      activations, gates, kernels. They are computed, not stored. Exit status 70 if one of them does not round to the \
      printed number.
      """)

  @Flag(help: "Print JSON.") var json = false

  func perform() throws {
    let examples = LectureExample.all(kernel: try selectedKernel())
    print(json ? LectureExample.json(examples).indentedText : LectureExample.text(examples), terminator: "")
    if let wrong = examples.first(where: { !$0.matches }) {
      throw Failure(
        .internalError,
        "the example \(wrong.name) must be \(wrong.printed.joined(separator: ", ")), but \(wrong.function) finds "
          + wrong.found.map { "\($0)" }.joined(separator: ", "))
    }
  }
}
