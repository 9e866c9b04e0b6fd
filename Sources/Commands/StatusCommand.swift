import ArgumentParser
import Diagnostics
import Messaging
import NodeRuntime
import Reporting
import RunConfiguration
import Transport

struct StatusCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Show the status of a run, whether or not it is running.",
    discussion: """
      Examples:
        descent status --run-dir runs/today
        descent status --run-dir runs/today --json
        descent status --coordinator tcp://10.0.0.1:5555 --keys keys

      Exit status: 0 a process works on the run, 3 it has finished, 75 it was interrupted and can be resumed, 70 it has \
      failed, 69 it ended without a word or its coordinator does not answer, 77 the coordinator cannot be asked with these \
      keys or as this user, 66 there is no run, 65 its run.json is damaged.

      Without --keys the keys of the run are used, if they are on this host.
      """)

  @OptionGroup var node: NodeSettingsOptions<NodeSelection>
  @Flag(help: "Print one JSON object.") var json = false
  @Option(help: "Seconds to wait for the answer.") var timeout = 3.0

  func validate() throws {
    // A longer time would not fit into the clock's nanoseconds.
    guard (0...86_400).contains(timeout) else { throw ValidationError("--timeout must be from 0 to 86400.") }
  }

  func perform() throws {
    let status = try RunStatus(try node.nodeOptions(run: keysOfRun), timeout: .seconds(timeout))
    print(json ? status.json.indentedText : try status.text, terminator: "")
    if status.exitCode != 0 { throw ExitCode(status.exitCode) }
  }

  /// The keys that the processes of the run use, where they are on this host.
  private func keysOfRun(_: ResumePolicy, _ directory: String?) -> [SettingLine] {
    let path = directory.map { RunPaths(directory: $0).configuration }
    let file = path.flatMap { try? ConfigurationFile(readingFrom: $0) }
    return (file?.lines ?? []).filter { line in
      line.name == "keys" && line.text.map { KeyDirectory(path: $0).exists } ?? false
    }
  }
}

/// A line: what it is about, and its parts; those that are not known are left out.
private func row(_ name: String, _ parts: [String?], separator: String = ", ") -> String {
  let known = parts.compactMap(\.self)
  return known.isEmpty ? "" : name.padded(to: 12) + known.joined(separator: separator) + "\n"
}

extension RunStatus {
  /// Of a run that is alive, the members of the coordinator's report after those of the files.
  var json: JSONValue {
    switch self {
    case .files(let summary): return .object(summary.members)
    case .alive(let report, let summary):
      let known = Set(report.fields.members.map(\.name))
      return .object((summary?.members ?? []).filter { !known.contains($0.name) } + report.fields.members)
    }
  }

  var text: String {
    get throws(Failure) {
      switch self {
      case .files(let summary): summary.text
      case .alive(let report, let summary): (summary?.heading ?? "") + (try report.text)
      }
    }
  }
}

extension RunSummary {
  var members: [JSONValue.Member] {
    guard case .object(let members) = JSONValue(reflecting: self) else { return [] }
    return members
  }

  fileprivate var heading: String {
    row("run", [run.map { "\($0) in \(runDirectory)" } ?? runDirectory, started.map { "started \(seconds($0))" }])
      + row("model", settingText("loss").map { [model, $0] } ?? [])
  }

  fileprivate var text: String {
    heading + row("state", [stateText])
      + row("ended", ended.map { [$0.message, $0.signal, seconds($0.time)] } ?? [])
      + row("step", [step.map { grouped($0) }, imagesPerSecond.map { "\(Display.rate($0)) images/s" }])
      + row(
        "validation",
        [
          validationAccuracy.map { "accuracy \(Display.percent($0))" },
          validationDataLoss.map { "data loss \(Display.decimal($0, places: 4))" },
        ])
      + row("test", [testAccuracy.map { "accuracy \(Display.percent($0))" }])
      + row("checkpoint", [checkpoint]) + row("resume", [resumption])
  }

  private var stateText: String {
    switch state {
    case .starting, .running, .finished, .interrupted, .failed: state.rawValue
    case .crashed:
      "crashed: no process works on the run; it ended without a word at or after step \(step ?? 0), last written "
        + "\(lastWritten.map(seconds) ?? "never")"
    case .damaged: "damaged: \(problem ?? "")"
    }
  }

  /// The command that continues it.
  private var resumption: String? {
    state == .crashed || state == .interrupted
      ? shellCommand(["descent", "train", "--run-dir", runDirectory, "--resume", checkpoint == nil ? "auto" : "must"])
      : nil
  }

  /// Without the fraction.
  private func seconds(_ time: String) -> String {
    time.firstIndex(of: ".").map { "\(time[..<$0])Z" } ?? time
  }
}

extension CoordinatorReport {
  fileprivate var text: String {
    get throws(Failure) {
      let (state, detail): (String, String?) = (try fields["state"], try fields["detail"])
      let (step, total): (UInt64, UInt64) = (try fields["step"], try fields["total_steps"])
      let (loss, accuracy): (Double?, Double?) = (try fields["data_loss"], try fields["validation_accuracy"])
      let (rate, remaining): (Double?, Double?) = (try fields["images_per_second"], try fields["remaining_seconds"])
      let (rejected, unsolicited): (UInt64, UInt64) = (try fields["rejected_pushes"], try fields["unsolicited_pushes"])
      var text = row("state", [state, detail], separator: " ")
      text += row(
        "step",
        [
          "\(step) of \(total)", "epoch \(Display.decimal(try fields["epoch"], places: 1))",
          rate.map { "\(Display.rate($0)) images/s" }, remaining.map { "ETA \(Display.duration($0))" },
        ])
      text += row(
        "data loss",
        [
          loss.map { Display.decimal($0, places: 4) },
          accuracy.map { "validation accuracy \(Display.percent($0))" },
        ])
      text +=
        try fields.objectIfPresent("server").map { (server) throws(Failure) in try Self.server(server) }
        ?? row("server", ["none"])
      text += try workers
      if rejected > 0 || unsolicited > 0 {
        text += row("pushes", ["\(rejected) rejected", "\(unsolicited) unsolicited"])
      }
      let (takenOver, late): (UInt64, UInt64) = (try fields["taken_over_shards"], try fields["late_shards"])
      if let shards = Display.shards(takenOver: takenOver, late: late) { text += row("shards", [shards]) }
      text += row("slowest", [try fields["slowest_worker"]])
      return text + row("checkpoint", [try fields["checkpoint"]])
    }
  }

  private static func server(_ server: JSONFields) throws(Failure) -> String {
    let (name, pid): (String, Int32) = (try server["name"], try server["pid"])
    return row("server", [name, "pid \(pid)", try server["endpoint"], try silence(server)], separator: "  ")
  }

  /// In columns.
  private var workers: String {
    get throws(Failure) {
      let rows = try fields.objects("workers") { (worker) throws(Failure) -> [String] in
        let (name, pid): (String, Int32) = (try worker["name"], try worker["pid"])
        let shards: String? = try worker["shards"]
        let answers: UInt64 = try worker["answers"]
        let (median, p99): (Double?, Double?) = (try worker["median_seconds"], try worker["p99_seconds"])
        let (last, awaited): (Double?, Double?) = (try worker["share_last"], try worker["share_awaited"])
        return [
          "worker".padded(to: 10), name, "pid \(pid)",
          shards.map { $0.isEmpty ? "no shards" : "shards \($0)" } ?? "no shards yet",
          answers == 0 ? "no answers" : answers == 1 ? "1 answer" : "\(grouped(answers)) answers",
          median.map { "median \(Display.decimal($0 * 1000, places: 3)) ms" } ?? "",
          p99.map { "p99 \(Display.decimal($0 * 1000, places: 3)) ms" } ?? "",
          last.map { "last in \(Display.percent($0, places: 0))" } ?? "",
          awaited.map { "waited for \(Display.percent($0, places: 0))" } ?? "", try Self.silence(worker),
        ]
      }
      return table(rows)
    }
  }

  private static func silence(_ node: JSONFields) throws(Failure) -> String {
    "heard \(Display.decimal(try node["silence_seconds"], places: 1)) s ago"
  }
}
