import Checkpoints
import Diagnostics
import Foundation
import TestSupport
import Testing

/// Promise 2, with the disk of a real process failing at each system call.
@Suite("The disk", .serialized, .enabled(if: Tracer.isAllowed, "strace is not installed, or tracing is not allowed"))
struct DiskFaultTests {
  /// Saves step 10, step 20 and, at the end, step 30, and keeps one besides the best.
  private static func training(steps: Int = 30) -> Training {
    Training(
      workers: 0,
      ["max-steps": "\(steps)", "evaluate-every": "10", "checkpoint-every": "10", "keep-last": "1"])
  }

  /// The weights of the undisturbed run, by number of steps.
  private static let undisturbed = Result {
    try [30: training().result().hash, 40: training(steps: 40).result().hash]
  }

  private struct Case {
    var call: Tracer.Call
    var fault: Tracer.Fault
    /// The step whose checkpoint is written.
    var step: UInt64
  }

  /// What a checkpoint's write asks of the system: every call on something in `checkpoints` from the line of metrics
  /// before it to the one after it, or to the end of the run.
  private func calls() throws -> [(step: UInt64, call: Tracer.Call)] {
    try TemporaryDirectory.with { directory in
      let log = directory.appendingPathComponent("trace")
      let run = directory.appendingPathComponent("run")
      try Tracer.start(arguments(in: run), log: log).wait().expect(0)
      // The first line is that of step 0.
      var lines: UInt64 = 0
      var found: [(UInt64, Tracer.Call)] = []
      for call in try Tracer.calls(in: log) {
        if call.name == "write", call.text.contains("/metrics.jsonl>") { lines += 1 }
        let step = (max(lines, 1) - 1) * 10
        if step >= 20, call.text.contains("/checkpoints") { found.append((step, call)) }
      }
      return found
    }
  }

  @Test func `strace writes a call in two halves where another thread interrupts it: they are one call`() throws {
    try TemporaryDirectory.with { directory in
      let log = directory.appendingPathComponent("trace")
      try """
      7 fallocate(15</run/checkpoints/a>, 0, 0, 605 <unfinished ...>
      8 write(3</run/metrics.jsonl>, "x", 1) = 1
      7 <... fallocate resumed>) = -1 ENOSPC (No space left on device) (INJECTED)
      7 fallocate(16</run/b>, 0, 0, 1) = 0
      """.write(to: log, atomically: true, encoding: .utf8)
      let calls = try Tracer.calls(in: log)
      #expect(calls.map(\.name) == ["fallocate", "write", "fallocate"])
      #expect(calls.map(\.ordinal) == [1, 1, 2])
      #expect(calls.map(\.isInjected) == [true, false, false])
      #expect(calls.first?.text.contains("/checkpoints") == true)
    }
  }

  private func arguments(in run: URL, steps: Int = 30) throws -> [String] {
    try Self.training(steps: steps).arguments(in: run) + ["--quiet"]
  }

  @Test func `a system call of a checkpoint's write fails or is the last: what was announced is there, no bit changes`()
    throws
  {
    let calls = try calls()
    #expect(calls.filter { $0.step == 20 }.count > 60 && calls.filter { $0.step == 30 }.count > 60)
    for fault in Tracer.Fault.allCases {
      let all = calls.map { Case(call: $0.call, fault: fault, step: $0.step) }
      // The few of a default run are among those that change the disk.
      let chosen = Enumeration.isComplete ? all : Enumeration.chosen(all.filter(\.call.changesDisk), count: 6)
      var statuses: [Int32: Int] = [:]
      var recovery: [Double] = []
      for each in chosen {
        let (status, seconds) = try play(each)
        statuses[status, default: 0] += 1
        recovery.append(seconds)
      }
      let observed = statuses.sorted { $0.key < $1.key }.map { "\($0.value) with exit status \($0.key)" }
      try Evidence.add(
        .disk, "\(fault.rawValue): \(Enumeration.share(chosen.count, of: all.count))", times: chosen.count,
        observed:
          "\(observed.joined(separator: ", ")); weights equal in all \(chosen.count), before and after a resume",
        recovery: recovery)
    }
  }

  /// - Returns: the exit status, and the seconds that resuming the run took from start to end.
  private func play(_ each: Case) throws -> (status: Int32, seconds: Double) {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let trace = directory.appendingPathComponent("trace")
      let what: Comment = "\(each.fault.rawValue) of \(each.call.name) \(each.call.ordinal): \(each.call.text)"
      let output = try Tracer.start(
        arguments(in: run), log: trace, fault: (each.fault, each.call.name, "\(each.call.ordinal)")
      ).wait()
      let log = try RunLog(of: run, role: "train")
      let announced = log.announced
      if each.fault == .kill {
        #expect(output.status == 128 + SIGKILL, what)
      } else {
        #expect(try Tracer.calls(in: trace).contains { $0.isInjected && $0.text.contains("/checkpoints") }, what)
        let isLost = !announced.contains(each.step)
        #expect(output.status == (isLost && each.step == 30 ? 74 : 0), what)
        #expect(log.notSaved == (isLost ? [each.step] : []), what)
        if output.status == 74 { #expect(output.standardError.contains("the last checkpoint was not saved"), what) }
        #expect(try TrainingResult(output).hash == Self.undisturbed.get()[30], what)
      }
      try RunLog.expectSound(run, announced: announced, what)
      let began = Date()
      var further = Self.training(steps: 40)
      further.settings["resume"] = "must"
      #expect(try further.result(in: run).hash == Self.undisturbed.get()[40], what)
      #expect(processes(of: run).isEmpty, what)
      return (output.status, Date().timeIntervalSince(began))
    }
  }

  @Test
  func `a file of the newest checkpoint is damaged: the run continues from the one before and names the file`() throws {
    try TemporaryDirectory.with { directory in
      let origin = directory.appendingPathComponent("origin")
      var training = Self.training()
      training.settings["keep-last"] = "3"
      _ = try training.result(in: origin)
      var further = Self.training(steps: 40)
      further.settings["resume"] = "must"
      var played = 0
      for file in ["model.safetensors", "optimizer.safetensors", "state.json", "MANIFEST.json"] {
        for damage in ["cut", "flipped", "missing"] {
          let run = directory.appendingPathComponent("\(file)-\(damage)")
          try FileManager.default.copyItem(at: origin, to: run)
          let path = run.appendingPathComponent("checkpoints/step-000000000030/\(file)")
          var bytes = try Data(contentsOf: path)
          bytes[bytes.count / 2] ^= 4
          switch damage {
          case "cut": try bytes.prefix(bytes.count / 2).write(to: path)
          case "flipped": try bytes.write(to: path)
          default: try FileManager.default.removeItem(at: path)
          }
          let output = try further.start(in: run).wait().expect(0)
          #expect(output.standardError.contains("resuming from \(run.path)/checkpoints/step-000000000020"))
          #expect(output.standardError.contains(file), "\(output.standardError)")
          #expect(try TrainingResult(output).hash == Self.undisturbed.get()[40])
          played += 1
        }
      }
      try Evidence.add(
        .disk, "each file cut in half, with a bit flipped, or missing", times: played,
        observed: "weights equal in all \(played), resumed from step 20")
    }
  }

  /// The last files that a run writes: where a result that is on no disk would look like one that is.
  @Test(arguments: [EIO, ENOSPC])
  func `a result, run.json or metrics cannot be written: 74, and the file is named`(code: Int32) throws {
    let fault = code == EIO ? Tracer.Fault.inputOutput : .noSpace
    var observed: [String] = []
    for name in ["result.json", "run.json", "metrics.jsonl"] {
      try TemporaryDirectory.with { directory in
        let trace = directory.appendingPathComponent("trace")
        let whole = directory.appendingPathComponent("whole")
        let wanted = name == "metrics.jsonl" ? "write" : "rename"
        try Tracer.start(arguments(in: whole), log: trace).wait().expect(0)
        let call = try #require(
          try Tracer.calls(in: trace).last { $0.name == wanted && $0.text.contains("/\(name)") }, "\(name)")
        let run = directory.appendingPathComponent("run")
        let output = try Tracer.start(
          arguments(in: run), log: trace, fault: (fault, call.name, "\(call.ordinal)")
        ).wait().expect(74)
        #expect(output.standardError.contains("not everything was saved"), "\(output.standardError)")
        #expect(output.standardError.contains("/\(name)"), "\(output.standardError)")
        #expect(try TrainingResult(output).hash == Self.undisturbed.get()[30])
        #expect(try RunLog(of: run, role: "train").announced == [10, 20, 30])
        observed.append("\(name): \(output.status)")
      }
    }
    try Evidence.add(
      .disk, "\(fault.rawValue) at the last write of each", times: observed.count,
      observed: observed.joined(separator: ", "))
  }

}

extension RunLog {
  /// What was announced is there and whole, and so is what `latest` leads to.
  static func expectSound(_ run: URL, announced: [UInt64], _ what: Comment) throws {
    let newest = try #require(announced.max(), what)
    let store = CheckpointStore(runDirectory: run.path)
    let search = try store.newestValid()
    #expect(search.rejections.isEmpty, what)
    #expect(search.newest?.checkpoint.step ?? 0 >= newest, what)
    #expect(try CheckpointStore.load(store.directory + "/latest").checkpoint.step >= newest, what)
  }
}
