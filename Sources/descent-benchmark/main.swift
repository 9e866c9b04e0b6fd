// Measures Descent on this machine. Every result is checked before it is timed.
import ArgumentParser
import Diagnostics
import FoundationEssentials
import Glibc
import JSONText
import Optimization
import Reporting

/// What can be measured, in the order in which all of it is.
enum Group: String, CaseIterable, ExpressibleByArgument {
  case kernels, pieces, exchange, determinism, overheads, memory, start, growth, stragglers

  func measure(_ rig: Rig) throws(Failure) -> GroupReport {
    switch self {
    case .kernels: try measureKernels(rig)
    case .pieces: try measurePieces(rig)
    case .exchange: try measureExchange(rig)
    case .determinism: try measureDeterminism(rig)
    case .overheads: try measureOverheads(rig)
    case .memory: try measureMemory(rig)
    case .start: try measureStart(rig)
    case .growth: try measureGrowth(rig)
    case .stragglers: try measureStragglers(rig)
    }
  }
}

struct MeasureCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "measure", abstract: "Measure groups, and show each target beside the figure reached.",
    discussion: """
      Groups: kernels (the hot loops of every instruction set), pieces (codec, aggregation, update, memory, \
      checkpoints), exchange (with a bare socket beside it), determinism, overheads (evaluation, checkpoints, logs), \
      memory, start, growth (with workers and examples, and the model behind it), stragglers (consistency models with \
      and without a worker at half speed).
      """)

  @Argument(help: "Groups to measure; all of them where none is named.") var groups: [Group] = []
  @Option(help: "Directory of CIFAR-10's binary files; else DESCENT_CIFAR10, else a synthetic set.") var data: String?
  @Flag(help: "Fewer cells and repetitions.") var quick = false
  @Option(help: "Also write everything to this file, as one JSON object.") var json: String?

  func run() throws {
    try reportingFailures { () throws(Failure) in try measure() }
  }

  private func measure() throws(Failure) {
    let rig = try Rig(data: data, isQuick: quick)
    show("Measured on \(rig.machine.text)\n")
    var reports: [(group: Group, report: GroupReport)] = []
    for group in groups.isEmpty ? Group.allCases : groups {
      let began = monotonicSeconds()
      let report = try measure(group, rig)
      reports.append((group, report))
      show(report.text(of: group))
      Rig.say("\(group.rawValue): \(Display.decimal(monotonicSeconds() - began, places: 0)) s")
    }
    let findings = reports.flatMap(\.report.findings)
    if !findings.isEmpty { show(Finding.table(findings).text) }
    if let json { try write(reports, rig, to: json) }
  }

  private func measure(_ group: Group, _ rig: Rig) throws(Failure) -> GroupReport {
    do {
      return try group.measure(rig)
    } catch {
      rig.work.isKept = true
      Rig.say("What failed is left in \(rig.work.path).")
      throw error
    }
  }

  /// Prints at once: the next group may take minutes.
  private func show(_ text: String) {
    print(text)
    fflush(nil)
  }

  private func write(
    _ reports: [(group: Group, report: GroupReport)], _ rig: Rig, to path: String
  ) throws(Failure) {
    let value: JSONValue = [
      "machine": rig.machine.json, "data": .string(rig.data), "quick": .boolean(rig.isQuick),
      "groups": .array(reports.map { $0.report.json(of: $0.group) }),
    ]
    guard FileManager.default.createFile(atPath: path, contents: Data(value.indentedText.utf8)) else {
      throw Failure(.inputOutput, "cannot write \(path)")
    }
  }
}

/// Runs the body of a command; a failure becomes its message on standard error and its exit status.
func reportingFailures(_ body: () throws(Failure) -> Void) throws {
  do {
    try body()
  } catch {
    Rig.say("descent-benchmark: error: \(error)")
    throw ExitCode(error.status.rawValue)
  }
}

struct BenchmarkCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "descent-benchmark", abstract: "Measures Descent on this machine.",
    subcommands: [MeasureCommand.self, ExchangeWorkerCommand.self, BareClientCommand.self],
    defaultSubcommand: MeasureCommand.self)
}

BenchmarkCommand.main()
