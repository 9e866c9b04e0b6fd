import Diagnostics
import Glibc
import NodeRuntime
import Optimization

// MARK: Start

/// From `descent train` until the server's log tells of the first step.
func measureStart(_ rig: Rig, _ report: inout Report) throws {
  let run = TrainingRun(flags: "--max-steps 20", isOneCommand: true)
  // The first one brings the files into the page cache.
  let seconds = try alternate("start", rounds: 1 + (rig.isQuick ? 5 : 20), [{ try start(run, rig) }])[0].dropFirst()
  let first = seconds.map(\.first)
  report.table(
    "descent train, 2 workers, files in the page cache",
    [
      [Cell("until", "the first step")] + first.cells("median s", places: 3),
      [Cell("until", "the end, 20 steps, evaluated and saved")] + seconds.map(\.whole).cells("median s", places: 3),
    ])
  report.target(
    "7 start-up", "first step within 0.3 s of descent train", reached: "\(first.text(places: 3)) s",
    isMet: first.median <= 0.3)
}

/// Seconds to the first step, and to the end.
private func start(_ run: TrainingRun, _ rig: Rig) throws -> (first: Double, whole: Double) {
  let began = monotonicSeconds()
  var first = Double.nan
  let outcome = try run.run(rig) { _, paths, _ in
    guard first.isNaN, let log = paths.logFiles.first(where: { $0.contains("/server") }) else { return }
    if (try? fileText(log))?.contains("first_step") ?? false { first = monotonicSeconds() - began }
  }
  guard outcome.result.steps == 20, first.isFinite else {
    throw Failure(.internalError, "the run has other steps, or its server's log does not tell of the first")
  }
  return (first, outcome.seconds)
}

// MARK: Memory

/// What the processes of a long run have in memory at several of its steps, the pages of the data files aside.
func measureMemory(_ rig: Rig, _ report: inout Report) throws {
  let steps = rig.isQuick ? 6000 : 40_000
  // As the kernel shows it in the maps.
  let data = realpath(rig.data, nil).map { String(cString: $0) } ?? rig.data
  var samples: [MemorySample] = []
  let run = TrainingRun(
    flags: "--batch-size 64 --epochs 1000 --max-steps \(steps) --evaluate-every \(steps / 8) "
      + "--checkpoint-every \(steps / 8)")
  let outcome = try run.run(rig) { programs, _, step in
    // Each time that the metrics have another line.
    guard step > samples.last?.step ?? 0, let processes = residentMemory(of: programs, without: data) else { return }
    samples.append((step, processes))
  }
  guard outcome.result.steps == UInt64(steps), samples.count >= 4 else {
    throw Failure(.internalError, "the run was over before its memory was measured", found: "\(samples.count) samples")
  }
  reportMemory(samples, workers: run.workers, &report)
}

private typealias MemorySample = (step: Int, processes: [String: Resident])

private func reportMemory(_ samples: [MemorySample], workers: Int, _ report: inout Report) {
  let names = ["server", "coordinator"] + (0..<workers).map { "worker \($0)" }
  report.table(
    "Resident megabytes, data files aside; in brackets what is no file",
    samples.map { sample in
      [Cell("step", sample.step)]
        + names.map { name in
          let memory = sample.processes[name] ?? Resident()
          return Cell(name, "\(megabytes(memory.bytes)) (\(megabytes(memory.anonymous)))")
        }
    })
  func target(_ process: String, _ prefix: String, below bound: Int, _ condition: String = "") {
    let peak = samples.flatMap { $0.processes.filter { $0.key.hasPrefix(prefix) }.map(\.value.bytes) }.max() ?? .max
    report.target(
      "6 memory of \(process)", "below \(megabytes(bound)) MB\(condition)", reached: "\(megabytes(peak)) MB",
      isMet: peak < bound)
  }
  target("a worker", "worker", below: 48_000_000)
  target(
    "the server", "server", below: 32_000_000 + 4 * 4 * ModelShape.cifar10.parameterCount * workers,
    " with \(workers) workers")
  // From the second sample on: by then everything was used once.
  let (early, late) = (samples[1], samples[samples.count - 1])
  let growth = names.map { name in
    (name: name, bytes: (late.processes[name]?.bytes ?? 0) - (early.processes[name]?.bytes ?? 0))
  }
  let most = growth.max { $0.bytes < $1.bytes } ?? ("", 0)
  let allowed = 65_536
  report.target(
    "6 growth of memory", "none: at most \(allowed / 1024) kB from step \(early.step) to \(late.step)",
    reached: "\(most.bytes / 1024) kB (\(most.name))", isMet: most.bytes <= allowed)
}

/// Resident bytes of a process, and those of them that are no file: heap, stacks, memory shared between processes.
private struct Resident {
  var (bytes, anonymous) = (0, 0)
}

private func megabytes(_ bytes: Int) -> String { Cell("", Double(bytes), scale: 1e-6, places: 1).text }

/// Of each process by its name; nil if one ends just now.
/// - Parameter directory: whose files do not count.
private func residentMemory(of programs: Programs, without directory: String) -> [String: Resident]? {
  var processes: [String: Resident] = [:]
  for child in programs.running {
    guard let maps = try? lines(of: "/proc/\(child.processID)/smaps"), !maps.isEmpty else { return nil }
    var (sum, isCounted) = (Resident(), true)
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
