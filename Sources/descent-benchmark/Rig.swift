import Datasets
import Diagnostics
import FoundationEssentials
import Glibc
import Optimization
import Pieces
import Reporting

/// What every group works with.
final class Rig {
  /// Holds everything that the measured programs write.
  let directory: String
  private var names = 0
  /// A directory in the format of CIFAR-10.
  let data: String
  let isQuick: Bool
  let kernel: KernelVariant
  let cores = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
  /// The training files in `data`.
  let dataset: Dataset
  /// Over all of them, [D], in pixel units.
  let mean: [Float]

  /// - Parameter data: nil for the directory that DESCENT_DATA names, otherwise a synthetic set of the same size.
  init(data: String?, isQuick: Bool) throws {
    let environment = ProcessInfo.processInfo.environment
    let parent = environment["TMPDIR"] ?? "/tmp"
    var template = Array("\(parent)/descent-benchmark-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw Failure.cannot("create a directory in \(parent)") }
    directory = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    self.isQuick = isQuick
    kernel = try KernelVariant(environment: environment)
    if let data = data ?? environment["DESCENT_DATA"], !data.isEmpty {
      self.data = data
    } else {
      self.data = directory + "/synthetic"
      say("*** No --data and no DESCENT_DATA: measuring on SYNTHETIC data of the same size.")
      try SyntheticDataset.write(to: self.data)
    }
    dataset = try Dataset(directory: self.data, part: .training)
    mean = dataset.mean(.meanImage, over: (0..<UInt32(dataset.count)).map { $0 })
  }

  /// A path that was not used before.
  func newName(_ prefix: String) -> String {
    names += 1
    return "\(directory)/\(prefix)-\(names)"
  }

  func remove(_ path: String) { try? FileManager.default.removeItem(atPath: path) }

  /// Where and when something is measured.
  var machine: [Cell] {
    let processor =
      (try? lines(of: "/proc/cpuinfo"))?.first { $0.hasPrefix("model name") }?.split(separator: ":", maxSplits: 1).last
      .map { String($0.drop { $0 == " " }) } ?? "unknown processor"
    let system = (try? lines(of: "/proc/sys/kernel/osrelease"))?.first.map(String.init) ?? ""
    return [
      Cell("date", String(UTCTime.now().timestamp.prefix(10))), Cell("processor", processor), Cell("cores", cores),
      Cell("kernel", kernel.rawValue), Cell("linux", system),
    ]
  }

  /// Gradients of these data; verified.
  /// - Parameters:
  ///   - hidden: units of the hidden layers, which are rectified.
  ///   - own: of these shards alone; nil for all.
  func gradient(
    _ loss: Loss = .softmaxCrossEntropy, hidden: [Int] = [], kernel: KernelVariant? = nil, batchSize: Int,
    shards: Int, own: ShardSet? = nil
  ) throws -> () -> Void {
    let plan = try plainPlan(batchSize: batchSize, shards: shards, exampleCount: dataset.count) {
      ($0.loss, $0.initialStandardDeviation) = (loss, 0.01)
      $0.shape = ModelShape(classes: $0.shape.classes, pixels: $0.shape.pixels, hidden: hidden)
    }
    var piece = GradientPiece(
      plan, examples: dataset.examples, meanImage: mean, kernel: kernel ?? self.kernel, shards: own)
    piece.run()
    try piece.verifyFirst()
    return { piece.run() }
  }
}

/// Writes a line to standard error.
func say(_ text: String) { StandardError.write(text + "\n") }

/// The whole of a text file, which may be one of /proc, whose size is not known beforehand.
func fileText(_ path: String) throws(Failure) -> String {
  guard let data = FileManager.default.contents(atPath: path) else { throw .cannotRead(path, .last) }
  return String(decoding: data, as: UTF8.self)
}

/// Its lines, empty ones left out.
func lines(of path: String) throws(Failure) -> [Substring] { try fileText(path).split(separator: "\n") }

// MARK: Timing

/// Runs in alternation, so that all see the same state of the machine: every other round in the opposite order.
/// - Returns: what each gave, in the order of the rounds.
func alternate<Outcome>(_ title: String, rounds: Int, _ runs: [() throws -> Outcome]) throws -> [[Outcome]] {
  var outcomes = runs.map { _ in [Outcome]() }
  for round in 1...rounds {
    say("\(title): round \(round) of \(rounds)")
    for index in round % 2 == 1 ? Array(runs.indices) : runs.indices.reversed() {
      outcomes[index].append(try runs[index]())
    }
  }
  return outcomes
}

/// Seconds on a clock.
func monotonicSeconds(_ clock: clockid_t = CLOCK_MONOTONIC) -> Double {
  var time = timespec()
  clock_gettime(clock, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

extension Piece {
  /// Repetitions that continue after the first ones, which were right.
  func verified(after runs: Int = 1) throws -> () -> Void {
    var piece = self
    for _ in 0..<runs { piece.run() }
    try piece.verify()
    return { piece.run() }
  }
}

/// Seconds of one call of each of `runs`: so many samples of each in turn, so that all see the same state of the
/// machine. A sample repeats its run for about a millisecond.
func measure(samples count: Int, _ runs: [() -> Void]) -> [[Double]] {
  func seconds(_ repetitions: Int, _ run: () -> Void) -> Double {
    let began = monotonicSeconds()
    for _ in 0..<repetitions { run() }
    return monotonicSeconds() - began
  }
  let repetitions = runs.map { run in
    run()  // Warms caches, page tables and clocks.
    return max(1, Int(0.001 / max(seconds(1, run), 1e-9)))
  }
  var samples = runs.map { _ in [Double]() }
  for _ in 0..<count {
    for (index, run) in runs.enumerated() {
      samples[index].append(seconds(repetitions[index], run) / Double(repetitions[index]))
    }
  }
  return samples
}
