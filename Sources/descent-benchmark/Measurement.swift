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

/// Runs that are sampled in turn, so that all of them see the same moods of the machine. A sample repeats its run for
/// about `sampleSeconds`.
private struct Turns {
  private let clock = ContinuousClock()
  private let runs: [() -> Void]
  private var repetitions: [Int] = []

  init(_ runs: [() -> Void], sampleSeconds: Double) {
    self.runs = runs
    for run in runs {
      run()  // Warms caches, page tables and clocks.
      repetitions.append(max(1, Int(sampleSeconds / max(seconds(1, run), 1e-9))))
    }
  }

  private func seconds(_ repetitions: Int, _ run: () -> Void) -> Double {
    let duration = clock.measure { for _ in 0..<repetitions { run() } }
    return Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
  }

  /// Seconds of one run of this index.
  func sample(_ index: Int) -> Double { seconds(repetitions[index], runs[index]) / Double(repetitions[index]) }
}

/// Takes `sampleCount` samples of each of `runs` in turn.
func measure(sampleCount: Int, sampleSeconds: Double = 0.001, _ runs: [() -> Void]) -> [Timing] {
  let turns = Turns(runs, sampleSeconds: sampleSeconds)
  var samples = runs.map { _ in [Double]() }
  for _ in 0..<sampleCount {
    for index in runs.indices { samples[index].append(turns.sample(index)) }
  }
  return samples.map { Timing(samples: $0.sorted()) }
}

/// A run beside a reference: what it took, and the median of how many times as long that was as the reference right after.
struct Comparison {
  let timing: Timing
  let ratio: Double
}

/// Takes `sampleCount` samples of each of `runs` in turn, and after each one a sample of `reference`: the clock of a core
/// changes with what it does, by a quarter here and there, and so both see the same one.
func measure(
  sampleCount: Int, sampleSeconds: Double = 0.001, _ runs: [() -> Void], beside reference: @escaping () -> Void
) -> (runs: [Comparison], reference: Timing) {
  let turns = Turns(runs + [reference], sampleSeconds: sampleSeconds)
  var samples = runs.map { _ in [Double]() }
  var references = samples
  for _ in 0..<sampleCount {
    for index in runs.indices {
      samples[index].append(turns.sample(index))
      references[index].append(turns.sample(runs.count))
    }
  }
  let comparisons = zip(samples, references).map { samples, references in
    Comparison(
      timing: Timing(samples: samples.sorted()),
      ratio: Timing(samples: zip(samples, references).map(/).sorted()).median)
  }
  return (comparisons, Timing(samples: references.flatMap(\.self).sorted()))
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
  /// Of the multiply-add peak measured right after each sample, the median; nil where it means nothing.
  let shareOfPeak: Double?
}
