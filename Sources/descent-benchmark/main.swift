// Measures Descent on this machine. Every result is checked before it is timed.
import ArgumentParser
import Diagnostics
import FoundationEssentials
import Glibc
import Reporting

/// What can be measured, in the order in which all of it is.
enum Group: String, CaseIterable, ExpressibleByArgument {
  case kernels, steps, pieces, exchange, determinism, overheads, watching, memory, start, growth, cluster, stragglers

  var measure: (Rig, inout Report) throws -> Void {
    switch self {
    case .kernels: measureKernels
    case .steps: measureSteps
    case .pieces: measurePieces
    case .exchange: measureExchange
    case .determinism: measureDeterminism
    case .overheads: measureOverheads
    case .watching: measureWatching
    case .memory: measureMemory
    case .start: measureStart
    case .growth: measureGrowth
    case .cluster: measureCluster
    case .stragglers: measureStragglers
    }
  }
}

struct MeasureCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "measure", abstract: "Measure groups, and show each target beside the figure reached.",
    discussion: """
      Groups: kernels (the gradient of every instruction set), steps (whole steps beside the peak of two cores), pieces \
      (codec, checksum, update, aggregation, memory, checkpoints), exchange (with a bare socket beside it), determinism, \
      overheads (evaluation, checkpoints, logs), watching (event files, page, trace), memory, start, growth (with \
      workers and examples, and the model behind it), cluster (1 to 64 workers over TCP, and the model of larger \
      clusters), stragglers (consistency models with and without a worker at half speed).

      Beside each median are the lowest and the highest sample; of ten or more, a tenth is left out at either end.
      """)

  @Argument(help: "Groups to measure; all of them where none is named.") var groups: [Group] = []
  @Option(help: "Directory of CIFAR-10's binary files; else DESCENT_DATA, else a synthetic set.") var data: String?
  @Flag(help: "Fewer cells and repetitions.") var quick = false
  @Option(help: "Also write everything to this file, as one JSON object.") var json: String?

  func run() throws {
    let rig = try Rig(data: data, isQuick: quick)
    do {
      try measure(rig)
    } catch {
      say("What failed is left in \(rig.directory).")
      throw error
    }
    rig.remove(rig.directory)
  }

  private func measure(_ rig: Rig) throws {
    let machine = rig.machine
    show(Table(title: "Measured on", rows: [machine]).text)
    var reports: [Report] = []
    for group in groups.isEmpty ? Group.allCases : groups {
      let began = monotonicSeconds()
      var report = Report(group: group)
      try group.measure(rig, &report)
      reports.append(report)
      show(report.text)
      say("\(group.rawValue): \(Display.decimal(monotonicSeconds() - began, places: 0)) s")
    }
    let targets = reports.flatMap(\.targets)
    if !targets.isEmpty { show(Table(title: "Targets", rows: targets).text) }
    guard let json else { return }
    let value: JSONValue = [
      "machine": machine.json, "data": .string(rig.data), "quick": .boolean(rig.isQuick),
      "groups": .array(reports.map(\.json)),
    ]
    guard FileManager.default.createFile(atPath: json, contents: Data(value.indentedText.utf8)) else {
      throw Failure(.inputOutput, "cannot write \(json)")
    }
  }

  /// Prints at once: the next group may take minutes.
  private func show(_ text: String) {
    print(text)
    fflush(nil)
  }
}

struct BenchmarkCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "descent-benchmark", abstract: "Measures Descent on this machine.",
    subcommands: [MeasureCommand.self, ClusterTablesCommand.self, ExchangeWorkerCommand.self, BareClientCommand.self],
    defaultSubcommand: MeasureCommand.self)
}

do {
  var command = try BenchmarkCommand.parseAsRoot()
  try command.run()
} catch let failure as Failure {
  say("descent-benchmark: error: \(failure)")
  exit(failure.status.rawValue)
} catch {
  BenchmarkCommand.exit(withError: error)
}
