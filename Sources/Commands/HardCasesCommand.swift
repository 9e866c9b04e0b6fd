import ArgumentParser
import Diagnostics
import Experiments
import Pictures

struct HardCasesCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "hard-cases",
    abstract: "Train a linear classifier and a network on three sets that no line separates.",
    discussion: """
      Examples:
        descent hard-cases
        descent hard-cases --hidden 3 --seed 7 --picture hard-cases.svg

      The sets are those of CS231n, "Linear Classification": quadrants, ring and three modes, two classes of points in the \
      plane each. Both models are trained on the same \(HardCases.trainingExamples) points, with softmax and Adam for \
      \(HardCases.epochs) epochs, and measured on \(HardCases.testExamples) others. The picture has the decision regions of \
      both side by side. To train on these sets with other settings: descent data synthesize DIR --set ring.
      """)

  @Option(help: ArgumentHelp("Units of the network's hidden layers, such as 50 or 20,20; ReLU.", valueName: "n,…"))
  var hidden = HiddenLayers([50])
  @Option(help: "Of the points, the initial weights and the order of the examples.") var seed: UInt64 = 1
  @OptionGroup var result: ResultOptions

  func validate() throws {
    if hidden.units.isEmpty { throw ValidationError("--hidden must be at least one layer: the other model is linear") }
  }

  func perform() throws {
    try result.requirePlace()
    let cases = try HardCases(seed: seed, hidden: hidden.units, kernel: selectedKernel())
    try result.show(json: cases.json, text: cases.text, figure: cases.figure)
  }
}
