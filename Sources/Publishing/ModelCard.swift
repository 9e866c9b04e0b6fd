import Checkpoints
import Datasets
import Diagnostics
import Experiments
import Files
import Optimization
import Reporting

/// A model for the Hugging Face hub: a directory with `model.safetensors` as its checkpoint has it, pictures, and a
/// `README.md` whose front matter says what the hub asks for (hub-docs, "Model cards"). Nothing is sent anywhere.
public struct ModelCard: Sendable {
  /// What the hub calls the data set, where it has it.
  public struct Data: Sendable {
    /// For people: "CIFAR-10".
    public var name: String
    /// Its identifier on the hub; nil for one that is not there.
    public var hubIdentifier: String?

    public init(name: String, hubIdentifier: String?) { (self.name, self.hubIdentifier) = (name, hubIdentifier) }
  }

  private let run: RecordedRun
  private let stored: StoredCheckpoint
  private let data: Data
  private let license: String?

  /// The line by which a later card knows what it may replace.
  private static let mark = "<!-- Made by descent report --model-card. -->"

  /// - Parameters:
  ///   - stored: the checkpoint that the run's numbers are about.
  ///   - license: an identifier of the hub ("apache-2.0"); nil for none, which leaves the choice to the owner.
  public init(of run: RecordedRun, _ stored: StoredCheckpoint, data: Data, license: String?) {
    (self.run, self.stored, self.data, self.license) = (run, stored, data, license)
  }

  /// Whether the hub would take this for the identifier of a licence.
  public static func isLicense(_ text: String) -> Bool { text.wholeMatch(of: /[a-z0-9][a-z0-9.\-]{0,63}/) != nil }

  /// Finds out before the work whether the card can be written there.
  ///
  /// - Throws: `cannotCreate` where the directory cannot be made or written to, and where it has a `README.md` that is no
  ///   such card.
  public static func requirePlace(_ directory: String) throws(Failure) {
    let files = FileSystem()
    guard files.kind(of: directory, followingLinks: true) != nil else {
      return try OutputFile.requireDirectory(FileSystem.split(directory).directory, for: directory)
    }
    try OutputFile.requireDirectory(directory, for: directory)
    let path = "\(directory)/README.md"
    let isOwn = (try? files.text(of: path))?.contains(mark) ?? false
    guard isOwn || files.kind(of: path) == nil && files.kind(of: "\(directory)/model.safetensors") == nil else {
      throw Failure(
        .cannotCreate,
        "\(printable(directory)) holds a README.md or a model.safetensors that this command did not write",
        remedy: "Choose another directory with --model-card")
    }
  }

  /// Writes all files, each as a whole, the README last.
  public func write(to directory: String) throws(Failure) {
    try FileSystem().makeDirectories(directory)
    guard let model = stored.checkpoint.encoded().first(where: { $0.file == .model }) else { return }
    try FileSystem().replace("\(directory)/model.safetensors", with: model.bytes)
    if stored.checkpoint.origin.inputShape.isPicture {
      try Templates(of: stored.checkpoint.model).figure.write(to: "\(directory)/templates.png")
    }
    if !run.evaluations.isEmpty {
      try LearningCurves.figure(of: run).write(to: "\(directory)/curves.png")
    }
    try FileSystem().replace("\(directory)/README.md", with: text)
  }

  // MARK: README.md

  public var text: String {
    ["---\n\(frontMatter)---\n\(Self.mark)", heading, usage, training, results, limits, reproduction]
      .filter { !$0.isEmpty }.joined(separator: "\n\n") + "\n"
  }

  /// Every text is quoted, so that no name can be taken for something else.
  private var frontMatter: String {
    let isPicture = stored.checkpoint.origin.inputShape.isPicture
    var lines = license.map { ["license: \(Self.scalar($0))"] } ?? []
    lines += ["library_name: descent"]
    if isPicture { lines += ["pipeline_tag: image-classification"] }
    lines += ["tags:", "- descent", "- sgd"] + (isPicture ? ["- image-classification"] : ["- tabular-classification"])
    if let identifier = data.hubIdentifier { lines += ["datasets:", "- \(Self.scalar(identifier))"] }
    lines += ["metrics:", "- accuracy"]
    let splits = scores
    guard !splits.isEmpty else { return lines.joined(separator: "\n") + "\n" }
    let task = isPicture ? "image-classification" : "tabular-classification"
    lines += ["model-index:", "- name: \(Self.scalar(modelName))", "  results:"]
    for (split, accuracy, loss) in splits {
      lines += [
        "  - task:", "      type: \(task)", "    dataset:", "      name: \(Self.scalar(data.name))",
        "      type: \(Self.scalar(data.hubIdentifier ?? Self.slug(data.name)))", "      split: \(split)",
        "    metrics:",
        "    - type: accuracy", "      name: Accuracy", "      value: \(accuracy)",
      ]
      if let loss { lines += ["    - type: loss", "      name: Data loss", "      value: \(loss)"] }
    }
    return lines.joined(separator: "\n") + "\n"
  }

  /// Of the model that the card is about.
  private var scores: [(split: String, accuracy: String, loss: String?)] {
    var scores: [(split: String, accuracy: String, loss: String?)] = []
    func add(_ split: String, _ accuracy: Double?, _ loss: Double?) {
      guard let accuracy, accuracy.isFinite else { return }
      let text = loss.flatMap { $0.isFinite ? Display.decimal($0, places: 6) : nil }
      scores.append((split, Display.decimal(accuracy, places: 6), text))
    }
    let step = stored.checkpoint.step
    if let result = run.result, result.testStep == step { add("test", result.testAccuracy, result.testDataLoss) }
    let row = run.evaluations.first { $0.step == step }
    add("validation", row?.validationAccuracy, row?.validationDataLoss)
    return scores
  }

  /// A double-quoted scalar of YAML 1.1 and 1.2: JSON's escapes are YAML's, and what YAML does not print is escaped before.
  package static func scalar(_ text: String) -> String {
    let shown = printable(text).unicodeScalars.map { scalar in
      scalar.value & 0xfffe == 0xfffe || scalar == "\u{feff}" ? "\u{fffd}" : String(scalar)
    }
    return JSONValue.string(shown.joined()).compactText
  }

  /// Lower-case letters, digits and hyphens.
  package static func slug(_ name: String) -> String {
    let parts = name.lowercased().split { !$0.isASCII || !($0.isLetter || $0.isNumber) }
    return parts.isEmpty ? "custom" : parts.joined(separator: "-")
  }

  /// A text in Markdown that stays this text.
  package static func escaped(_ text: String) -> String {
    printable(text).map { "\\`*_{}[]<>()#+-.!|~&$".contains($0) ? "\\\($0)" : String($0) }.joined()
  }

  private var modelName: String {
    "\(stored.checkpoint.model.loss.settingName)-\(Self.slug(run.summary.model))-\(Self.slug(data.name))"
  }

  private var heading: String {
    let origin = stored.checkpoint.origin
    let kind = origin.shape.isLinear ? "A linear classifier" : "A network (\(run.summary.model))"
    let pictures =
      (origin.inputShape.isPicture ? ["![Weights of the first layer](templates.png)"] : [])
      + (run.evaluations.isEmpty ? [] : ["![Learning curves](curves.png)"])
    return
      ([
        "# \(modelName)",
        "\(kind) with the loss \(origin.loss.settingName), trained with minibatch SGD on \(Self.escaped(data.name)): "
          + "\(origin.inputShape), \(grouped(UInt64(origin.shape.parameterCount))) parameters. Classes: "
          + origin.classNames.prefix(50).map(Self.escaped).joined(separator: ", ")
          + (origin.classNames.count > 50 ? " and \(origin.classNames.count - 50) more." : "."),
      ] + pictures)
      .joined(separator: "\n\n")
  }

  private var usage: String {
    let origin = stored.checkpoint.origin
    let last = 2 * (origin.shape.layers.count - 1)
    func names(_ layer: Int) -> (String, String) {
      origin.shape.isLinear
        ? ("model[\"weight\"]", "model[\"bias\"]") : ("model[\"\(layer).weight\"]", "model[\"\(layer).bias\"]")
    }
    let hidden = stride(from: 0, to: last, by: 2).flatMap { layer in
      ["z = x @ \(names(layer).0).T + \(names(layer).1)", "x = \(Self.python(origin.shape.activation))"]
    }
    let code =
      [
        "import numpy, safetensors.numpy", "model = safetensors.numpy.load_file(\"model.safetensors\")",
        "x = (pixels - model[\"mean_image\"]) / \(origin.pixelScale)",
      ] + hidden + ["scores = x @ \(names(last).0).T + \(names(last).1)"]
    return
      "## Use\n\n`model.safetensors` holds the tensors under the names of PyTorch, and as metadata the class names and what "
      + "an input is. `pixels` are numbers from 0 to 255, [N, \(origin.shape.pixels)], plane after plane.\n\n```python\n"
      + code.joined(separator: "\n") + "\n```"
  }

  /// The activation of `z`, as NumPy computes it.
  private static func python(_ activation: Activation) -> String {
    let parameter = activation.parameter.map { "\($0)" } ?? "1"
    return switch activation.settingName {
    case "relu": "numpy.maximum(z, 0)"
    case "leaky-relu": "numpy.where(z > 0, z, \(parameter) * z)"
    case "elu": "numpy.where(z > 0, z, \(parameter) * numpy.expm1(numpy.minimum(z, 0)))"
    case "tanh": "numpy.tanh(z)"
    case "sigmoid": "1 / (1 + numpy.exp(-z))"
    default: "z"
    }
  }

  private var training: String {
    let chosen = run.settings.filter { stored.checkpoint.origin.settings.map(\.key).contains($0.name) }
    guard !chosen.isEmpty else { return "" }
    let rows = chosen.map { "| \($0.name) | \(Self.escaped($0.value ?? "not set")) |" }
    return "## Training\n\n| setting | value |\n|---|---|\n" + rows.joined(separator: "\n")
  }

  private var results: String {
    guard !scores.isEmpty else { return "" }
    let rows = scores.map { "| \($0.split) | \($0.accuracy) | \($0.loss ?? "-") |" }
    let step = grouped(stored.checkpoint.step)
    return
      "## Results\n\nThe model of step \(step). Accuracy is the share of the examples whose class has the highest score; "
      + "the data loss is the mean over the examples, without the penalty. The validation examples were held out of the "
      + "training set, and settings may have been chosen by them.\n\n"
      + "| examples | accuracy | data loss |\n|---|---|---|\n" + rows.joined(separator: "\n")
  }

  private var limits: String {
    let synthetic =
      run.result?.synthetic ?? false ? "The data set is synthetic: accuracies say nothing about other images. " : ""
    return
      "## Limits\n\n\(synthetic)The model knows the classes above and no others, and images of the size and kind that it was "
      + "trained on. It was made for study: it has not been tested for any use in which a wrong answer does harm."
  }

  private var reproduction: String {
    let origin = stored.checkpoint.origin
    let digest = weightsSHA256(stored.checkpoint.model.parameters)
    let configuration = run.configuration.map { text in
      // Paths of the host on which it was trained are not part of the model.
      let lines = text.split(separator: "\n").filter { line in
        !line.hasPrefix("#") && origin.settings.contains { line.hasPrefix($0.key + ":") }
      }
      return "\n\n```yaml\n\(lines.joined(separator: "\n"))\n```"
    }
    return "## Reproduction\n\nDescent \(run.file.versions.descent)"
      + (run.file.versions.commit.map { ", commit \($0)" } ?? "")
      + "; training files with the fingerprint `\(hexadecimal(origin.datasetFingerprint))`. "
      + "`descent train --data DIR --config config.yaml` with the lines below ends with the same bits under bsp, for any number "
      + "of workers: SHA-256 of weights and bias `\(digest)` at step \(stored.checkpoint.step)." + (configuration ?? "")
  }
}
