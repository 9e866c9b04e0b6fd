/// Seconds of one run, over many samples. The median is what to compare; the spread says how quiet the machine was.
struct Timing {
  /// Seconds per run, ascending.
  let samples: [Double]

  var best: Double { samples[0] }
  var median: Double { quantile(0.5) }
  var lowDecile: Double { quantile(0.1) }
  var highDecile: Double { quantile(0.9) }

  private func quantile(_ share: Double) -> Double { samples[Int(share * Double(samples.count - 1))] }
}

/// Takes `sampleCount` samples of each of `runs` in turn, so that all of them see the same moods of the machine. A
/// sample repeats its run for about `sampleSeconds`.
func measure(sampleCount: Int, sampleSeconds: Double = 0.001, _ runs: [() -> Void]) -> [Timing] {
  let clock = ContinuousClock()
  func seconds(_ repetitions: Int, _ run: () -> Void) -> Double {
    let duration = clock.measure { for _ in 0..<repetitions { run() } }
    return Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
  }
  let repetitions = runs.map { run in
    run()  // Warms caches, page tables and clocks.
    return max(1, Int(sampleSeconds / max(seconds(1, run), 1e-9)))
  }
  var samples = runs.map { _ in [Double]() }
  for _ in 0..<sampleCount {
    for (index, run) in runs.enumerated() {
      samples[index].append(seconds(repetitions[index], run) / Double(repetitions[index]))
    }
  }
  return samples.map { Timing(samples: $0.sorted()) }
}

/// What is measured: a run, how much work it does, and a check of its answer.
struct Case {
  let name: String
  /// What the rate counts, such as "M images/s" with `amount` in millions of images.
  let rateUnit: String
  let amount: Double
  /// Multiply-adds count two; 0 where a share of the peak means nothing.
  let floatingPointOperations: Double
  /// Says what is wrong with the answer, nil if nothing is.
  let verify: () -> String?
  let run: () -> Void
}

struct Result {
  let name: String
  let timing: Timing
  let rate: Double
  let rateUnit: String
  /// Of the multiply-add peak measured in the same minutes; nil where it means nothing.
  let shareOfPeak: Double?
}
