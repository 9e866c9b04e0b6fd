import ArgumentParser
import Diagnostics
import Publishing

struct CompareCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "compare", abstract: "Results of runs side by side, and which settings differ.",
    discussion: """
      Examples:
        descent compare runs/a runs/b
        descent compare runs/* --json
        descent compare runs/a runs/b --picture curves.svg

      Of each run its steps, time, throughput, losses and accuracies, and the first digits of the SHA-256 of its weights; \
      which runs have the same bits; the curve of the validation accuracy; and every setting that is not the same in all \
      of them, with where its value came from. A run that has not ended is shown as far as it is. Seed and settings choose \
      the validation examples, so runs with another seed are measured on other examples.
      """)

  @Argument(help: "The directories of the runs, at least two.", completion: .directory) var runs: [String]
  @OptionGroup var result: ResultOptions

  func validate() throws {
    if runs.count < 2 { throw ValidationError("a comparison needs two runs or more: name their directories") }
    try RunSelection.requireFew(runs)
  }

  func perform() throws {
    try result.requirePlace()
    let comparison = try RunComparison(directories: runs)
    try result.show(json: comparison.json, text: comparison.text, figure: comparison.figure)
  }
}

enum RunSelection {
  static func requireFew(_ runs: [String]) throws {
    if runs.count > RunComparison.limit {
      throw ValidationError("at most \(RunComparison.limit) runs, but there are \(runs.count)")
    }
  }
}
