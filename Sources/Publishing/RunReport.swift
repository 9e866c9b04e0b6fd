import Diagnostics
import Experiments
import Optimization
import Pictures
import Reporting

/// A run, or several of them, as one page that needs nothing else: for a person that has neither Descent nor the data.
public struct RunReport: Sendable {
  /// What a model does on examples: where the data set can be read.
  public struct Findings: Sendable {
    /// "validation", "test".
    public var split: String
    public var evaluation: Evaluation
    public var mistakes: Mistakes
    /// The reliability diagram, and pictures of the most confident mistakes of the most frequent confusions.
    public var pictures: Figure

    public init(split: String, evaluation: Evaluation, mistakes: Mistakes, pictures: Figure) {
      (self.split, self.evaluation, self.mistakes, self.pictures) = (split, evaluation, mistakes, pictures)
    }
  }

  /// The model of a run.
  public struct Model: Sendable {
    /// The checkpoint: "runs/a/checkpoints/step-000000001000".
    public var path: String
    public var step: UInt64
    public var templates: Templates
    /// Otherwise why there are none: the data set cannot be read, or is another one.
    public var findings: Result<Findings, Failure>

    public init(path: String, step: UInt64, templates: Templates, findings: Result<Findings, Failure>) {
      (self.path, self.step, self.templates, self.findings) = (path, step, templates, findings)
    }
  }

  private let comparison: RunComparison
  private let models: [Result<Model, Failure>]

  /// - Parameter models: of each run that of its newest checkpoint, or why there is none.
  public init(_ comparison: RunComparison, models: [Result<Model, Failure>]) {
    precondition(comparison.runs.count == models.count && !models.isEmpty)
    (self.comparison, self.models) = (comparison, models)
  }

  public var html: String {
    let runs = comparison.runs
    guard runs.count == 1 else { return severalRuns.text }
    let page = HTMLPage(
      title: "Run \(runs[0].name)",
      introduction: RunSections(runs[0], models[0], weights: comparison.weights[0]).introduction,
      sections: RunSections(runs[0], models[0], weights: comparison.weights[0]).all)
    return page.text
  }

  private var severalRuns: HTMLPage {
    let runs = comparison.runs
    let heads = comparison.results[0].map { [$0] }.joined()
    let results = HTML.table(
      "A row for each run; - is what was not measured", head: Array(heads),
      rows: comparison.results.dropFirst().map { $0.map { HTML($0) } })
    let verdict = HTML.element("p", "Weights: \(comparison.verdict)")
    var sections: [(anchor: String, title: String, content: HTML)] = [
      ("results", "Results", results + verdict + ResultDefinitions.list),
      ("curves", "Learning curves", RunSections.figure(comparison.figure)),
      ("differences", "Settings that differ", differences),
    ]
    for (index, run) in runs.enumerated() {
      let parts = RunSections(run, models[index], weights: comparison.weights[index])
      let content = parts.all.map { part in
        HTML.element("h3", "\(part.title)") + part.content
      }
      sections.append(("run-\(index + 1)", "Run \(run.name)", parts.introduction + HTML.joined(content)))
    }
    let names = RunComparison.list(runs.map(\.name))
    return HTMLPage(
      title: "\(runs.count) runs", introduction: HTML.element("p", names), sections: sections)
  }

  private var differences: HTML {
    guard !comparison.differences.isEmpty else { return HTML.element("p", "All settings are the same.") }
    let rows = comparison.differences.map { difference in
      [HTML(difference.name)]
        + zip(difference.values, difference.origins).map { value, origin in
          HTML(value ?? "not set") + HTML.element("span", ["class": "definition"], " (\(origin))")
        } + [HTML(difference.shapesWeights ? "yes" : "no")]
    }
    return HTML.table(
      "Value, and where it came from", head: ["setting"] + comparison.runs.map(\.name) + ["shapes the weights"],
      rows: rows)
  }
}

/// The words that go with the numbers: those of Records.md.
package enum ResultDefinitions {
  package static let words: [(name: String, definition: String)] = [
    (
      "data loss",
      "The mean of the loss over examples, without the penalty. Of the training it is that of the minibatches before the last "
        + "evaluation, each with the weights of its step."
    ),
    ("penalty", "l2 times the sum of the squared weights plus l1 times that of their magnitudes, bias excluded."),
    ("objective", "Data loss plus penalty: what the training minimizes."),
    ("accuracy", "The share of the examples whose class has the highest score."),
    (
      "validation",
      "Training examples that were held out, chosen by the seed; the settings may have been chosen by them."
    ),
    ("test", "Examples that nothing was chosen by, evaluated once at the end."),
    ("best model", "That of the evaluation with the lowest validation data loss."),
    ("seconds", "Training time over all starts of the run, without the time between them."),
    ("images/s", "Training examples processed a second, over the training time of the newest start."),
    ("weights", "SHA-256 of the bytes of the weights, then of the bias: the same digest, the same bits."),
  ]

  package static var list: HTML {
    let items = words.map { HTML.element("dt", $0.name) + HTML.element("dd", ["class": "definition"], $0.definition) }
    return HTML.element(
      "details", HTML.element("summary", "What the numbers mean") + HTML.element("dl", HTML.joined(items)))
  }
}
