import Diagnostics
import FoundationEssentials
import Glibc
import NodeRuntime
import Optimization

/// What the processes of a long run have in memory at several of its steps.
func measureMemory(_ suite: Suite) throws(Failure) -> GroupReport {
  let workers = 2
  let steps = suite.isQuick ? 6000 : 40_000
  var watch = MemoryWatch(data: suite.data)
  let directory = suite.work.newName("memory")
  let run = TrainingRun(
    settings: [
      ("batch-size", "64"), ("epochs", "1000"), ("max-steps", "\(steps)"), ("evaluate-every", "\(steps / 8)"),
      ("checkpoint-every", "\(steps / 8)"),
    ], workers: workers, data: suite.data)
  let metrics = RunPaths(directory: directory).metrics
  let outcome = try run.run(in: directory) { (programs) throws(Failure) in
    try watch.look(programs, metrics: metrics)
  }
  suite.work.remove(directory)
  guard outcome.result.steps == UInt64(steps), watch.samples.count >= 4 else {
    throw Failure(.internalError, "the run was over before its memory was looked at", found: "\(watch.samples.count)")
  }
  return memoryReport(watch, workers: workers)
}

/// Looks at the processes each time that the metrics have another line.
private struct MemoryWatch {
  struct Sample {
    let step: Int
    /// Resident, the pages of the data files aside, by process.
    let bytes: [String: Int]
    let anonymous: [String: Int]
  }

  let data: String
  private(set) var samples: [Sample] = []
  private var lines = 0

  init(data: String) {
    // As the kernel shows it in the maps.
    self.data = realpathText(data) ?? data
  }

  mutating func look(_ programs: Programs, metrics: String) throws(Failure) {
    guard let text = try? fileText(metrics) else { return }
    let rows = text.split(separator: "\n")
    guard rows.count > lines, let last = rows.last else { return }
    lines = rows.count
    let digits = last.drop { !$0.isNumber }.prefix { $0.isNumber }
    var (bytes, anonymous) = ([String: Int](), [String: Int]())
    for child in programs.running {
      // One that ends just now has no maps any more.
      guard let maps = try? fileText("/proc/\(child.processID)/smaps"), let resident = Resident(maps, without: data)
      else { return }
      bytes[child.name] = resident.bytes
      anonymous[child.name] = resident.anonymous
    }
    samples.append(Sample(step: Int(digits) ?? 0, bytes: bytes, anonymous: anonymous))
  }
}

private func realpathText(_ path: String) -> String? {
  guard let resolved = realpath(path, nil) else { return nil }
  defer { free(resolved) }
  return String(cString: resolved)
}

/// Sums over the mappings of a process.
private struct Resident {
  private(set) var bytes = 0
  /// Of these, what is no file: heap, stacks, memory shared between processes.
  private(set) var anonymous = 0

  /// - Parameter directory: whose files do not count.
  init?(_ maps: String, without directory: String) {
    var isCounted = true
    var found = false
    for line in maps.split(separator: "\n") {
      let words = line.split(separator: " ", omittingEmptySubsequences: true)
      guard let first = words.first else { continue }
      if !first.hasSuffix(":") {
        isCounted = !(words.count >= 6 && words[5].hasPrefix(directory))
      } else if first == "Rss:" || first == "Anonymous:", isCounted, words.count > 1, let size = Int(words[1]) {
        found = true
        if first == "Rss:" { bytes += size * 1024 } else { anonymous += size * 1024 }
      }
    }
    if !found { return nil }
  }
}

private func memoryReport(_ watch: MemoryWatch, workers: Int) -> GroupReport {
  let names = ["server", "coordinator"] + (0..<workers).map { "worker \($0)" }
  var table = Table(
    "Resident megabytes, data files aside; in brackets what is no file", ["step"] + names)
  for sample in watch.samples {
    table.rows.append(
      [.number(Double(sample.step), places: 0)]
        + names.map { name in
          let parts = [sample.bytes[name], sample.anonymous[name]].map { megabytes($0 ?? 0) }
          return .text("\(parts[0]) (\(parts[1]))")
        })
  }
  func peak(_ prefix: String) -> Int {
    watch.samples.flatMap { sample in sample.bytes.filter { $0.key.hasPrefix(prefix) }.map(\.value) }.max() ?? .max
  }
  let workerBound = 48_000_000
  let serverBound = 32_000_000 + 4 * 4 * ModelShape.cifar10.parameterCount * workers
  // The second sample: by then everything was used once.
  let (early, late) = (watch.samples[1], watch.samples[watch.samples.count - 1])
  let growth = names.map { name in (name, (late.bytes[name] ?? 0) - (early.bytes[name] ?? 0)) }
  let allowed = 65_536
  let grown = growth.max { $0.1 < $1.1 } ?? ("", 0)
  return GroupReport(
    group: .memory, tables: [table],
    findings: [
      Finding(
        target: "6 memory of a worker", bound: "below \(megabytes(workerBound)) MB",
        reached: "\(megabytes(peak("worker"))) MB", isMet: peak("worker") < workerBound),
      Finding(
        target: "6 memory of the server", bound: "below \(megabytes(serverBound)) MB with \(workers) workers",
        reached: "\(megabytes(peak("server"))) MB", isMet: peak("server") < serverBound),
      Finding(
        target: "6 growth of memory",
        bound: "none: at most \(allowed / 1024) kB from step \(early.step) to \(late.step)",
        reached: "\(grown.1 / 1024) kB (\(grown.0))", isMet: grown.1 <= allowed),
    ])
}

private func megabytes(_ bytes: Int) -> String { Table.Cell.number(Double(bytes) / 1e6, places: 1).text }
