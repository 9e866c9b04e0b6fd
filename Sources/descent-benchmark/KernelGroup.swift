import Datasets
import Diagnostics
import JSONText
import NodeRuntime
import Optimization

/// The hot loops, for every variant that this processor has: what this program without a subcommand measures.
func measureKernels(_ suite: Suite) throws(Failure) -> GroupReport {
  var report = GroupReport(group: .kernels)
  var loops = Table("Hot loops", ["kernel", "case", "median µs", "10 %", "90 %", "rate", "unit", "of peak %"])
  var peaks = Table("Multiply-add peak of one core", ["kernel", "GFLOP/s"])
  for variant in KernelVariant.supported {
    // Only the gradient is worth seeing where it is not the variant that runs; the portable one takes its time.
    let isSelected = variant == suite.machine.kernel
    let samples = variant == .portable ? 3 : suite.isQuick ? 20 : 100
    let measured = try hotLoops(suite, variant, samples: samples, only: isSelected ? nil : "gradient")
    peaks.rows.append([.text(variant.rawValue), .number(measured.peakGFLOPs, places: 1)])
    for loop in measured.loops {
      loops.rows.append([
        .text(variant.rawValue), .text(loop.name), .number(loop.median * 1e6, places: 2),
        .number(loop.low * 1e6, places: 2), .number(loop.high * 1e6, places: 2), .number(loop.rate, places: 3),
        .text(loop.unit), .number(loop.shareOfPeak.map { $0 * 100 } ?? .nan, places: 1),
      ])
    }
    report.findings += kernelFinding(variant, measured.loops).map { [$0] } ?? []
  }
  report.tables = [peaks, loops]
  report.notes = [try largePages(suite)]
  return report
}

/// How much of the training files is mapped in large pages: gathering examples from small ones is slower.
private func largePages(_ suite: Suite) throws(Failure) -> String {
  let dataset = try CIFAR10Dataset(directory: suite.data, part: .training)
  _ = dataset.meanImage(over: (0..<UInt32(dataset.count)).map { $0 })
  let memory = try withExtendedLifetime(dataset) { () throws(Failure) in try fileText("/proc/self/smaps_rollup") }
  let kilobytes = memory.split(separator: "\n").reduce(0) { sum, line in
    guard line.hasPrefix("FilePmdMapped:") else { return sum }
    return sum + (line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0)
  }
  return "Of the training files, \(kilobytes >> 10) MB lie in large pages of the page cache."
}

private struct HotLoop {
  let name: String
  let median: Double
  let low: Double
  let high: Double
  let rate: Double
  let unit: String
  let shareOfPeak: Double?
}

/// In a process of its own, for the variant is chosen once per process.
private func hotLoops(
  _ suite: Suite, _ variant: KernelVariant, samples: Int, only: String?
) throws(Failure) -> (peakGFLOPs: Double, loops: [HotLoop]) {
  let output = suite.work.newName("kernels")
  let programs = try Programs()
  let filter = only.map { ["--only", $0] } ?? []
  try programs.start(
    "descent-benchmark",
    ["--json", "--kernel", variant.rawValue, "--samples", "\(samples)", "--data", suite.data] + filter,
    name: "the hot loops of \(variant.rawValue)", output: output)
  try programs.waitForAll(limit: 180)
  let fields = try JSONFields(
    JSONReader.parse(Array(fileText(output).utf8)[...], source: output), context: "the hot loops")
  var loops: [HotLoop] = []
  for value in try fields.array("cases") {
    let loop = try JSONFields(value, context: "a case")
    let seconds = try loop.object("seconds")
    loops.append(
      HotLoop(
        name: try loop.string("name"), median: try seconds.double("median"), low: try seconds.double("p10"),
        high: try seconds.double("p90"), rate: try loop.double("rate"), unit: try loop.string("rate_unit"),
        shareOfPeak: try loop.doubleIfPresent("share_of_peak")))
  }
  return (try fields.double("peak_gflops"), loops)
}

/// The weakest of the cases with 32 to 512 examples gathered at random, both losses.
private func kernelFinding(_ variant: KernelVariant, _ loops: [HotLoop]) -> Finding? {
  let bounds: [KernelVariant: Double] = [.avx512: 0.75, .avx2: 0.70]
  let shares = loops.filter { $0.name.hasPrefix("gradient") && $0.name.hasSuffix(" examples") }
    .compactMap { loop in loop.shareOfPeak.map { (loop.name, $0) } }
  guard let bound = bounds[variant], let weakest = shares.min(by: { $0.1 < $1.1 }),
    let best = shares.max(by: { $0.1 < $1.1 })
  else { return nil }
  return Finding(
    target: "1 kernel \(variant.rawValue)", bound: "at least \(percent(bound, places: 0)) of the multiply-add peak",
    reached: "\(percent(weakest.1)) (\(weakest.0)) to \(percent(best.1))", isMet: weakest.1 >= bound)
}
