import ArgumentParser
import Checkpoints
import Diagnostics
import Files
import NodeRuntime
import Optimization
import Publishing
import Reporting

struct ExportCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "export", abstract: "A model as a file for NumPy or PyTorch, or the metrics of a run as a table.",
    discussion: """
      Examples:
        descent export runs/latest@best --format npz --output model.npz
        descent export runs/latest --format torch-state --output model.pt
        descent export runs/latest --format csv --output metrics.csv

      npz: numpy.load("model.npz", allow_pickle=False) gives the tensors of model.safetensors (weight, bias, mean_image; of a \
      network 0.weight, 0.bias, 2.weight and so on), pixel_scale, class_names, loss and activation.
      torch-state: torch.load("model.pt", weights_only=True) gives the same tensors; mean = state.pop("mean_image") leaves \
      those that load_state_dict takes.
      csv: metrics.jsonl as a table, a row for each evaluation; empty is what was not measured.

      The same run gives the same bytes. A file that this command did not write is not replaced.
      """)

  enum Format: String, CaseIterable, ExpressibleByArgument {
    case npz
    case torchState = "torch-state"
    case csv
  }

  @Argument(
    help:
      "A run directory, RUN@best, RUN@latest, RUN@STEP, a checkpoint, or a .safetensors file; for csv a run directory.")
  var source: String
  @Option(help: "npz, torch-state or csv.") var format: Format
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("The file to write: .npz, .pt or .pth, .csv.", valueName: "file"), completion: .file())
  var output: String
  @Option(help: ActivationOption.help) var activation: Activation?

  func perform() throws {
    switch format {
    case .npz:
      let file = try OutputFile.archive(output, extensions: [".npz"])
      try write(ModelExport(of: model).npz, to: file)
    case .torchState:
      let file = try OutputFile.archive(output, extensions: [".pt", ".pth"])
      try write(ModelExport(of: model).torchState, to: file)
    case .csv:
      let file = try OutputFile.table(output)
      let paths = RunPaths(directory: source)
      guard FileSystem().exists(paths.runFile) else {
        throw Failure(
          .missingInput, "\(printable(source)) contains no run", found: "there is no \(RunFile.name)",
          remedy: "csv is the table of the metrics of a whole run: name its directory, without a step")
      }
      let metrics = MetricsTable(readingFrom: paths.metrics)
      guard !metrics.isEmpty else {
        throw Failure(.missingInput, "\(printable(paths.metrics)) has no evaluation: there is nothing to export")
      }
      try write(Array(metrics.csv.utf8), to: file)
    }
  }

  private var model: TrainedModel {
    get throws(Failure) { try TrainedModel.load(source, activation: activation) }
  }

  private func write(_ bytes: [UInt8], to file: OutputFile) throws(Failure) {
    try file.write(bytes)
    StandardError.write("descent: wrote \(printable(file.path)), \(grouped(UInt64(bytes.count))) bytes\n")
  }
}
