import ArgumentParser
import ClusterSimulation
import Diagnostics
import Dispatch
import Files
import Glibc
import Optimization
import Reporting
import Synchronization

struct SimulateCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "simulate",
    abstract: "Play whole clusters with faults in one thread, and check every invariant after every event.",
    discussion: """
      Examples:
        descent simulate --seed 7 --trace
        descent simulate --count 10000 --consistency ssp:3
        descent simulate --workers 1000

      The real roles, messages and checkpoint store, with clocks, a network, processes and a disk that are drawn from \
      the seed: the same seed is the same schedule, to the last line of its trace. Exit status 70 if an invariant does \
      not hold; the message says which, the seed, and the last events.
      """)

  @Option(help: "The schedule, or the first of several.") var seed: UInt64 = 0
  @Option(help: "How many schedules, from --seed on.") var count: UInt64 = 1
  @Option(help: "bsp, bsp:backup=B, ssp:S or asp.") var consistency = "bsp"
  @Option(help: "Workers of each cluster, up to 1024; by default 1 to 6, drawn from the seed.") var workers: Int?
  @Option(help: "Schedules at the same time; by default as many as there are processors.") var jobs: Int?
  @Flag(help: "Print every event: time, process, what happened.") var trace = false
  @Flag(help: "Print JSON.") var json = false

  private static let mostJobs = 1024
  /// Events before the one that broke an invariant.
  private static let eventsShown = 40

  func validate() throws {
    guard count >= 1, !seed.addingReportingOverflow(count - 1).overflow else {
      throw ValidationError("--count must be at least 1, and --seed + --count at most 2^64")
    }
    if trace, count > 1 { throw ValidationError("--trace shows one schedule: omit --count") }
    if let workers, !(1...SimulationPlan.mostWorkers).contains(workers) {
      throw ValidationError(
        "--workers must be from 1 to \(SimulationPlan.mostWorkers), the most that a run can have, but is \(workers)")
    }
    if let jobs, !(1...Self.mostJobs).contains(jobs) {
      throw ValidationError("--jobs must be from 1 to \(Self.mostJobs)")
    }
  }

  func perform() throws {
    guard let model = ConsistencyModel(parsing: consistency) else {
      throw Failure(
        .usage, "--consistency must be bsp, bsp:backup=B, ssp:S or asp, but is \"\(consistency.prefix(100))\"")
    }
    let kernel = try selectedKernel()
    try simulation(seed, model, kernel).plan.training.validate()
    let (campaign, seconds) = simulate(model, kernel)
    if trace { print(campaign.trace.joined(separator: "\n")) }
    print(json ? document(campaign, seconds).indentedText : text(campaign, seconds), terminator: "")
    if let failed = campaign.failures.first { throw failure(of: failed, model, kernel) }
  }

  // MARK: Playing

  private func simulation(
    _ seed: UInt64, _ model: ConsistencyModel, _ kernel: KernelVariant, recordsTrace: Bool = false
  ) -> Simulation {
    Simulation(seed: seed, consistency: model, workers: workers, kernel: kernel, recordsTrace: recordsTrace)
  }

  private func simulate(
    _ model: ConsistencyModel, _ kernel: KernelVariant
  ) -> (SimulationCampaign, seconds: Double) {
    let began = ContinuousClock.now
    let campaign = Mutex(SimulationCampaign())
    let next = Atomic<UInt64>(0)
    let threads = min(UInt64(jobs ?? Processors.count), count)
    DispatchQueue.concurrentPerform(iterations: Int(threads)) { _ in
      while case let offset = next.add(1, ordering: .relaxed).oldValue, offset < count {
        let simulation = simulation(seed + offset, model, kernel, recordsTrace: trace)
        let report = simulation.run()
        campaign.withLock { $0.add(report, bound: Simulation.patience(simulation.plan).seconds) }
      }
    }
    return (campaign.withLock { $0 }, (ContinuousClock.now - began) / .seconds(1))
  }

  // MARK: Reporting

  private func text(_ campaign: SimulationCampaign, _ seconds: Double) -> String {
    func rounded(_ value: Double) -> String { Display.decimal(value, places: 1) }
    let cluster = workers.map { "\(consistency), \($0) workers" } ?? consistency
    let schedules =
      count == 1
      ? "1 schedule (\(cluster), seed \(seed))"
      : "\(count) schedules (\(cluster), seeds \(seed) to \(seed + (count - 1)))"
    var lines = [schedules + ": "]
    lines[0] += campaign.failures.isEmpty ? "all invariants hold" : "\(campaign.failures.count) break an invariant"
    lines.append("\(rounded(seconds)) s, \(rounded(Double(count) / seconds)) schedules/s")
    if let slowest = campaign.slowest {
      lines.append(
        "finished within \(rounded(slowest.seconds)) simulated seconds of the last fault (seed \(slowest.seed), "
          + "bound \(rounded(slowest.bound)) s)")
    }
    lines += campaign.totals.map { "  \($0.name.replacing("_", with: " ")): \($0.value)" }
    return lines.joined(separator: "\n") + "\n"
  }

  private func document(_ campaign: SimulationCampaign, _ seconds: Double) -> JSONValue {
    [
      "consistency": .string(consistency), "workers": workers.map { .number($0) } ?? .null, "seed": .number(seed),
      "count": .number(count),
      "seconds": .measurement(seconds), "schedules_per_second": .measurement(Double(count) / seconds),
      "most_seconds_after_faults": .measurement(campaign.slowest?.seconds),
      "totals": .object(campaign.totals.map { JSONValue.Member($0.name, .number($0.value)) }),
      "failures": .array(
        campaign.failures.map {
          ["seed": .number($0.seed), "seconds": .measurement($0.violation.seconds), "rule": .string($0.violation.rule)]
        }),
    ]
  }

  private func failure(
    of failed: SimulationCampaign.Failed, _ model: ConsistencyModel, _ kernel: KernelVariant
  ) -> Failure {
    let story = simulation(failed.seed, model, kernel, recordsTrace: true).run().trace
    let same = "--seed \(failed.seed) --consistency \(consistency)" + (workers.map { " --workers \($0)" } ?? "")
    return Failure(
      .internalError, "an invariant does not hold in seed \(failed.seed) of \(consistency), \(failed.violation)",
      remedy: "The last events (all: descent simulate \(same) --trace):\n"
        + story.suffix(Self.eventsShown).joined(separator: "\n"))
  }
}

/// The sums over many schedules.
private struct SimulationCampaign {
  typealias Failed = (seed: UInt64, violation: Report.Violation)

  var totals = Report.Counts().named
  /// In rising order of their seeds.
  var failures: [Failed] = []
  /// The run that needed the longest after faults had ceased, and the bound it had.
  var slowest: (seed: UInt64, seconds: Double, bound: Double)?
  /// Of the newest one, if it was asked for.
  var trace: [String] = []

  mutating func add(_ report: Report, bound: Double) {
    for (index, count) in report.counts.named.enumerated() { totals[index].value += count.value }
    if let violation = report.violations.first {
      failures.append((report.seed, violation))
      failures.sort { $0.seed < $1.seed }
    }
    if let seconds = report.secondsAfterFaults,
      slowest.map({ (seconds, $0.seed) > ($0.seconds, report.seed) }) ?? true
    {
      slowest = (report.seed, seconds, bound)
    }
    trace = report.trace
  }
}
