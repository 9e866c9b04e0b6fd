import Diagnostics
import NodeRuntime
import Reporting

/// The runs in the text format of Prometheus, version 0.0.4: what `/metrics` answers.
struct PrometheusText {
  /// Prometheus 3 refuses a scrape without it.
  static let contentType = "text/plain; version=0.0.4; charset=utf-8"
  /// Of runs: those that were written last, so that years of runs do not become years of series.
  static let runLimit = 100

  private enum Kind: String {
    case counter, gauge, histogram
  }

  private(set) var text = ""

  var bytes: [UInt8] { Array(text.utf8) }

  init(_ entries: [RunCatalog.Entry]) {
    let runs = Array(
      entries.sorted { ($0.history.lastWritten ?? 0, $0.id) > ($1.history.lastWritten ?? 0, $1.id) }
        .prefix(Self.runLimit))
    family("build_info", .gauge, "What this process was built from.") {
      [sample([("version", DescentVersion.current), ("commit", DescentVersion.commit ?? "")], 1)]
    }
    family("runs", .gauge, "Runs in the directories that the dashboard was given.") { [sample([], entries.count)] }
    appendStates(runs)
    appendProgress(runs)
    appendModel(runs)
    appendTimes(runs)
    appendWorkers(runs)
    appendStaleness(runs)
  }

  // MARK: - Families

  private mutating func appendStates(_ runs: [RunCatalog.Entry]) {
    let states: [RunSummary.State] = [.starting, .running, .finished, .interrupted, .failed, .crashed, .damaged]
    family("run_state", .gauge, "1 for the state that the run is in, 0 for the others.") {
      runs.flatMap { run in
        states.map { sample([("run", run.id), ("state", $0.rawValue)], run.state == $0 ? 1 : 0) }
      }
    }
    family("run_info", .gauge, "What the run trains.") {
      runs.map { run in
        var loss = ""
        if case .string(let name) = run.setting("loss") { loss = name }
        return sample([("run", run.id), ("model", run.model), ("loss", loss)], 1)
      }
    }
    family("run_events_total", .counter, "Lines of the logs of the run, by what happened.") {
      runs.flatMap { run in
        RunEvent.Kind.allCases.map {
          sample([("run", run.id), ("kind", $0.rawValue)], Double(run.history.count(of: $0)))
        }
      }
    }
  }

  private mutating func appendProgress(_ runs: [RunCatalog.Entry]) {
    each("run_steps_total", .counter, "Steps done, as of the newest evaluation or checkpoint.", runs) {
      $0.history.step.map { Double($0) }
    }
    each("run_examples_total", .counter, "Training examples processed, as of the newest evaluation.", runs) {
      $0.history.metrics.newest(.examples)
    }
    each("run_training_seconds_total", .counter, "Training time, interruptions excluded.", runs) {
      $0.history.metrics.newest(.seconds)
    }
    each("run_epochs", .gauge, "Passes over the training examples, with a fraction.", runs) {
      $0.history.metrics.newest(.epoch)
    }
    each("run_images_per_second", .gauge, "Training examples a second, as of the newest evaluation.", runs) {
      $0.history.metrics.newest(.imagesPerSecond)
    }
    each("run_workers", .gauge, "Workers at the newest evaluation; 0 for the sequential trainer.", runs) {
      $0.history.metrics.newest(.workers)
    }
    each("run_restarts", .gauge, "Processes that were restarted, as recorded in run.json.", runs) {
      $0.history.file.map { Double($0.restarts.count) }
    }
  }

  private mutating func appendModel(_ runs: [RunCatalog.Entry]) {
    let splits: [(name: String, loss: MetricsHistory.Column, accuracy: MetricsHistory.Column)] = [
      ("train", .trainDataLoss, .trainAccuracy), ("validation", .validationDataLoss, .validationAccuracy),
    ]
    family("run_data_loss", .gauge, "Mean loss of an example, without the penalty, at the newest evaluation.") {
      runs.flatMap { run in
        splits.compactMap { split in
          run.history.metrics.newest(split.loss).map { sample([("run", run.id), ("split", split.name)], $0) }
        }
      }
    }
    family("run_accuracy_ratio", .gauge, "Share of examples that are classified right, at the newest evaluation.") {
      runs.flatMap { run in
        let known = splits.compactMap { split in
          run.history.metrics.newest(split.accuracy).map { sample([("run", run.id), ("split", split.name)], $0) }
        }
        let test = run.history.result?.testAccuracy
        return known + (test.map { [sample([("run", run.id), ("split", "test")], $0)] } ?? [])
      }
    }
    each("run_learning_rate", .gauge, "Of the next step, as of the newest evaluation.", runs) {
      $0.history.metrics.newest(.learningRate)
    }
    each("run_gradient_norm", .gauge, "Euclidean norm of the gradient at the newest evaluation.", runs) {
      $0.history.metrics.newest(.gradientNorm)
    }
  }

  private mutating func appendTimes(_ runs: [RunCatalog.Entry]) {
    func seconds(_ microseconds: Int64?) -> Double? { microseconds.map { Double($0) / 1e6 } }
    each("run_last_evaluation_timestamp_seconds", .gauge, "When a row was last added to the metrics.", runs) {
      seconds($0.history.lastEvaluated)
    }
    each("run_last_checkpoint_timestamp_seconds", .gauge, "When a checkpoint was last saved.", runs) {
      seconds($0.history.lastSaved)
    }
    each("run_last_checkpoint_step", .gauge, "Step of the newest checkpoint.", runs) {
      $0.history.latestCheckpoint.map { Double($0) }
    }
  }

  private mutating func appendWorkers(_ runs: [RunCatalog.Entry]) {
    /// Of the newest line of workers.jsonl, of a run that has some.
    func each(
      _ name: String, _ kind: Kind, _ help: String, in text: inout PrometheusText, _ value: (JSONFields) -> Double?
    ) {
      text.family(name, kind, help) {
        runs.filter(\.isLive).flatMap { run in
          run.members.compactMap { name, member in
            value(member).map { sample([("run", run.id), ("worker", name)], $0) }
          }
        }
      }
    }
    each("worker_answers_total", .counter, "Gradients that counted since the worker joined.", in: &self) {
      try? $0["answers"]
    }
    each("worker_step_median_seconds", .gauge, "Median time from handing out work to its gradient.", in: &self) {
      try? $0["median_seconds"]
    }
    each("worker_step_p99_seconds", .gauge, "The 99th percentile of the same time.", in: &self) {
      try? $0["p99_seconds"]
    }
    each("worker_awaited_ratio", .gauge, "Share of time in which steps waited for this worker alone.", in: &self) {
      try? $0["share_awaited"]
    }
    self.each("run_taken_over_shards_total", .counter, "Shards that an idle worker was given instead.", runs) {
      $0.shardCount("taken_over_shards", $0.history.result?.takenOverShards)
    }
    self.each("run_late_shards_total", .counter, "Shards whose result came too late.", runs) {
      $0.shardCount("late_shards", $0.history.result?.lateShards)
    }
  }

  private mutating func appendStaleness(_ runs: [RunCatalog.Entry]) {
    let bounds = [0, 1, 2, 4, 8, 16, 32, 63]
    family("run_gradient_staleness_steps", .histogram, "Steps that the weights of an applied gradient were old.") {
      runs.flatMap { run -> [(String, String)] in
        let counts = run.stalenessCounts
        guard !counts.isEmpty else { return [] }
        func upTo(_ bound: Int) -> Double { counts.prefix(bound + 1).reduce(0, +) }
        let total = counts.reduce(0, +)
        let sum = counts.enumerated().reduce(0) { $0 + Double($1.offset) * $1.element }
        let buckets = bounds.map { sample([("run", run.id), ("le", "\($0)")], upTo($0), suffix: "_bucket") }
        return buckets + [
          sample([("run", run.id), ("le", "+Inf")], total, suffix: "_bucket"),
          sample([("run", run.id)], sum, suffix: "_sum"), sample([("run", run.id)], total, suffix: "_count"),
        ]
      }
    }
  }

  // MARK: - Format

  private mutating func each(
    _ name: String, _ kind: Kind, _ help: String, _ runs: [RunCatalog.Entry], _ value: (RunCatalog.Entry) -> Double?
  ) {
    family(name, kind, help) { runs.compactMap { run in value(run).map { sample([("run", run.id)], $0) } } }
  }

  /// Help and type once, then all samples; nothing of a family without samples.
  private mutating func family(
    _ name: String, _ kind: Kind, _ help: String, _ samples: () -> [(suffix: String, rest: String)]
  ) {
    let samples = samples()
    guard !samples.isEmpty else { return }
    text += "# HELP descent_\(name) \(help)\n# TYPE descent_\(name) \(kind.rawValue)\n"
    for sample in samples { text += "descent_\(name)\(sample.suffix)\(sample.rest)\n" }
  }
}

private func sample(_ labels: [(String, String)], _ value: Int) -> (suffix: String, rest: String) {
  sample(labels, Double(value))
}

/// What stands behind the name of the family, and behind that suffix.
private func sample(
  _ labels: [(String, String)], _ value: Double, suffix: String = ""
) -> (suffix: String, rest: String) {
  let names = labels.map { "\($0)=\"\(escaped($1))\"" }.joined(separator: ",")
  let number = value.isNaN ? "NaN" : value.isInfinite ? (value < 0 ? "-Inf" : "+Inf") : "\(value)"
  return (suffix, (labels.isEmpty ? " " : "{\(names)} ") + number)
}

/// A label's value: what ends it or a line is escaped.
private func escaped(_ text: String) -> String {
  text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
}

extension RunCatalog.Entry {
  private var workersFields: JSONFields? { try? JSONFields(history.workers, context: "workers.jsonl") }

  fileprivate var members: [(name: String, fields: JSONFields)] {
    let members = try? workersFields?.objects("members") { (member) throws(Failure) in
      let name: String = try member["name"]
      return (name, member)
    }
    // Of two incarnations of one name the later one, so that no series stands twice.
    var seen: Set<String> = []
    return (members ?? []).reversed().filter { seen.insert($0.0).inserted }.reversed().map { ($0.0, $0.1) }
  }

  fileprivate func shardCount(_ name: String, _ final: UInt64?) -> Double? {
    let recorded: Double? = workersFields.flatMap { try? $0[name] }
    return recorded ?? final.map { Double($0) }
  }

  fileprivate var stalenessCounts: [Double] {
    let recorded: [Double]? = workersFields.flatMap { try? $0["staleness"] }
    return recorded ?? (history.result?.staleness.map { Double($0) } ?? [])
  }
}
