import Foundation
import TestSupport
import Testing

/// Promises 1 to 3 at every point of every role's work, enumerated and not sampled: an undisturbed run tells which points
/// there are and how often each is passed, and then something happens at each of them, in the middle of its occurrences.
///
/// By default some points are tried, the same ones each time; `Scripts/faults.sh` tries all of them.
@Suite("Fault points", .serialized)
struct FaultPointTests {
  struct Point: Sendable, CustomStringConvertible {
    let role: String
    let name: String
    /// In the middle of how often the undisturbed run passed it, from one on.
    let occurrence: Int
    var description: String { "\(role)/\(name)/\(occurrence)" }
  }

  /// A lease that lets a test wait for it.
  private static let training = Training(
    workers: 3,
    [
      "max-steps": "800", "evaluate-every": "100", "checkpoint-every": "100", "heartbeat-seconds": "0.2",
      "lease-seconds": "0.6", "rendezvous-seconds": "10",
    ])

  /// The points, and the weights of the run that passed them.
  private static let undisturbed = Result<(points: [Point], hash: String), any Error> {
    try TemporaryDirectory.with { directory in
      var counting = training
      counting.environment = ["DESCENT_FAULT": "count=\(directory.path)"]
      let hash = try counting.result().hash
      var counts: [String: Int] = [:]
      for file in try FileManager.default.contentsOfDirectory(atPath: directory.path) {
        let text = try String(contentsOf: directory.appendingPathComponent(file), encoding: .utf8)
        for words in text.split(separator: "\n").map({ $0.split(separator: " ") }) {
          // Of several workers the one that passes it most often.
          counts["\(words[0]) \(words[1])"] = max(counts["\(words[0]) \(words[1])"] ?? 0, Int(words[2]) ?? 0)
        }
      }
      let points = counts.sorted { $0.key < $1.key }.map { key, count in
        let words = key.split(separator: " ").map(String.init)
        return Point(role: words[0], name: words[1], occurrence: (count + 1) / 2)
      }
      return (points, hash)
    }
  }

  /// What the logs tell of: a lease that ran out or a coordinator that is another one, and a step after a pause.
  private static let detections = ["worker_evicted", "server_lost", "rejoining"]
  private static let steps = ["first_step", "slow_step"]

  /// What came of a fault.
  private struct Outcome {
    let status: Int32
    let hash: String
    let standardError: String
    /// Seconds from the fault until somebody knew, and to the next step that came after a pause; nil where neither was
    /// needed.
    let detection: Double?
    let recovery: Double?
    /// Whether the fault came about; in some runs a point is not passed that often.
    let happened: Bool
    let left: Int
  }

  private func run(_ training: Training, _ point: Point, _ act: String, meanwhile: (pid_t) -> Void = { _ in }) throws
    -> Outcome
  {
    try TemporaryDirectory.with { directory in
      let (run, mark) = (directory.appendingPathComponent("run"), directory.appendingPathComponent("mark"))
      let sockets = directory.appendingPathComponent("runtime")
      try FileManager.default.createDirectory(at: sockets, withIntermediateDirectories: true)
      var training = training
      training.environment = ["DESCENT_FAULT": "\(point)/\(act)=\(mark.path)", "XDG_RUNTIME_DIR": sockets.path]
      let running = try training.start(in: run)
      var struck: pid_t?
      try waitUntil("the run with \(act) at \(point) ends", seconds: 60) {
        if struck == nil, let text = try? String(contentsOf: mark, encoding: .utf8), text.hasSuffix("\n") {
          struck = pid_t(text.dropLast())
          struck.map(meanwhile)
        }
        return !running.process.isRunning
      }
      let output = try running.wait()
      let fault =
        try? FileManager.default.attributesOfItem(atPath: mark.path)[.creationDate] as? Date
        ?? FileManager.default.attributesOfItem(atPath: mark.path)[.modificationDate] as? Date
      let left = processes(of: run).count + (try FileManager.default.contentsOfDirectory(atPath: sockets.path).count)
      return Outcome(
        status: output.status, hash: (try? TrainingResult(output).hash) ?? "none", standardError: output.standardError,
        detection: try fault.flatMap { try first(Self.detections, in: run, after: $0) },
        recovery: try fault.flatMap { try first(Self.steps, in: run, after: $0) }, happened: fault != nil, left: left)
    }
  }

  /// Seconds from `fault` to the first line of the logs that tells of one of the events.
  private func first(_ events: [String], in run: URL, after fault: Date) throws -> Double? {
    let logs = run.appendingPathComponent("logs")
    let format = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
    var times: [Double] = []
    for file in try FileManager.default.contentsOfDirectory(atPath: logs.path) {
      let text = try String(contentsOf: logs.appendingPathComponent(file), encoding: .utf8)
      for line in text.split(separator: "\n") where events.contains(where: { line.contains("\"\($0)\"") }) {
        let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
        guard let time = try (object?["ts"] as? String).map({ try Date($0, strategy: format) }) else { continue }
        times.append(time.timeIntervalSince(fault))
      }
    }
    return times.filter { $0 > 0 }.min()
  }

  /// Every so-manieth of the points; all of them for the table.
  private func chosen(_ points: [Point], one every: Int) -> [Point] {
    Enumeration.isComplete ? points : points.enumerated().filter { $0.offset % every == every / 2 }.map(\.element)
  }

  @Test(arguments: roles)
  func `SIGKILL at any point of a role's work: the run ends with the same bits and leaves nothing`(role: String) throws
  {
    let (all, hash) = try Self.undisturbed.get()
    #expect(all.count >= 70, "\(all)")
    try survive(
      role, "kill", training: Self.training, points: chosen(all.filter { $0.role == role }, one: 5), hash)
  }

  @Test(arguments: roles)
  func `SIGSTOP for twice the lease at any point of a role's work: the zombie changes no bit`(role: String) throws {
    let (all, hash) = try Self.undisturbed.get()
    try survive(
      role, "stop", training: Self.training,
      points: chosen(all.filter { $0.role == role }, one: 11), hash
    ) { process in
      DispatchQueue.global().asyncAfter(deadline: .now() + 1.2) { kill(process, SIGCONT) }
    }
  }

  @Test(arguments: roles)
  func `silence from any point of a role's work on: the role is replaced and no bit changes`(role: String) throws {
    let (all, hash) = try Self.undisturbed.get()
    var training = Self.training
    training.settings["rendezvous-seconds"] = "3"
    try survive(
      role, "silence", training: training,
      points: chosen(all.filter { $0.role == role }, one: 11), hash)
  }

  /// With the default lease of 2 s.
  @Test(arguments: [("coordinator", "received.snapshot"), ("server", "received.push"), ("worker", "received.work")])
  func `SIGKILL with the default lease: noticed within 3 s, and the next step within 1 s after that`(
    role: String, point: String
  ) throws {
    var training = Self.training
    for key in ["heartbeat-seconds", "lease-seconds"] { training.settings[key] = nil }
    let (all, hash) = try Self.undisturbed.get()
    let times = Enumeration.isComplete ? 20 : 1
    var (detections, continuations) = ([Double](), [Double]())
    let last = try #require(all.first { $0.role == role && $0.name == point }).occurrence
    for index in 1...times {
      let occurrence = max(1, last * index / (times + 1))
      let outcome = try run(training, Point(role: role, name: point, occurrence: occurrence), "kill")
      #expect(outcome.hash == hash)
      #expect(outcome.status == 0 && outcome.happened)
      // Other workers take a worker's shards over at once: no step waits, and the run may end before its lease does.
      if role == "worker" && outcome.detection == nil { continue }
      let detection = try #require(outcome.detection)
      detections.append(detection)
      continuations.append(role == "worker" ? 0 : try #require(outcome.recovery) - detection)
    }
    #expect(detections.allSatisfy { $0 <= 3 }, "\(detections)")
    #expect(continuations.allSatisfy { $0 <= 1 }, "\(continuations)")
    try Evidence.add(
      .processes, "\(role), until it is noticed", times: times, observed: "the slowest \(rounded(detections.max()))",
      recovery: detections)
    try Evidence.add(
      .processes, "\(role), from then on to the next step", times: times,
      observed: "the slowest \(rounded(continuations.max()))", recovery: continuations)
  }

  private func rounded(_ seconds: Double?) -> String { String(format: "%.2f s", seconds ?? .nan) }

  private static let roles = ["coordinator", "server", "worker"]

  private func survive(
    _ role: String, _ act: String, training: Training, points: [Point], _ hash: String,
    function: String = #function, meanwhile: (pid_t) -> Void = { _ in }
  ) throws {
    var recoveries: [Double] = []
    var happened = 0
    for point in points {
      let outcome = try run(training, point, act, meanwhile: meanwhile)
      #expect(outcome.status == 0, "\(act) at \(point): \(outcome.standardError)")
      #expect(outcome.hash == hash, "\(act) at \(point)")
      #expect(outcome.left == 0, "\(act) at \(point)")
      if outcome.happened { happened += 1 }
      if let recovery = outcome.recovery { recoveries.append(recovery) }
    }
    #expect(happened >= points.count * 9 / 10)
    try Evidence.add(
      .processes, "\(role), \(points.count) points, lease 0.6 s", times: happened,
      observed: "\(happened) times \(hash.prefix(12)), nothing left", recovery: recoveries,
      function: function)
  }
}
