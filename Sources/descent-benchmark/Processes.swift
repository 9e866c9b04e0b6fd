import Diagnostics
import FoundationEssentials
import Glibc
import NodeRuntime
import Optimization

// MARK: Start

/// From `descent train` until the server's log tells of the first step.
func measureStart(_ rig: Rig) throws(Failure) -> GroupReport {
  var (first, whole): ([Double], [Double]) = ([], [])
  for repetition in 0...(rig.isQuick ? 5 : 20) {
    let directory = rig.newName("start")
    let programs = try Programs()
    let began = monotonicSeconds()
    var firstStep = Double.nan
    _ = try programs.spawner.start(
      "descent",
      ["train", "--data", rig.data, "--run-dir", directory, "--max-steps", "20", "--workers", "2", "--quiet"],
      name: "descent train", output: rig.newName("output"))
    try programs.waitForAll(limit: 120) { (_) throws(Failure) in
      if firstStep.isNaN, hasFirstStep(directory) { firstStep = monotonicSeconds() - began }
    }
    let seconds = monotonicSeconds() - began
    guard try TrainingRun.result(of: directory).steps == 20, firstStep.isFinite else {
      throw Failure(.internalError, "the run has other steps, or its server's log does not tell of the first")
    }
    rig.remove(directory)
    // The first one brings the files into the page cache.
    guard repetition > 0 else { continue }
    first.append(firstStep)
    whole.append(seconds)
  }
  let rows = [("to the first step", first), ("to the end, 20 steps, evaluated and saved", whole)].map {
    [.text($0)] + $1.medianAndExtremes.cells(places: 3)
  }
  return GroupReport(
    tables: [
      Table(
        title: "descent train, 2 workers, files in the page cache", columns: ["", "median s", "lowest", "highest"],
        rows: rows)
    ],
    findings: [
      Finding(
        target: "7 start-up", bound: "first step within 0.3 s of descent train",
        reached: "\(first.text(places: 3)) s", met: first.median <= 0.3)
    ])
}

/// Whether the log of the run's server tells of the first step.
private func hasFirstStep(_ run: String) -> Bool {
  let path = RunPaths(directory: run).logFiles.first { $0.contains("/server") }
  return path.flatMap { try? fileText($0) }?.contains("first_step") ?? false
}

// MARK: Memory

/// What the processes of a long run have in memory at several of its steps, the pages of the data files aside.
func measureMemory(_ rig: Rig) throws(Failure) -> GroupReport {
  let steps = rig.isQuick ? 6000 : 40_000
  // As the kernel shows it in the maps.
  let data = realpath(rig.data, nil).map { String(cString: $0) } ?? rig.data
  var samples: [MemorySample] = []
  let outcome = try TrainingRun(
    flags: "--batch-size 64 --epochs 1000 --max-steps \(steps) --evaluate-every \(steps / 8) "
      + "--checkpoint-every \(steps / 8)",
    meanwhile: { (programs, directory) throws(Failure) in
      // Each time that the metrics have another line.
      guard let step = TrainingRun.lastStep(of: directory).map({ Int($0) }), step != samples.last?.step,
        let processes = residentMemory(of: programs, without: data)
      else { return }
      samples.append((step, processes))
    }
  ).run(rig)
  guard outcome.result.steps == UInt64(steps), samples.count >= 4 else {
    throw Failure(.internalError, "the run was over before its memory was measured", found: "\(samples.count) samples")
  }
  return memoryReport(samples, workers: 2)
}

/// Resident bytes of a process, and those of them that are no file: heap, stacks, memory shared between processes.
private typealias Resident = (bytes: Int, anonymous: Int)
private typealias MemorySample = (step: Int, processes: [String: Resident])

/// Of each process by its name; nil if one ends just now.
/// - Parameter directory: whose files do not count.
private func residentMemory(of programs: Programs, without directory: String) -> [String: Resident]? {
  var processes: [String: Resident] = [:]
  for child in programs.spawner.running {
    guard let maps = try? lines(of: "/proc/\(child.processID)/smaps"), !maps.isEmpty else { return nil }
    var isCounted = true
    var sum = (bytes: 0, anonymous: 0)
    for line in maps {
      let words = line.split(separator: " ", omittingEmptySubsequences: true)
      guard words.count > 1, let first = words.first else { continue }
      if !first.hasSuffix(":") {
        isCounted = !(words.count >= 6 && words[5].hasPrefix(directory))
      } else if isCounted, let kilobytes = Int(words[1]) {
        if first == "Rss:" { sum.bytes += kilobytes * 1024 }
        if first == "Anonymous:" { sum.anonymous += kilobytes * 1024 }
      }
    }
    processes[child.name] = sum
  }
  return processes
}

private func memoryReport(_ samples: [MemorySample], workers: Int) -> GroupReport {
  let names = ["server", "coordinator"] + (0..<workers).map { "worker \($0)" }
  func megabytes(_ bytes: Int) -> String { Table.Cell.number(Double(bytes) / 1e6, places: 1).text }
  let rows = samples.map { sample in
    [Table.Cell.count(sample.step)]
      + names.map { name in
        let (bytes, anonymous) = sample.processes[name] ?? (0, 0)
        return .text("\(megabytes(bytes)) (\(megabytes(anonymous)))")
      }
  }
  func finding(_ process: String, below bound: Int, _ condition: String) -> Finding {
    let peak = samples.flatMap { $0.processes.filter { $0.key.hasPrefix(process) }.map(\.value.bytes) }.max() ?? .max
    return Finding(
      target: "6 memory of \(process == "worker" ? "a" : "the") \(process)",
      bound: "below \(megabytes(bound)) MB\(condition)", reached: "\(megabytes(peak)) MB", met: peak < bound)
  }
  // From the second sample on: by then everything was used once.
  let (early, late) = (samples[1], samples[samples.count - 1])
  let growth = names.map { name in
    (name: name, bytes: (late.processes[name]?.bytes ?? 0) - (early.processes[name]?.bytes ?? 0))
  }
  let most = growth.max { $0.bytes < $1.bytes } ?? ("", 0)
  let allowed = 65_536
  return GroupReport(
    tables: [
      Table(
        title: "Resident megabytes, data files aside; in brackets what is no file", columns: ["step"] + names,
        rows: rows)
    ],
    findings: [
      finding("worker", below: 48_000_000, ""),
      finding(
        "server", below: 32_000_000 + 4 * 4 * ModelShape.cifar10.parameterCount * workers, " with \(workers) workers"),
      Finding(
        target: "6 growth of memory",
        bound: "none: at most \(allowed / 1024) kB from step \(early.step) to \(late.step)",
        reached: "\(most.bytes / 1024) kB (\(most.name))", met: most.bytes <= allowed),
    ])
}
