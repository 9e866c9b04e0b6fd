import Foundation
import TestSupport
import Testing

/// The same with workers, whose coordinator saves on a thread of its own while they train.
@Suite("The coordinator's disk", .serialized)
struct CoordinatorDiskTests {
  private static let settings = [
    "max-steps": "80", "batch-size": "1024", "evaluate-every": "20", "checkpoint-every": "20", "keep-last": "1",
  ]
  private static let undisturbed = Result { try Training(workers: 0, settings).result().hash }

  /// A coordinator under strace, with a server and a worker.
  private struct Cluster {
    let coordinator: Program.Running
    let others: [Program.Running]

    init(
      in run: URL, trace: URL, fault: (fault: Tracer.Fault, call: String, when: String)? = nil, path: String? = nil
    ) throws {
      let arguments = try Training(workers: 1, CoordinatorDiskTests.settings).arguments(in: run)
        .filter { !["train", "--json"].contains($0) }
      coordinator = try Tracer.start(
        program: "descent-coordinator", arguments + ["--quiet"], log: trace, fault: fault, path: path)
      let location = ["--run-dir", run.path, "--quiet"]
      let data = try SharedData.directory.get()
      others = [
        try Program.start("descent-server", location),
        try Program.start("descent-worker", location + ["--data", data]),
      ]
    }

    /// Waits for the coordinator; when it was killed, nobody else is left alive.
    func end() throws -> Program.Output {
      let output = try coordinator.wait(seconds: 60)
      for other in others where output.status == 128 + SIGKILL { kill(other.process.processIdentifier, SIGKILL) }
      for other in others { _ = try other.wait(seconds: 30) }
      return output
    }
  }

  /// Calls of the thread that saves, and of these only those that no other thread gets to: strace counts for each
  /// thread.
  private func calls() throws -> [Tracer.Call] {
    try TemporaryDirectory.with { directory in
      let trace = directory.appendingPathComponent("trace")
      try #expect(Cluster(in: directory.appendingPathComponent("run"), trace: trace).end().status == 0)
      let calls = try Tracer.calls(in: trace)
      let thread = try #require(calls.first { $0.name == "symlink" && $0.text.contains("/.tmp-latest-") }?.thread)
      var others: [String: Int] = [:]
      for call in calls where call.thread != thread { others[call.name] = max(others[call.name] ?? 0, call.ordinal) }
      return calls.filter {
        $0.thread == thread && $0.ordinal > others[$0.name] ?? 0 && $0.text.contains("/checkpoints")
      }
    }
  }

  @Test(.enabled(if: Tracer.isAllowed, "strace is not installed, or tracing is not allowed"))
  func `a system call of the coordinator's save fails or is its last: training continues, no bit changes`() throws {
    let calls = try calls()
    let all = Tracer.Fault.allCases.flatMap { fault in calls.map { (fault: fault, call: $0) } }
    #expect(Set(calls.map(\.name)).isSuperset(of: ["fsync", "fallocate", "symlink"]))
    // The few of a default run are of the last checkpoint: no later one hides that it was announced and is not there.
    let last = all.filter { $0.call.changesDisk && $0.call.text.contains("/.tmp-80-") }
    let chosen = Enumeration.isComplete ? all : Enumeration.chosen(last, count: 5)
    var statuses: [Int32: Int] = [:]
    for each in chosen {
      try TemporaryDirectory.with { directory in
        let run = directory.appendingPathComponent("run")
        let trace = directory.appendingPathComponent("trace")
        let fault = (each.fault, each.call.name, "\(each.call.ordinal)")
        let what: Comment = "\(each.fault.rawValue) of \(each.call.name) \(each.call.ordinal): \(each.call.text)"
        let output = try Cluster(in: run, trace: trace, fault: fault).end()
        let log = try RunLog(of: run, role: "coordinator")
        // A step whose turn has not come when the next one is due is not saved at all, so the calls may be fewer.
        guard try Tracer.hasInjected(in: trace) else { return }
        statuses[output.status, default: 0] += 1
        if each.fault == .kill {
          #expect(output.status == 128 + SIGKILL, what)
        } else {
          #expect(output.status == (log.notSaved.contains(80) ? 74 : 0), what)
          #expect(log.announced.contains(80) || log.notSaved.contains(80), what)
          #expect(log.notSaved.count <= 1, what)
        }
        if !log.announced.isEmpty { try RunLog.expectSound(run, announced: log.announced, what) }
        var resumed = Training(workers: 2, Self.settings)
        resumed.settings["resume"] = log.announced.isEmpty ? "auto" : "must"
        #expect(try resumed.result(in: run).hash == Self.undisturbed.get(), what)
        #expect(processes(of: run).isEmpty, what)
      }
    }
    let played = statuses.values.reduce(0, +)
    #expect(played * 2 > chosen.count)
    let observed = statuses.sorted { $0.key < $1.key }.map { "\($0.value) with exit status \($0.key)" }
    try Evidence.add(
      .disk, "EIO, ENOSPC or SIGKILL: \(Enumeration.share(chosen.count, of: all.count))", times: played,
      observed: "\(observed.joined(separator: ", ")); weights equal in all \(played)")
  }

  @Test(.enabled(if: Tracer.isAllowed, "strace is not installed, or tracing is not allowed"))
  func `every fsync of the checkpoint directory fails: the training ends, with 74 and what was not saved`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      // By its path, because the saves may run on several threads.
      let output = try Cluster(
        in: run, trace: directory.appendingPathComponent("trace"), fault: (.inputOutput, "fsync", "1+"),
        path: run.appendingPathComponent("checkpoints").path
      ).end()
      #expect(output.status == 74, "\(output.standardError)")
      let log = try RunLog(of: run, role: "coordinator")
      #expect(log.notSaved.last == 80)
      let message = try #require(log.messages("finished").last)
      #expect(message.contains("all 80 steps done") && message.contains("the last checkpoint was not saved"))
      if !log.announced.isEmpty { try RunLog.expectSound(run, announced: log.announced, "broken for good") }
      var resumed = Training(workers: 1, Self.settings)
      resumed.settings["resume"] = log.announced.isEmpty ? "auto" : "must"
      #expect(try resumed.result(in: run).hash == Self.undisturbed.get())
      try Evidence.add(
        .disk,
        observed: "status \(output.status), announced \(log.announced), not saved \(log.notSaved)")
    }
  }

  @Test(
    .enabled(if: SmallDisk.canBeMade, "mounting a tmpfs takes root"), arguments: Enumeration.isComplete ? [0, 2] : [2])
  func `the disk is full: 74, what was announced is there, and with space the run resumes`(workers: Int) throws {
    try SmallDisk.with(kilobytes: 1024) { disk in
      let run = disk.appendingPathComponent("run")
      let settings = FaultTests.long.merging(["keep-last": "3"]) { $1 }
      let training = try Training(workers: workers, settings).start(in: run)
      let latest = run.appendingPathComponent("checkpoints/latest").path
      try waitUntil("a first checkpoint") { FileManager.default.fileExists(atPath: latest) }
      try SmallDisk.fill(disk.appendingPathComponent("ballast"))
      let output = try training.wait().expect(74)
      #expect(output.standardError.contains("step 6000") && output.standardError.contains("not saved"))
      let search = try FileManager.default.destinationOfSymbolicLink(atPath: latest)
      let saved = try #require(UInt64(search.split(separator: "-").last ?? ""))
      try RunLog.expectSound(run, announced: [saved], "full disk")
      try FileManager.default.removeItem(at: disk.appendingPathComponent("ballast"))
      var resumed = Training(workers: 2, settings)
      resumed.settings["resume"] = "must"
      let began = Date()
      #expect(try resumed.result(in: run).hash == FaultTests.undisturbed.get())
      try Evidence.add(
        .disk, "a tmpfs, \(workers) workers",
        observed: "status \(output.status), step \(saved) is there, weights equal",
        recovery: [Date().timeIntervalSince(began)])
    }
  }

  @Test(.enabled(if: SmallDisk.canBeMade, "mounting a tmpfs takes root"))
  func `the disk is full for a while: 74 for the missing metrics, and no torn line`() throws {
    try SmallDisk.with(kilobytes: 1024) { disk in
      let run = disk.appendingPathComponent("run")
      let settings = [
        "max-steps": "6000", "evaluate-every": "20", "checkpoint-every": "1000", "keep-last": "1", "event-files": "off",
      ]
      let training = try Training(workers: 0, settings).start(in: run)
      let metrics = run.appendingPathComponent("metrics.jsonl")
      let lines = { (try? String(contentsOf: metrics, encoding: .utf8))?.split(separator: "\n").count ?? 0 }
      try waitUntil("some metrics") { lines() >= 20 }
      let ballast = disk.appendingPathComponent("ballast")
      try SmallDisk.fill(ballast)
      let log = { try RunLog(of: run, role: "train") }
      try waitUntil("a line of metrics is lost") { training.standardError.contains("cannot write to \(metrics.path)") }
      try FileManager.default.removeItem(at: ballast)
      let output = try training.wait().expect(74)
      #expect(output.standardError.contains("not everything was saved: cannot write to \(metrics.path)"))
      #expect(try log().announced.last == 6000)
      let steps = try String(contentsOf: metrics, encoding: .utf8).split(separator: "\n").map { line in
        let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
        return try #require(object?["step"] as? Int)
      }
      #expect(steps.last == 6000 && steps.count < 301)
      #expect(zip(steps, steps.dropFirst()).allSatisfy { $0 < $1 })
      try Evidence.add(
        .disk, "a tmpfs",
        observed: "status \(output.status), \(301 - steps.count) of 301 lines missing, the last checkpoint is there")
    }
  }
}

/// A disk that is soon full, for the time of a test.
enum SmallDisk {
  static let canBeMade: Bool = (try? with(kilobytes: 64) { _ in }) != nil

  static func with(kilobytes: Int, _ body: (URL) throws -> Void) throws { try with("size=\(kilobytes)k", body) }

  /// - Parameter options: of a tmpfs.
  static func with(_ options: String, _ body: (URL) throws -> Void) throws {
    try TemporaryDirectory.with { directory in
      guard mount("tmpfs", directory.path, "tmpfs", 0, options) == 0 else {
        throw CocoaError(.fileWriteNoPermission)
      }
      // Even where somebody still has a file open there.
      defer { umount2(directory.path, Int32(MNT_DETACH)) }
      try body(directory)
    }
  }

  /// Takes all the space that is left.
  static func fill(_ file: URL) throws {
    let descriptor = open(file.path, O_WRONLY | O_CREAT | O_APPEND, 0o644)
    guard descriptor >= 0 else { throw CocoaError(.fileWriteUnknown) }
    defer { close(descriptor) }
    for size in [65_536, 4096, 64, 1] {
      let block = [UInt8](repeating: 0, count: size)
      while write(descriptor, block, size) == size {}
    }
  }
}
