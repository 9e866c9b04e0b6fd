// Measures the hot loops on this machine. Every case checks its answer before it is timed.
import CKernels
import Diagnostics
import FoundationEssentials
import Glibc
import Optimization

private let usage = """
  usage: descent-benchmark [--json] [--kernel avx512|avx2|portable] [--only TEXT] [--samples N] [--data DIR]
         descent-benchmark suite [--help]    (the programs as a whole)

    --json          one JSON object instead of a table
    --kernel NAME   measure this variant (default: the one DESCENT_KERNEL names, otherwise the best there is)
    --only TEXT     only the cases whose name contains TEXT
    --samples N     samples per case, of about a millisecond each (default 100)
    --data DIR      take the examples from CIFAR-10's binary files (default: as many, made up)
  """

private func stop(_ status: ExitStatus, _ message: String) -> Never {
  var line = message + "\n"
  _ = line.withUTF8 { write(STDERR_FILENO, $0.baseAddress, $0.count) }
  exit(status.rawValue)
}

private struct Options {
  var json = false
  var variant: KernelVariant?
  var only = ""
  var samples = 100
  var data: String?

  init(_ arguments: some Sequence<String>) {
    var rest = arguments.makeIterator()
    while let argument = rest.next() {
      switch argument {
      case "--json": json = true
      case "--only": only = rest.next() ?? ""
      case "--samples":
        guard let number = rest.next().flatMap(Int.init), (1...1_000_000).contains(number) else {
          stop(.usage, "--samples wants a number of at least 1\n\n\(usage)")
        }
        samples = number
      case "--data":
        guard let directory = rest.next() else { stop(.usage, "--data wants a directory\n\n\(usage)") }
        data = directory
      case "--kernel":
        let name = rest.next() ?? ""
        guard let variant = KernelVariant(rawValue: name), KernelVariant.supported.contains(variant) else {
          let names = KernelVariant.supported.map(\.rawValue).joined(separator: ", ")
          stop(.usage, "--kernel \(name): this processor has \(names)")
        }
        self.variant = variant
      case "--help", "-h":
        print(usage)
        exit(ExitStatus.success.rawValue)
      default: stop(.usage, "unknown argument \(argument)\n\n\(usage)")
      }
    }
  }
}

private func main() throws(Failure) {
  var options = Options(CommandLine.arguments.dropFirst())
  var variant = try KernelVariant(environment: ProcessInfo.processInfo.environment)
  if let named = options.variant { variant = named }
  options.variant = variant
  let kernel = variant.functions
  let workload = try Workload(data: options.data)
  let groups = [
    gradientCases(workload, kernel), granularityCases(workload, kernel), determinismCases(workload, kernel),
    checksumCases(), updateCases(workload, kernel),
  ].map { group in options.only.isEmpty ? group : group.filter { $0.name.contains(options.only) } }
  for test in groups.joined() {
    if let complaint = test.verify() { stop(.internalError, "\(test.name): \(complaint)") }
  }
  let report = run(groups, kernel: kernel, options: options)
  print(options.json ? report.json() : report.table())
}

/// The cases of a group take turns with each other and with the peak, so that their figures can be compared.
private func run(_ groups: [[Case]], kernel: OpaquePointer, options: Options) -> Report {
  let sink = UnsafeMutablePointer<Float>.allocate(capacity: 16)
  sink.initialize(repeating: 0.5, count: 16)
  defer { sink.deallocate() }
  let peakRounds: UInt64 = 20_000
  let peakOperations = Double(descent_peak(kernel, peakRounds, sink))

  var (peakSamples, comparisons) = ([Double](), [(Case, Comparison)]())
  for group in groups where !group.isEmpty {
    let measured = measure(sampleCount: options.samples, group.map(\.run)) {
      _ = descent_peak(kernel, peakRounds, sink)
    }
    peakSamples += measured.reference.samples
    comparisons += zip(group, measured.runs)
  }
  guard !comparisons.isEmpty else { stop(.usage, "no case contains \(options.only)") }
  let peak = Timing(samples: peakSamples.sorted())
  var report = Report(kernel: (options.variant ?? .best).rawValue, peak: peak, peakOperations: peakOperations)
  report.results = comparisons.map { test, comparison in
    let share = test.floatingPointOperations / peakOperations / comparison.ratio
    return Result(
      name: test.name, timing: comparison.timing, rate: test.amount / comparison.timing.median, rateUnit: test.rateUnit,
      shareOfPeak: share == 0 ? nil : share)
  }
  return report
}

if BenchmarkCommands.areNamed(CommandLine.arguments) {
  BenchmarkCommands.main()
} else {
  do throws(Failure) {
    try main()
  } catch {
    stop(error.status, error.description)
  }
}
