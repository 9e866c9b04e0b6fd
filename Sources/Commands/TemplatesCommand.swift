import ArgumentParser
import Checkpoints
import Diagnostics
import Experiments

struct TemplatesCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "templates", abstract: "The weights of a model's first layer as images.",
    discussion: """
      Examples:
        descent templates runs/latest@best --picture templates.png
        descent templates runs/network --limit 32 --picture units.svg

      A linear classifier compares its input with one template for each class: a row of W (CS231n, "Linear \
      classification"). Of a network the templates are those of the units of the first hidden layer, the one with the \
      largest norm first. In the picture each template has its own contrast: grey is 0, white and black are plus and \
      minus its largest absolute weight. The numbers are those of weights for inputs (pixel − mean) / 127.5.
      """)

  @Argument(
    help: "A run directory, RUN@best, RUN@latest, RUN@STEP, a checkpoint, or a .safetensors file.", completion: .file())
  var checkpoint: String
  @Option(
    help: """
      The most templates, those with the largest norms. Default: all classes of a linear model, 64 units of a network.
      """)
  var limit: Int?
  @OptionGroup var result: ResultOptions

  func validate() throws {
    if let limit, limit < 1 { throw ValidationError("--limit must be at least 1") }
  }

  func perform() throws {
    try result.requirePlace()
    // The first layer is the same whatever follows it.
    let templates = Templates(of: try TrainedModel.loadForKernels(checkpoint, activation: .identity), limit: limit)
    try result.show(json: templates.json, text: templates.text, figure: templates.figure)
  }
}
