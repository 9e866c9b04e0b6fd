// Measures Descent on this machine. Every result is checked before it is timed.
import ArgumentParser
import Diagnostics
import FoundationEssentials
import Glibc
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
    try reportingFailures { () throws(Failure) in
      let rig = try Rig(data: data, isQuick: quick)
      do throws(Failure) {
        try measure(rig)
      } catch {
        rig.keepsFiles = true
        Rig.say("What failed is left in \(rig.directory).")
        throw error
      }
    }
  }

  private func measure(_ rig: Rig) throws(Failure) {
    let machine = rig.machine()
    show("Measured on \(machine.text)\n")
    var findings: [Finding] = []
    var texts: [JSONValue] = []
    for group in groups.isEmpty ? Group.allCases : groups {
      let began = monotonicSeconds()
      let report = try group.measure(rig)
      findings += report.findings
      texts.append(report.json(of: group))
      show(report.text(of: group))
      Rig.say("\(group.rawValue): \(Display.decimal(monotonicSeconds() - began, places: 0)) s")
    }
    if !findings.isEmpty { show(Finding.table(findings).text) }
    guard let json else { return }
    let value: JSONValue = [
      "machine": machine.json, "data": .string(rig.data), "quick": .boolean(rig.isQuick), "groups": .array(texts),
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
