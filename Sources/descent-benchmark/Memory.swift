import Diagnostics
import Glibc
import NodeRuntime
import Optimization

/// What the processes of a long run have in memory at several of its steps, the pages of the data files aside.
func measureMemory(_ rig: Rig) throws(Failure) -> GroupReport {
  let steps = rig.isQuick ? 6000 : 40_000
  let directory = rig.work.newName("memory")
  let metrics = RunPaths(directory: directory).metrics
  // As the kernel shows it in the maps.
  let data = realpath(rig.data, nil).map { String(cString: $0) } ?? rig.data
  var samples: [MemorySample] = []
  let outcome = try TrainingRun(
    settings: [
      ("batch-size", "64"), ("epochs", "1000"), ("max-steps", "\(steps)"), ("evaluate-every", "\(steps / 8)"),
      ("checkpoint-every", "\(steps / 8)"),
    ], workers: 2, data: rig.data
  ).run(in: directory) { (programs) throws(Failure) in
    // Each time that the metrics have another line.
    guard let step = TrainingRun.lastStep(ofMetrics: metrics).map({ Int($0) }), step != samples.last?.step,
      let sample = MemorySample(step: step, of: programs, without: data)
    else { return }
    samples.append(sample)
  }
  rig.work.remove(directory)
  guard outcome.result.steps == UInt64(steps), samples.count >= 4 else {
    throw Failure(.internalError, "the run was over before its memory was measured", found: "\(samples.count) samples")
  }
  return memoryReport(samples, workers: 2)
}

private struct MemorySample {
  /// Resident bytes of a process, and those of them that are no file: heap, stacks, memory shared between processes.
  typealias Resident = (bytes: Int, anonymous: Int)

  let step: Int
  let processes: [String: Resident]

  /// Nil if a process ends just now.
  /// - Parameter directory: whose files do not count.
  init?(step: Int, of programs: Programs, without directory: String) {
    var processes: [String: Resident] = [:]
    for child in programs.running {
      guard let maps = try? fileText("/proc/\(child.processID)/smaps"), !maps.isEmpty else { return nil }
      processes[child.name] = Self.resident(maps, without: directory)
    }
    (self.step, self.processes) = (step, processes)
  }

  /// Sums over the mappings of a process.
  private static func resident(_ maps: String, without directory: String) -> Resident {
    var isCounted = true
    var sum = (bytes: 0, anonymous: 0)
    for line in maps.split(separator: "\n") {
      let words = line.split(separator: " ", omittingEmptySubsequences: true)
      guard words.count > 1, let first = words.first else { continue }
      if !first.hasSuffix(":") {
        isCounted = !(words.count >= 6 && words[5].hasPrefix(directory))
      } else if isCounted, let kilobytes = Int(words[1]) {
        if first == "Rss:" { sum.bytes += kilobytes * 1024 }
        if first == "Anonymous:" { sum.anonymous += kilobytes * 1024 }
      }
    }
    return sum
  }

  func bytes(of process: String) -> Int { processes[process]?.bytes ?? 0 }
}

private func memoryReport(_ samples: [MemorySample], workers: Int) -> GroupReport {
  let names = ["server", "coordinator"] + (0..<workers).map { "worker \($0)" }
  let rows = samples.map { sample in
    [Table.Cell.count(sample.step)]
      + names.map { name in
        let (bytes, anonymous) = sample.processes[name] ?? (0, 0)
        return .text("\(megabytes(bytes)) (\(megabytes(anonymous)))")
      }
  }
  func peak(_ prefix: String) -> Int {
    samples.flatMap { $0.processes.filter { $0.key.hasPrefix(prefix) }.map(\.value.bytes) }.max() ?? .max
  }
  func finding(_ process: String, below bound: Int, _ condition: String) -> Finding {
    Finding(
      target: "6 memory of \(process == "worker" ? "a" : "the") \(process)",
      bound: "below \(megabytes(bound)) MB\(condition)", reached: "\(megabytes(peak(process))) MB",
      isMet: peak(process) < bound)
  }
  // From the second sample on: by then everything was used once.
  let (early, late) = (samples[1], samples[samples.count - 1])
  let growth = names.map { (name: $0, bytes: late.bytes(of: $0) - early.bytes(of: $0)) }
  let most = growth.max { $0.bytes < $1.bytes } ?? ("", 0)
  let allowed = 65_536
  return GroupReport(
    tables: [Table("Resident megabytes, data files aside; in brackets what is no file", ["step"] + names, rows)],
    findings: [
      finding("worker", below: 48_000_000, ""),
      finding(
        "server", below: 32_000_000 + 4 * 4 * ModelShape.cifar10.parameterCount * workers, " with \(workers) workers"),
      Finding(
        target: "6 growth of memory",
        bound: "none: at most \(allowed / 1024) kB from step \(early.step) to \(late.step)",
        reached: "\(most.bytes / 1024) kB (\(most.name))", isMet: most.bytes <= allowed),
    ])
}

private func megabytes(_ bytes: Int) -> String { Table.Cell.number(Double(bytes) / 1e6, places: 1).text }
