import CKernels
import Diagnostics
import Optimization
import Pieces

/// The hot loops, for every variant that this processor has.
func measureKernels(_ rig: Rig) throws(Failure) -> GroupReport {
  var report = GroupReport()
  var table = Table(
    title: "Hot loops", columns: ["kernel", "case", "median µs", "10 %", "90 %", "rate", "unit", "of peak %"])
  var peaks = Table(title: "Multiply-add peak of one core", columns: ["kernel", "GFLOP/s"])
  for variant in KernelVariant.supported {
    // Of the variants that do not run here by default only the gradient is shown; the portable one takes its time.
    let groups = try hotLoops(rig, variant, onlyGradients: variant != rig.kernel)
    let samples = variant == .portable ? 3 : rig.isQuick ? 20 : 100
    let (peak, results) = measure(groups, variant, samples: samples)
    peaks.rows.append([.text(variant.rawValue), .number(peak * 1e-9, places: 1)])
    for (loop, seconds, share) in results {
      table.rows.append(
        [.text(variant.rawValue), .text(loop.name)] + seconds.medianAndDeciles.microseconds(places: 2)
          + [
            .number(loop.amount / seconds.median, places: 3), .text(loop.unit),
            .number(share.map { $0 * 100 } ?? .nan, places: 1),
          ])
    }
    let gathered = results.prefix(groups[0].count).map { (name: $0.loop.name, share: $0.share ?? .nan) }
    report.findings += kernelFinding(variant, gathered).map { [$0] } ?? []
  }
  report.tables = [peaks, table]
  report.notes = ["Of the training files, \(try largePagesMegabytes()) MB lie in large pages of the page cache."]
  return report
}

/// A hot loop, what it is shown by, and what its rate counts, such as "M images/s" with `amount` in millions of images.
private struct HotLoop {
  let name: String
  let unit: String
  let amount: Double
  /// Floating-point operations, multiply-adds counting two; 0 where a share of the peak means nothing.
  var operations = 0.0
  let run: () -> Void
}

extension HotLoop {
  /// A piece whose rate is in gigabytes a second; verified.
  init(_ name: String, _ piece: some Piece) throws(Failure) {
    self.init(name: name, unit: "GB/s", amount: Double(piece.amount) * 1e-9, run: try piece.verified())
  }
}

/// The loops of a group take turns with each other and with the peak, so that their figures can be compared.
/// - Returns: the peak in operations a second, and each loop with its share of the peak measured right after it.
private func measure(
  _ groups: [[HotLoop]], _ kernel: KernelVariant, samples: Int
) -> (peak: Double, results: [(loop: HotLoop, seconds: [Double], share: Double?)]) {
  let sink = UnsafeMutablePointer<Float>.allocate(capacity: 16)
  sink.initialize(repeating: 0.5, count: 16)
  defer { sink.deallocate() }
  let rounds: UInt64 = 20_000
  let operations = Double(kernel.functions.pointee.peak(rounds, sink))
  var results: [(HotLoop, [Double], Double?)] = []
  var peaks: [Double] = []
  for group in groups {
    // The peak right after each of them: the clock of a core changes with what it does, by a quarter here and there, and
    // so both see the same one.
    let runs = group.flatMap { [$0.run, { _ = kernel.functions.pointee.peak(rounds, sink) }] }
    let measured = measure(samples: samples, runs)
    for (index, loop) in group.enumerated() {
      let (seconds, reference) = (measured[2 * index], measured[2 * index + 1])
      let ratio = zip(seconds, reference).map(/).median
      results.append((loop, seconds, loop.operations == 0 ? nil : loop.operations / operations / ratio))
      peaks += reference
    }
  }
  return (operations / peaks.median, results)
}

private func hotLoops(
  _ rig: Rig, _ kernel: KernelVariant, onlyGradients: Bool
) throws(Failure) -> [[HotLoop]] {
  func gradient(
    _ name: String, _ loss: Loss = .softmaxCrossEntropy, shards: Int, examples: Int
  ) throws(Failure) -> HotLoop {
    // Scores and gradient of one image: two products of 10 × 3,072.
    HotLoop(
      name: name, unit: "M images/s", amount: Double(examples) * 1e-6,
      operations: 4 * Double(DESCENT_WEIGHTS) * Double(examples),
      run: try rig.gradient(loss, kernel: kernel, batchSize: examples, shards: shards))
  }
  var gathered: [HotLoop] = []
  for (loss, name) in [(Loss.softmaxCrossEntropy, "softmax"), (.hinge, "hinge")] {
    for examples in [32, 64, 128, 256, 512] {
      gathered.append(
        try gradient("gradient \(name), \(examples) examples", loss, shards: examples / 16, examples: examples))
    }
  }
  // What finer shards cost.
  let finer = try [2, 4, 8, 16, 32].map { examples throws(Failure) in
    try gradient("gradient softmax, 16 shards of \(examples)", shards: 16, examples: 16 * examples)
  }
  if onlyGradients { return [gathered, finer] }

  // A worker that adds its examples up in plain floats, in the order they come, has one chain and rounds nothing: that
  // is one shard of all examples. A server does the same additions in integers as in floats.
  let determinism = [
    try gradient("determinism: 256 examples, plain float chain", shards: 1, examples: 256),
    try gradient("determinism: 256 examples, 16 exact shards", shards: 16, examples: 256),
    try HotLoop("determinism: server adds a push, float", AdditionPiece(integersBy: nil)),
    try HotLoop("determinism: server adds a push, int32", AdditionPiece(integersBy: kernel)),
  ]
  // The checksum of a message with a whole gradient, and of a small one.
  let way = String(cString: descent_crc32c_name())
  let checksums = try [256, Int(DESCENT_PARAMETERS) * 4].map { count throws(Failure) in
    try HotLoop("CRC-32C (\(way)), \(count) bytes", ChecksumPiece(byteCount: count))
  }
  let momenta = [
    ("plain", Momentum.off), ("Polyak", Momentum(coefficient: 0.875, kind: .polyak)),
    ("Nesterov", Momentum(coefficient: 0.875, kind: .nesterov)),
  ]
  let updates = try momenta.map { name, momentum throws(Failure) in
    try HotLoop("update, \(name)", UpdatePiece(momentum, kernel: kernel))
  }
  return [gathered, finer, determinism, checksums, updates]
}

/// The weakest of the loops with 32 to 512 examples gathered at random, both losses.
private func kernelFinding(_ variant: KernelVariant, _ loops: [(name: String, share: Double)]) -> Finding? {
  let bounds: [KernelVariant: Double] = [.avx512: 0.75, .avx2: 0.70]
  guard let bound = bounds[variant], let weakest = loops.min(by: { $0.share < $1.share }),
    let best = loops.max(by: { $0.share < $1.share })
  else { return nil }
  return Finding(
    target: "1 kernel \(variant.rawValue)", bound: "at least \(percent(bound, places: 0)) of the multiply-add peak",
    reached: "\(percent(weakest.share)) (\(weakest.name)) to \(percent(best.share))", met: weakest.share >= bound)
}

/// How much of the mapped files lies in large pages: gathering examples from small ones is slower.
private func largePagesMegabytes() throws(Failure) -> Int {
  let kilobytes = try lines(of: "/proc/self/smaps_rollup").reduce(0) { sum, line in
    guard line.hasPrefix("FilePmdMapped:") else { return sum }
    return sum + (line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0)
  }
  return kilobytes >> 10
}
