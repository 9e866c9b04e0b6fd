import Diagnostics
import NodeRuntime
import Pictures
import Reporting

/// The parts of a report that are about one run.
struct RunSections {
  typealias Section = (anchor: String, title: String, content: HTML)

  private let run: RecordedRun
  private let model: Result<RunReport.Model, Failure>
  private let weights: RunComparison.Weights?

  init(_ run: RecordedRun, _ model: Result<RunReport.Model, Failure>, weights: RunComparison.Weights?) {
    (self.run, self.model, self.weights) = (run, model, weights)
  }

  var all: [Section] {
    [
      ("numbers", "Results", results), ("learning-curves", "Learning curves", curves), ("model", "Model", templates),
      ("confusion", "Confusion", confusion), ("faults", "Faults survived", faults),
      ("throughput", "Throughput", throughput), ("settings", "Settings", settings),
      ("origin", "Versions and data", versions), ("reproduce", "How to reproduce it", reproduction),
    ]
  }

  /// What the run is, and its most important numbers.
  var introduction: HTML {
    let (result, last) = (run.result, run.evaluations.last)
    let state = run.summary.state.rawValue
    // The reason of an end as planned says itself that the run has finished.
    let ending = run.summary.ended.map { $0.message.hasPrefix(state) ? $0.message : "\(state): \($0.message)" }
    var text = HTML.element(
      "p",
      "\(run.summary.model), \(value("loss")) loss. Started \(time(run.file.started)) on \(run.file.host); \(ending ?? state)."
    )
    if result?.synthetic ?? false {
      text += HTML.element(
        "p", ["class": "notice"],
        "The data set was made by descent data synthesize: the accuracies say nothing about CIFAR-10 or any other images."
      )
    }
    let facts: [(String, String?)] = [
      ("Test accuracy", result?.testAccuracy.map { Display.percent($0, places: 2) }),
      (
        "Validation accuracy",
        (result?.validationAccuracy ?? last?.validationAccuracy).map { Display.percent($0, places: 2) }
      ),
      ("Steps", run.summary.step.map { grouped($0) }),
      ("Training time", (result?.seconds ?? last?.seconds).map { Display.decimal($0, places: 1) + " s" }),
      ("Throughput", (result?.imagesPerSecond ?? last?.imagesPerSecond).map { Display.rate($0) + " images/s" }),
    ]
    let items = facts.compactMap { name, value in
      value.map { HTML.element("div", HTML.element("dt", name) + HTML.element("dd", $0)) }
    }
    return text + HTML.element("dl", ["class": "facts"], HTML.joined(items))
  }

  // MARK: Numbers

  private var results: HTML {
    let rows: [(String, String?)]
    if let result = run.result {
      rows = [
        ("test accuracy", percent(result.testAccuracy)), ("test data loss", loss(result.testDataLoss)),
        ("test model", result.testStep.map { "\($0 == result.steps ? "last" : "best") model, step \(grouped($0))" }),
        ("validation accuracy", percent(result.validationAccuracy)),
        ("validation data loss", loss(result.validationDataLoss)),
        ("validation objective", loss(result.validationObjective)),
        (
          "best model",
          result.bestStep.map {
            "step \(grouped($0)): validation accuracy \(Display.percent(result.bestValidationAccuracy, places: 2)), data loss "
              + Display.decimal(result.bestValidationDataLoss, places: 4)
          }
        ), ("training accuracy", percent(result.trainAccuracy)), ("training data loss", loss(result.trainDataLoss)),
        ("training objective", loss(result.trainObjective)), ("penalty", loss(result.penalty)),
        ("steps", grouped(result.steps)), ("epochs", Display.decimal(result.epochs, places: 2)),
        ("examples processed", grouped(result.examples)), ("seconds", Display.decimal(result.seconds, places: 2)),
        ("stop reason", result.stopReason.rawValue), ("weights", "sha256 \(result.weightsSHA256)"),
      ]
    } else {
      let last = run.evaluations.last
      rows = [
        ("validation accuracy", percent(last?.validationAccuracy)),
        ("validation data loss", loss(last?.validationDataLoss)), ("training accuracy", percent(last?.trainAccuracy)),
        ("training data loss", loss(last?.trainDataLoss)),
        ("step of the last evaluation", last.map { grouped($0.step) }),
        ("weights", weights.map { "sha256 \($0.sha256), step \(grouped($0.step))" }),
      ]
    }
    let known = rows.compactMap { name, value in value.map { [HTML(name), HTML($0)] } }
    let notice =
      run.result == nil
      ? HTML.element(
        "p", ["class": "notice"],
        "The run has no result: it is \(run.summary.state.rawValue). The numbers are "
          + "those of its last evaluation.") : HTML.empty
    return notice + HTML.table("Numbers of \(run.name)", head: ["number", "value"], rows: known)
      + ResultDefinitions.list
  }

  private var curves: HTML {
    guard !run.evaluations.isEmpty else { return HTML.element("p", "Nothing was evaluated: there are no curves.") }
    return Self.figure(LearningCurves.figure(of: run))
  }

  // MARK: Model

  private var templates: HTML {
    switch model {
    case .failure(let failure):
      return HTML.element("p", ["class": "notice"], "The model cannot be shown: \(failure)")
    case .success(let model):
      var figure = model.templates.figure
      figure.title += " (\(run.name), step \(grouped(model.step)))"
      return HTML.element("p", HTML("From the checkpoint ") + HTML.element("code", model.path) + HTML("."))
        + Self.figure(figure)
    }
  }

  /// A larger matrix is no longer readable.
  private static let largestMatrix = 30

  private var confusion: HTML {
    guard case .success(let model) = model else {
      return HTML.element("p", "Without a model there is no confusion matrix.")
    }
    switch model.findings {
    case .failure(let failure):
      return HTML.element(
        "p", ["class": "notice"],
        "Confusion matrix and mistakes need the data set, which could not be used: \(failure)")
    case .success(let found):
      let names = found.mistakes.classNames
      let matrix =
        names.count <= Self.largestMatrix
        ? Self.figure(matrix(found, names))
        : HTML.element(
          "p", "With \(names.count) classes the confusion matrix is not shown; the table has its largest elements.")
      let rows = found.mistakes.pairs.prefix(10).map { pair in
        [
          HTML(names[pair.actual]), HTML(names[pair.predicted]), HTML("\(pair.count)"),
          HTML(Display.percent(found.mistakes.share(of: pair))),
        ]
      }
      let worst = HTML.table(
        "The most frequent confusions", head: ["actual", "predicted", "count", "share of the class"], rows: Array(rows))
      return HTML.element(
        "p",
        "\(grouped(UInt64(found.mistakes.examples))) \(found.split) examples, accuracy "
          + "\(Display.percent(found.evaluation.score.accuracy, places: 2)), with the model of step \(grouped(model.step))."
      )
        + matrix + worst + Self.figure(found.pictures)
    }
  }

  private func matrix(_ found: RunReport.Findings, _ names: [String]) -> Figure {
    let map = HeatMap(
      x: Axis("predicted", scale: .categories(names)), y: Axis("actual", scale: .categories(names)),
      columns: names.count, values: found.evaluation.confusion.map(Double.init), valueLabel: "examples",
      places: names.count <= 12 ? 0 : nil)
    return Figure(
      "Confusion matrix: \(run.name), \(found.split) examples",
      caption: "A row for each actual class, a column for each predicted one; on the diagonal what is right.",
      panels: [.heatMap(map)])
  }

  static func figure(_ figure: Figure) -> HTML { HTML.figure(figure.svg()) }

  // MARK: Faults and speed

  private var faults: HTML {
    let faults = run.faults
    let rows: [(String, String, String)] = [
      ("resumptions", "\(faults.resumptions)", "starts that continued the run from a checkpoint"),
      ("restarts", "\(faults.restarts)", "processes that ended and were started again by descent train"),
      ("evictions", "\(faults.evictions)", "workers that were silent, stopped or sent impossible gradients"),
      ("lost servers", "\(faults.lostServers)", "times that the server was lost and another one took its place"),
      ("damaged checkpoints", "\(faults.damagedCheckpoints)", "passed over for an older one"),
      ("shards taken over", grouped(faults.takenOverShards), "given to an idle worker because another was late"),
      ("late results dropped", grouped(faults.lateShards), "came after their step was complete"),
    ]
    var text =
      faults.isEmpty
      ? HTML.element("p", "None: one start, and no process was lost.")
      : HTML.table(
        "What happened to the run", head: ["fault", "count", "meaning"],
        rows: rows.map { [HTML($0.0), HTML($0.1), HTML.element("span", ["class": "definition"], $0.2)] })
    let starts = run.file.starts.suffix(Self.listed).map { start in
      [
        HTML(time(start.time)), HTML(start.host), HTML(start.resumedFrom ?? "step 0"),
        HTML(start.ended?.rawValue ?? "has not ended"),
      ]
    }
    text += HTML.table("Starts", head: ["time", "host", "began with", "ended"], rows: Array(starts))
    guard !run.file.restarts.isEmpty else { return text }
    let restarts = run.file.restarts.suffix(Self.listed).map {
      [HTML(time($0.time)), HTML($0.process), HTML($0.formerExit)]
    }
    return text
      + HTML.table("Restarts", head: ["time", "process", "its predecessor"], rows: Array(restarts))
  }

  /// The most rows of a list of events: the newest.
  private static let listed = 50

  private var throughput: HTML {
    guard let result = run.result else {
      return HTML.element("p", "The run has not ended: the learning curves show its throughput so far.")
    }
    let stale = result.staleness.enumerated().filter { $0.element > 0 }
    let rows: [(String, String?)] = [
      ("images/s", result.imagesPerSecond.map { Display.rate($0) }),
      ("workers", result.workers == 0 ? "none: sequential" : "\(result.workers)"),
      ("step, median", result.stepSeconds.p50.map { Display.decimal($0 * 1000, places: 3) + " ms" }),
      ("step, 99th percentile", result.stepSeconds.p99.map { Display.decimal($0 * 1000, places: 3) + " ms" }),
      ("slowest worker", result.slowestWorker),
      (
        "staleness",
        stale.contains { $0.offset > 0 }
          ? stale.map { "\($0.offset) steps: \(grouped($0.element))" }.joined(separator: ", ") : nil
      ),
    ]
    return HTML.table(
      "Speed of the newest start", head: ["measure", "value"],
      rows: rows.compactMap { name, value in value.map { [HTML(name), HTML($0)] } })
  }

  // MARK: Origin

  private var settings: HTML {
    let rows = run.settings.map { setting -> [HTML] in
      let isDefault = setting.origin == "default"
      let shown = [setting.value ?? "not set", setting.origin]
      return [HTML(setting.name)]
        + shown.map { isDefault ? HTML.element("span", ["class": "default"], $0) : HTML.element("strong", $0) }
    }
    guard !rows.isEmpty else { return HTML.element("p", "The run records no settings.") }
    return HTML.table("Of the newest start; bold is what was chosen", head: ["setting", "value", "origin"], rows: rows)
  }

  private var versions: HTML {
    let (file, versions) = (run.file, run.file.versions)
    let origin = file.startedFrom.map { $0.phrase }
    let rows: [(String, String?)] = [
      ("run", file.run), ("descent", versions.descent), ("commit", versions.commit ?? "unknown"),
      ("network protocol", "\(versions.networkProtocol)"), ("Swift", versions.compiler), ("kernels", versions.kernel),
      ("host", "\(file.host), \(file.cores) \(file.cores == 1 ? "core" : "cores")"), ("seed", "\(file.seed)"),
      ("data set", run.settings.first { $0.name == "data" }?.value), ("data fingerprint", file.datasetFingerprint),
      ("began with the weights of", origin), ("membership epochs", "\(file.membershipEpochs.count)"),
    ]
    return HTML.table(
      "What the run was made of", head: ["what", "value"],
      rows: rows.compactMap { name, value in value.map { [HTML(name), HTML($0)] } })
      + HTML.element(
        "p", ["class": "definition"],
        "The fingerprint is a number of the bytes and the order of the training files: the same number, the same data.")
  }

  private var reproduction: HTML {
    let commands = run.file.starts.suffix(Self.listed).map { shellCommand($0.command) }.joined(separator: "\n")
    let again = shellCommand(["descent", "train", "--config", run.paths.configuration])
    var text =
      HTML.element("p", "As it was typed, a line for each start:") + HTML.element("pre", HTML.element("code", commands))
    if let configuration = run.configuration {
      text += HTML.element("p", "The same run again, in a directory of its own, on any number of workers:")
      text += HTML.element("pre", HTML.element("code", again))
      text += HTML.element("p", HTML("with these lines as ") + HTML.element("code", "config.yaml") + HTML(":"))
      text += HTML.element("pre", HTML.element("code", configuration))
    }
    guard let weights, value("consistency") == "bsp" else { return text }
    return text
      + HTML.element(
        "p",
        HTML("Under bsp it ends with the same bits: after step \(grouped(weights.step)) the weights have the SHA-256 ")
          + HTML.element("code", weights.sha256) + HTML("."))
  }

  // MARK: Words

  private func value(_ setting: String) -> String { run.summary.settingText(setting) ?? "unknown" }
  private func percent(_ value: Double?) -> String? { value.map { Display.percent($0, places: 2) } }
  private func loss(_ value: Double?) -> String? { value.map { Display.decimal($0, places: 4) } }

  /// "2026-01-31 23:59:59 UTC" for an instant in RFC 3339.
  private func time(_ text: String) -> String {
    let parts = text.prefix(19).split(separator: "T")
    return parts.count == 2 ? "\(parts[0]) \(parts[1]) UTC" : text
  }
}
