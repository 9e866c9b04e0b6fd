import Diagnostics
import NodeRuntime
import Reporting

/// What the script of the page is sent of a run. Texts are sent as they are: the script shows them as text and never as
/// markup.
extension RunCatalog.Entry {
  /// Points of a curve that are sent: more than a screen has columns.
  private static let pointsLimit = 600
  /// Events of each kind that are sent: the newest.
  private static let eventsOfKind = 100

  /// A row of the table of all runs.
  var overview: JSONValue {
    let (metrics, result) = (history.metrics, history.result)
    return [
      "id": .string(id),
      "directory": .string(paths.directory),
      "state": .string(state.rawValue),
      "reason": (history.file?.ended?.message).map { .string($0) } ?? .null,
      "problem": (history.file == nil ? history.problem?.description : nil).map { .string($0) } ?? .null,
      "started": (history.file?.started).map { .string($0) } ?? .null,
      "written": history.lastWritten.map { .string(UTCTime(microseconds: $0).timestamp) } ?? .null,
      "step": history.step.map { .number($0) } ?? .null,
      "epoch": .measurement(metrics.newest(.epoch)),
      "model": .string(model),
      "loss": setting("loss"),
      "train_data_loss": .measurement(metrics.newest(.trainDataLoss)),
      "validation_data_loss": .measurement(metrics.newest(.validationDataLoss)),
      "validation_accuracy": .measurement(result?.validationAccuracy ?? metrics.newest(.validationAccuracy)),
      "test_accuracy": .measurement(result?.testAccuracy),
      "images_per_second": .measurement(result?.imagesPerSecond ?? metrics.newest(.imagesPerSecond)),
      "seconds": .measurement(result?.seconds ?? metrics.newest(.seconds)),
      "workers": .measurement(metrics.newest(.workers)),
    ]
  }

  /// All that is shown of one run.
  var detail: JSONValue {
    guard case .object(let overview) = overview else { return .null }
    return .object(
      overview + [
        .init("series", .object(series)),
        .init("checkpoints", .array(history.checkpoints.map { .number($0) })),
        .init("latest", history.latestCheckpoint.map { .number($0) } ?? .null),
        .init("best", history.bestCheckpoint.map { .number($0) } ?? .null),
        .init("confusion", history.confusion),
        .init("workers_record", workersRecord),
        .init("staleness", staleness),
        .init("slowest_worker", (history.result?.slowestWorker).map { .string($0) } ?? .null),
        .init("events", .array(events)),
        .init("settings", .array(settings)),
        .init("versions", versions),
        .init("starts", .number(history.file?.starts.count ?? 0)),
        .init("restarts", .number(history.file?.restarts.count ?? 0)),
        .init("damaged_lines", .number(history.metrics.damagedLines)),
      ])
  }

  /// Curves alone, for the comparison of runs.
  var comparison: JSONValue {
    guard case .object(let overview) = overview else { return .null }
    return .object(overview + [.init("series", .object(series)), .init("settings", .array(settings))])
  }

  private var series: [JSONValue.Member] {
    let columns: [MetricsHistory.Column] = [
      .trainDataLoss, .validationDataLoss, .trainAccuracy, .validationAccuracy, .imagesPerSecond, .learningRate,
      .gradientNorm,
    ]
    return columns.map { column in
      let values = history.metrics[column]
      let shown = displayIndices(of: values, limit: Self.pointsLimit)
      return .init(
        column.name,
        [
          "steps": .numbers(shown.map { history.metrics.steps[$0] }),
          "values": .array(shown.map { Self.shortened(values[$0]) }),
          "count": .number(values.count { !$0.isNaN }),
        ])
    }
  }

  /// Seven digits are more than a screen shows.
  private static func shortened(_ value: Double) -> JSONValue {
    let short = Float(value)
    return short.isFinite ? .number("\(short)") : .measurement(value)
  }

  /// Null for what is no record of this program, which the script could not show.
  private var workersRecord: JSONValue {
    guard let fields = try? JSONFields(history.workers, context: ""), (try? WorkersRecord(fields)) != nil else {
      return .null
    }
    return history.workers
  }

  private var staleness: JSONValue {
    if case .object(let members) = workersRecord, let counts = members.first(where: { $0.name == "staleness" }) {
      return counts.value
    }
    return .numbers(history.result?.staleness ?? [])
  }

  private var events: [JSONValue] {
    history.events.newest(Self.eventsOfKind).reversed().map { event in
      [
        "kind": .string(event.kind.rawValue), "time": .string(event.time), "message": .string(event.message),
        "process": .string(event.process), "event": .string(event.event),
        "step": event.step.map { .number($0) } ?? .null,
      ]
    }
  }

  /// In the order of `run.json`.
  private var settings: [JSONValue] {
    guard let file = history.file, case .object(let values) = file.settings else { return [] }
    return values.map { setting in
      ["name": .string(setting.name), "value": setting.value, "origin": Self.member(setting.name, of: file.origins)]
    }
  }

  private var versions: JSONValue {
    guard let file = history.file else { return .null }
    return [
      "descent": .string(file.versions.descent),
      "commit": file.versions.commit.map { .string($0) } ?? .null,
      "kernel": .string(file.versions.kernel), "host": .string(file.host), "cores": .number(file.cores),
      "seed": .string("\(file.seed)"),
      "dataset": file.datasetFingerprint.map { .string($0) } ?? .null,
      "command": (file.starts.last?.command).map { .string(shellCommand($0)) } ?? .null,
    ]
  }

  // MARK: - Settings

  func setting(_ name: String) -> JSONValue { Self.member(name, of: history.file?.settings ?? .null) }

  /// "linear", "hidden 100 relu".
  var model: String {
    guard case .string(let hidden) = setting("hidden") else {
      if case .number(let units) = setting("hidden"), units != "0" { return "hidden \(units)" }
      return "linear"
    }
    guard case .string(let activation) = setting("activation") else { return "hidden \(hidden)" }
    return "hidden \(hidden) \(activation)"
  }

  private static func member(_ name: String, of value: JSONValue) -> JSONValue {
    guard case .object(let members) = value else { return .null }
    return members.first { $0.name == name }?.value ?? .null
  }
}
