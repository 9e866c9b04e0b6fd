import ArgumentParser
import Datasets
import Diagnostics
import FoundationEssentials
import Glibc
import JSONText
import Optimization
import Reporting

/// What can be measured besides the hot loops. In the order in which all of them are.
enum Group: String, CaseIterable, ExpressibleByArgument {
  case kernels, pieces, exchange, determinism, overheads, memory, start, growth, stragglers

  func measure(_ suite: Suite) throws(Failure) -> GroupReport {
    switch self {
    case .kernels: try measureKernels(suite)
    case .pieces: try measurePieces(suite)
    case .exchange: try measureExchange(suite)
    case .determinism: try measureDeterminism(suite)
    case .overheads: try measureOverheads(suite)
    case .memory: try measureMemory(suite)
    case .start: try measureStart(suite)
    case .growth: try measureGrowth(suite)
    case .stragglers: try measureStragglers(suite)
    }
  }
}

/// What every group is given.
final class Suite {
  let work: WorkDirectory
  /// A directory in the format of CIFAR-10.
  let data: String
  let isQuick: Bool
  let machine: Machine

  init(data: String?, isQuick: Bool) throws(Failure) {
    work = try WorkDirectory()
    self.isQuick = isQuick
    machine = Machine(kernel: try KernelVariant(environment: ProcessInfo.processInfo.environment))
    if let data {
      self.data = data
    } else {
      self.data = work.newName("synthetic")
      Suite.say("*** No --data and no DESCENT_CIFAR10: measuring on SYNTHETIC data of the same size.")
      try SyntheticDataset.write(to: self.data)
    }
  }

  /// For people, on standard error.
  static func say(_ text: String) { StandardError.write(text + "\n") }
}

/// Runs the body of a command; a failure becomes its message on standard error and its exit status.
func reportingFailures(_ body: () throws(Failure) -> Void) throws {
  do {
    try body()
  } catch {
    Suite.say("descent-benchmark: error: \(error)")
    throw ExitCode(error.status.rawValue)
  }
}

struct SuiteCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "suite", abstract: "Measure the programs as a whole, and show the targets with what was reached.",
    discussion: """
      Groups: kernels, pieces (codec, aggregation, update, memory, checkpoints), exchange (with a bare socket beside it), \
      determinism, overheads (evaluation, checkpoints, logs), memory, start, growth (with workers and examples, and the model behind it), \
      stragglers (consistency models with and without a worker at half speed).
      """)

  @Argument(help: "Groups to measure; all of them where none is named.") var groups: [Group] = []
  @Option(help: "Directory of CIFAR-10's binary files; else DESCENT_CIFAR10, else a synthetic set.") var data: String?
  @Flag(help: "Fewer cells and repetitions.") var quick = false
  @Option(help: "Also write everything to this file, as one JSON object.") var json: String?

  func run() throws {
    try reportingFailures { () throws(Failure) in try measure() }
  }

  private func measure() throws(Failure) {
    let named = ProcessInfo.processInfo.environment["DESCENT_CIFAR10"].flatMap { $0.isEmpty ? nil : $0 }
    let suite = try Suite(data: data ?? named, isQuick: quick)
    show("Measured on \(suite.machine.text)\n")
    var reports: [GroupReport] = []
    for group in groups.isEmpty ? Group.allCases : groups {
      let began = monotonicSeconds()
      let report = try measure(group, suite)
      reports.append(report)
      show(report.text)
      Suite.say("\(group.rawValue): \(Display.decimal(monotonicSeconds() - began, places: 0)) s")
    }
    let findings = reports.flatMap(\.findings)
    if !findings.isEmpty { show(Finding.table(findings).text) }
    if let json { try write(reports, suite, to: json) }
  }

  private func measure(_ group: Group, _ suite: Suite) throws(Failure) -> GroupReport {
    do {
      return try group.measure(suite)
    } catch {
      suite.work.isKept = true
      Suite.say("What failed is left in \(suite.work.path).")
      throw error
    }
  }

  /// At once, for what comes next may take minutes.
  private func show(_ text: String) {
    print(text)
    fflush(nil)
  }

  private func write(_ reports: [GroupReport], _ suite: Suite, to path: String) throws(Failure) {
    let value: JSONValue = [
      "machine": suite.machine.json, "data": .string(suite.data), "quick": .boolean(suite.isQuick),
      "groups": .array(reports.map(\.json)),
    ]
    guard FileManager.default.createFile(atPath: path, contents: Data(value.indentedText.utf8)) else {
      throw Failure(.inputOutput, "cannot write \(path)")
    }
  }
}

/// The subcommands; without one the program measures the hot loops.
struct BenchmarkCommands: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "descent-benchmark", abstract: "Measures Descent on this machine.",
    subcommands: [SuiteCommand.self, ExchangeWorkerCommand.self, BareClientCommand.self])

  /// Whether the arguments name one of them.
  static func areNamed(_ arguments: [String]) -> Bool {
    arguments.count > 1 && configuration.subcommands.contains { $0.configuration.commandName == arguments[1] }
  }
}
