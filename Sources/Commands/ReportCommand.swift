import ArgumentParser
import Checkpoints
import Datasets
import Diagnostics
import Experiments
import Optimization
import Publishing
import Reporting
import RunConfiguration

struct ReportCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "report", abstract: "A run, or several, as one HTML file; or its model with a model card.",
    discussion: """
      Examples:
        descent report runs/latest --output report.html
        descent report runs/a runs/b --output compared.html
        descent report runs/latest --model-card card --license apache-2.0

      The page needs no other file and no network: learning curves, templates, confusion matrix, the most frequent confusions \
      with pictures, settings and where they came from, versions, faults survived and how to reproduce the run; of several \
      runs also their curves in one chart and the settings that differ. Confusions need the data set: that of the run, or the \
      one that --data names. Where it cannot be read the page says so and has the rest. The page names the host, the \
      paths and the command lines of the run.

      --model-card writes a directory for the Hugging Face hub: README.md with its front matter, model.safetensors and \
      pictures. It names no host and no path, and nothing is sent.

      The model is the one that was evaluated on the test split, otherwise the newest.
      """)

  @Argument(help: "The directories of the runs.", completion: .directory) var runs: [String]
  @Option(
    name: .shortAndLong, help: ArgumentHelp("The page to write, .html.", valueName: "file"),
    completion: .file(extensions: ["html"]))
  var output: String?
  @Option(help: ArgumentHelp("Write a model card into this directory.", valueName: "directory"), completion: .directory)
  var modelCard: String?
  @Option(
    help: ArgumentHelp(
      "Licence of the model card, such as apache-2.0. Without it the card names none.", valueName: "id"))
  var license: String?
  @Option(help: "Directory of the data set, in place of that of the run.", completion: .directory) var data: String?
  @Option(help: "The examples of the confusions: train, validation or test.") var split = Split.validation
  @Option(help: ArgumentHelp("The most pairs of classes with pictures.", valueName: "n")) var limit = 8

  func validate() throws {
    try RunSelection.requireFew(runs)
    if output == nil, modelCard == nil {
      throw ValidationError("name what to write: --output FILE.html, --model-card DIRECTORY, or both")
    }
    if modelCard != nil, runs.count != 1 { throw ValidationError("a model card is that of one run") }
    if license != nil, modelCard == nil { throw ValidationError("--license belongs to --model-card") }
    if let license, !ModelCard.isLicense(license) {
      throw ValidationError("--license must be an identifier such as apache-2.0, but is \(printable(license))")
    }
    if limit < 1 || limit > 100 { throw ValidationError("--limit must be 1 to 100, but is \(limit)") }
  }

  func perform() throws {
    let page = try output.map { path throws(Failure) in try OutputFile.page(path) }
    if let modelCard { try ModelCard.requirePlace(modelCard) }
    let comparison = try RunComparison(directories: runs)
    if let page {
      let models = comparison.runs.map { run in
        Result { () throws(Failure) in try model(of: run) }
      }
      try page.write(RunReport(comparison, models: models).html)
      StandardError.write("descent: wrote \(printable(page.path))\n")
    }
    if let modelCard, let run = comparison.runs.first {
      let stored = try CheckpointStore.load(run.checkpoint)
      try ModelCard(of: run, stored, data: cardData(run, stored), license: license).write(to: modelCard)
      StandardError.write("descent: wrote \(printable(modelCard))\n")
    }
  }

  private func model(of run: RecordedRun) throws(Failure) -> RunReport.Model {
    let stored = try CheckpointStore.load(run.checkpoint)
    let model = try TrainedModel.loadForKernels(stored.path)
    let findings = Result { () throws(Failure) in try self.findings(run, model, stored) }
    if case .failure(let failure) = findings {
      StandardError.write("descent: warning: \(printable(run.name)) is reported without confusions: \(failure)\n")
    }
    return RunReport.Model(
      path: stored.path, step: stored.checkpoint.step, templates: Templates(of: model), findings: findings)
  }

  /// The data set that the option names, otherwise the one that the run names, otherwise that of the environment.
  private func directory(of run: RecordedRun) throws(Failure) -> String {
    if let data { return data }
    // Its paths do not depend on the working directory.
    if let text = run.configuration,
      let file = try? ConfigurationFile(text: text, path: run.paths.configuration),
      let settings = try? ResolvedSettings.resolve(file: file), let directory = settings.data
    {
      return directory
    }
    return try dataDirectory(run.summary.settingText("data"))
  }

  private func findings(
    _ run: RecordedRun, _ model: TrainedModel, _ stored: StoredCheckpoint
  ) throws(Failure) -> RunReport.Findings {
    let directory = try directory(of: run)
    let training = try Dataset(directory: directory, part: .training)
    guard training.fingerprint == stored.checkpoint.origin.datasetFingerprint else {
      throw Failure(
        .badData, "\(printable(directory)) is another data set",
        found: "fingerprint \(hexadecimal(training.fingerprint))",
        expected: hexadecimal(stored.checkpoint.origin.datasetFingerprint), remedy: "Name that of the run with --data")
    }
    let (dataset, indices) = try split.examples(of: directory, checkpoint: stored.path)
    guard !indices.isEmpty else {
      throw Failure(.missingInput, "there are no \(split) examples", remedy: "Choose others with --split")
    }
    try model.requireFits(dataset, checkpoint: stored.path)
    let evaluator = try model.evaluator(dataset.examples)
    let evaluation = model.parameters.withUnsafePointer { evaluator.evaluate(parameters: $0, indices: indices) }
    let mistakes = Mistakes(of: model, evaluator: evaluator, examples: dataset.examples, indices: indices)
    let pictures = mistakes.figure("\(run.name), \(split) examples", limit: limit, dataset: dataset)
    try dataset.verify()
    return RunReport.Findings(split: split.rawValue, evaluation: evaluation, mistakes: mistakes, pictures: pictures)
  }

  /// The name of the data set as the files say it, where they are the ones that the model was trained on.
  private func cardData(_ run: RecordedRun, _ stored: StoredCheckpoint) -> ModelCard.Data {
    guard let directory = try? directory(of: run),
      let training = try? Dataset(directory: directory, part: .training),
      training.fingerprint == stored.checkpoint.origin.datasetFingerprint
    else { return ModelCard.Data(name: "a data set of its own", hubIdentifier: nil) }
    if training.looksOfficial { return ModelCard.Data(name: "CIFAR-10", hubIdentifier: "uoft-cs/cifar10") }
    let name = training.description.name
    return ModelCard.Data(name: training.isSynthetic ? "\(name) (synthetic)" : name, hubIdentifier: nil)
  }
}
