import CKernels
import Optimization
import Reporting

/// The gradient by every variant that this processor has, beside the multiply-add peak of a core.
func measureKernels(_ rig: Rig, _ report: inout Report) throws {
  let bounds: [KernelVariant: Double] = [.avx512: 0.75, .avx2: 0.70]
  let networkBound = 0.75
  var (peaks, rows): ([[Cell]], [[Cell]]) = ([], [])
  for kernel in KernelVariant.supported {
    let (peak, measured) = try measure(kernel, rig)
    peaks.append([Cell("kernel", kernel.rawValue), Cell("GFLOP/s", peak, scale: 1e-9, places: 1)])
    rows += measured.map { gradient, seconds, share in
      [Cell("kernel", kernel.rawValue), Cell("gradient", gradient.name)]
        + seconds.cells("median µs", scale: 1e6, places: 2)
        + [
          Cell("M images/s", Double(gradient.examples) / seconds.median, scale: 1e-6, places: 3),
          Cell("of peak %", share, scale: 100, places: 1),
        ]
    }
    for (name, isOfNetworks) in [("kernel", false), ("networks", true)] {
      let gathered = measured.filter { $0.gradient.isTarget && $0.gradient.hidden.isEmpty != isOfNetworks }
        .sorted { $0.share < $1.share }
      guard let linearBound = bounds[kernel], let weakest = gathered.first, let best = gathered.last else { continue }
      let bound = isOfNetworks ? networkBound : linearBound
      report.target(
        "1 \(name) \(kernel.rawValue)", "at least \(Display.percent(bound, places: 0)) of the multiply-add peak",
        reached: "\(Display.percent(weakest.share)) (\(weakest.gradient.name)) to \(Display.percent(best.share))",
        isMet: weakest.share >= bound)
    }
  }
  report.table("Multiply-add peak of one core", peaks)
  report.table("Gradients", rows)
  report.notes.append("Of the training files, \(try largePagesMegabytes()) MB lie in large pages of the page cache.")
}

private struct Gradient {
  let name: String
  var loss = Loss.softmaxCrossEntropy
  var hidden: [Int] = []
  let shards, examples: Int
  /// One of those that the target is about.
  var isTarget = false

  /// 32 to 512 examples of both losses in shards of 16, what finer shards cost, and networks in shards of 32 and 8.
  static let all =
    [("softmax", Loss.softmaxCrossEntropy), ("hinge", .hinge)].flatMap { name, loss in
      [32, 64, 128, 256, 512].map {
        Gradient(name: "\(name), \($0) examples", loss: loss, shards: $0 / 16, examples: $0, isTarget: true)
      }
    } + [2, 4, 8, 16, 32].map { Gradient(name: "softmax, 16 shards of \($0)", shards: 16, examples: 16 * $0) }
    + networks

  private static let networks: [Gradient] =
    [[100], [1_024]].flatMap { hidden in
      [64, 128, 256, 512].map {
        Gradient(
          name: "hidden \(hidden[0]), \($0) examples", hidden: hidden, shards: $0 / 32, examples: $0, isTarget: true)
      } + [Gradient(name: "hidden \(hidden[0]), 8 shards of 8", hidden: hidden, shards: 8, examples: 64)]
    } + [Gradient(name: "hidden 256 and 128, 256 examples", hidden: [256, 128], shards: 8, examples: 256)]

  /// Multiplications and additions of one example's dense products: two with the weights of every layer, and a third with
  /// those after the first. The kernels leave out the derivatives of rectified units that are zero.
  var operations: Double {
    let layers = ModelShape(classes: Int(DESCENT_CLASSES), pixels: Int(DESCENT_PIXELS), hidden: hidden).layers
    return layers.enumerated().reduce(0.0) { $0 + ($1.offset == 0 ? 4 : 6) * Double($1.element.weight.count) }
  }
}

/// The gradients take turns with each other and with the peak, so that their figures can be compared.
/// - Returns: the peak in operations a second, a multiply-add counting two, and of each gradient its seconds and its
///   share of the peak measured right after it.
private func measure(
  _ kernel: KernelVariant, _ rig: Rig
) throws -> (peak: Double, [(gradient: Gradient, seconds: [Double], share: Double)]) {
  let sink = UnsafeMutablePointer<Float>.allocate(capacity: 16)
  sink.initialize(repeating: 0.5, count: 16)
  defer { sink.deallocate() }
  let peak = { kernel.functions.pointee.peak(20_000, sink) }
  let operations = Double(peak())
  // The peak right after each of them: the clock of a core changes with what it does, by a quarter here and there, and
  // so both see the same one.
  let gradients = Gradient.all.filter { kernel != .portable || $0.hidden.isEmpty }
  let runs = try gradients.flatMap {
    [
      try rig.gradient($0.loss, hidden: $0.hidden, kernel: kernel, batchSize: $0.examples, shards: $0.shards),
      { _ = peak() },
    ]
  }
  // The portable one takes its time.
  let samples = measure(samples: kernel == .portable ? 3 : rig.isQuick ? 20 : 100, runs)
  let peaks = samples.indices.filter { $0 % 2 == 1 }.flatMap { samples[$0] }
  let measured = gradients.enumerated().map { index, gradient in
    let seconds = samples[2 * index]
    let needed = gradient.operations * Double(gradient.examples)
    return (gradient, seconds, needed / operations / zip(seconds, samples[2 * index + 1]).map(/).median)
  }
  return (operations / peaks.median, measured)
}

/// How much of the mapped files lies in large pages: gathering examples from small ones is slower.
private func largePagesMegabytes() throws -> Int {
  let kilobytes = try lines(of: "/proc/self/smaps_rollup").reduce(0) { sum, line in
    guard line.hasPrefix("FilePmdMapped:") else { return sum }
    return sum + (line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0)
  }
  return kilobytes >> 10
}
