import Checkpoints
import Foundation
import TestSupport
import Testing

/// Real processes on file systems that lack something: calls that strace refuses, and, with root and
/// `DESCENT_EVERY_FAULT`, mounted file systems.
@Suite(
  "File systems", .serialized,
  .enabled(if: Tracer.isAllowed, "strace is not installed, or tracing is not allowed"))
struct FileSystemTests {
  private static let settings = [
    "max-steps": "20", "evaluate-every": "10", "checkpoint-every": "10", "keep-last": "1",
  ]
  private static let undisturbed = Result { try Training(workers: 0, settings).result().hash }

  private static func arguments(_ workers: Int, in run: URL, _ more: [String: String] = [:]) throws -> [String] {
    try Training(workers: workers, settings.merging(more) { $1 }).arguments(in: run)
  }

  /// What a file system does not offer.
  enum Lack: String, CaseIterable, Sendable {
    case links = "no symbolic links (EPERM)"
    case directorySynchronization = "no fsync of directories (EINVAL)"
    case mappings = "no mapped files (ENODEV)"
    case reservations = "no space reserved (EOPNOTSUPP)"

    func start(_ arguments: [String], in run: URL) throws -> Program.Running {
      switch self {
      case .links: return try Tracer.start(arguments, refusing: "symlink,symlinkat", "EPERM")
      case .directorySynchronization:
        return try Tracer.start(
          arguments, refusing: "fsync", "EINVAL", at: [run.path, run.appendingPathComponent("checkpoints").path])
      case .mappings:
        let data = try SharedData.directory.get()
        let files = try FileManager.default.contentsOfDirectory(atPath: data).filter { $0.hasSuffix(".bin") }
        return try Tracer.start(arguments, refusing: "mmap", "ENODEV", at: files.map { "\(data)/\($0)" })
      case .reservations: return try Tracer.start(arguments, refusing: "fallocate", "EOPNOTSUPP")
      }
    }

    /// What is said of it; nothing where nothing is lost.
    var warning: String {
      switch self {
      case .links: "takes no symbolic links (Operation not permitted)"
      case .directorySynchronization: "cannot be synchronized (Invalid argument): after a power cut"
      case .mappings: "each process holds a copy of the data"
      case .reservations: ""
      }
    }
  }

  @Test(arguments: Lack.allCases)
  func `a file system does not offer all that is used: the same bits, and it is said once`(lack: Lack) throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let output = try lack.start(Self.arguments(0, in: run), in: run).wait()
      #expect(output.status == 0, "\(lack.rawValue): \(output.standardError.suffix(500))")
      guard output.status == 0 else { return }
      #expect(try TrainingResult(output).hash == Self.undisturbed.get(), "\(lack.rawValue)")
      let said = try RunLog(of: run, role: "train").messages("file_system")
      #expect(said.count == (lack.warning.isEmpty ? 0 : 1) && said.allSatisfy { $0.contains(lack.warning) })
      for selector in ["@best", "@latest"] {
        #expect(try CheckpointStore.load(run.path + selector).checkpoint.step == 20)
      }
      let more = ["max-steps": "30", "resume": "must"]
      try lack.start(Self.arguments(0, in: run, more), in: run).wait().expect(0)
      try Evidence.add(
        .fileSystems, lack.rawValue,
        observed: "0, resumed; " + (said.first.map { $0.replacingOccurrences(of: run.path, with: "RUN") } ?? "nothing"))
    }
  }

  @Test(arguments: Enumeration.isComplete ? ["ENOSYS", "EOPNOTSUPP", "ENOLCK", "EINVAL", "524"] : ["ENOSYS"])
  func `a file system has no locks: one coordinator at a time, which is found while it lives`(error: String) throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let endless = [
        "max-steps": "10000000", "epochs": "1000000", "evaluate-every": "1000000", "checkpoint-every": "1000000",
      ]
      let training = try Tracer.start(Self.arguments(1, in: run, endless), refusing: "flock", error)
      _ = try? RunStatus.reaching(step: 1, workers: 1, of: run)
      let lease = run.appendingPathComponent("lease-1")
      let holder = try String(contentsOf: lease, encoding: .utf8).split(separator: " ").first.flatMap { pid_t($0) }
      let coordinator = try #require(holder, "\(error): the lease names no process: \(training.standardError)")
      let again = try Self.arguments(0, in: run, ["resume": "auto"])
      let refused = try Tracer.start(again, refusing: "flock", error).wait()
      #expect(refused.status == 73 && refused.standardError.contains("names process \(coordinator)"))
      #expect(try RunStatus(of: run)?.isRunning == true, "\(error): status")
      let copy = directory.appendingPathComponent("copy")
      try FileManager.default.copyItem(at: run, to: copy)
      #expect(try RunStatus(of: copy) == nil, "\(error): a copy is no run that is alive")
      kill(coordinator, SIGTERM)
      try training.wait().expect(75)
      // The command has tidied up after its processes, under a lease of its own.
      let leases = try FileManager.default.contentsOfDirectory(atPath: run.path).filter { $0.hasPrefix("lease-") }
      let texts = try leases.map { try String(contentsOf: run.appendingPathComponent($0), encoding: .utf8) }
      #expect(texts.count == 1 && texts.allSatisfy { $0.hasPrefix("released\n") }, "\(error): \(leases)")
      let said = try RunLog(of: run, role: "coordinator").messages("file_system")
      #expect(said.count == 1)
      try Leftovers.expectNone(of: run)
      try Evidence.add(
        .fileSystems, error, observed: "status finds it, a second start ends with 73, SIGTERM with 75, a copy is free")
    }
  }

  @Test func `file modes cannot be changed: keys are made where the modes are narrow enough`() throws {
    try TemporaryDirectory.with { directory in
      let keys = directory.appendingPathComponent("keys").path
      let output = try Tracer.start(
        ["keygen", "--output", keys, "--names", "coordinator,server"], refusing: "fchmod", "EPERM"
      ).wait()
      #expect(output.status == 0, "\(output.standardError)")
      guard output.status == 0 else { return }
      let mode = try FileManager.default.attributesOfItem(atPath: keys + "/server.key")[.posixPermissions] as? Int
      #expect(mode == 0o600)
      try Evidence.add(.fileSystems, "EPERM", observed: "0, the mode of the keys is \(String(mode ?? 0, radix: 8))")
    }
  }

  @Test func `an argument is not UTF-8: it is refused, and no other file is made`() throws {
    try TemporaryDirectory.with { directory in
      let program = Program.directory.appendingPathComponent("descent").path
      let run = directory.appendingPathComponent("run")
      let words = try Self.arguments(0, in: run).map { "'\($0)'" + ($0 == run.path ? "\"$(printf '\\377')\"" : "") }
      let script = "exec '\(program)' \(words.joined(separator: " "))"
      let output = try Program.Running(at: URL(fileURLWithPath: "/bin/sh"), ["-c", script], environment: [:]).wait()
      #expect(output.status == 64, "the status for \(run.path)\\xff")
      #expect(output.standardError.contains("xff. Rename"), "\(output.standardError)")
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).isEmpty)
      try Evidence.add(.fileSystems, observed: "\(output.status); the error shows \\xff")
    }
  }

  @Test func `a run directory has an odd name: the run trains, is shown, and its model is found`() throws {
    let names = ["a b", "it's", "\"q\"", "a\nb", "-dash", "e\u{301}", "\u{301}x", "$HOME", "*", "a@b"]
    try TemporaryDirectory.with { directory in
      let arguments = try Self.arguments(0, in: URL(fileURLWithPath: "/RUN"))
      for name in names + [String(repeating: "x", count: 255)] {
        let run = "\(directory.path)/runs/\(name)"
        let output = try Program.run("descent", arguments.map { $0 == "/RUN" ? run : $0 })
        #expect(try TrainingResult(output).object["run_directory"] as? String == run)
        try Program.run("descent", ["status", "--run-dir", run], expecting: 3)
        #expect(try CheckpointStore.load(run + "@best").checkpoint.step == 20)
      }
    }
  }

  @Test(.enabled(if: SmallDisk.canBeMade, "mounting a tmpfs takes root"))
  func `a file system has no room for another file: 74, and what was saved is whole`() throws {
    try SmallDisk.with("nr_inodes=40") { disk in
      let run = disk.appendingPathComponent("run")
      let settings = ["max-steps": "200", "evaluate-every": "10", "checkpoint-every": "10", "keep-last": "100"]
      let output = try Training(workers: 0, settings).start(in: run).wait()
      #expect(output.status == 74, "\(output.standardError.suffix(500))")
      #expect(output.standardError.contains("df -i"))
      let announced = try RunLog(of: run, role: "train").announced
      try RunLog.expectSound(run, announced: announced, "no inodes")
      try Evidence.add(
        .fileSystems, "a tmpfs with 40 inodes", observed: "\(output.status), \(announced.count) checkpoints are whole")
    }
  }

  @Test(
    .enabled(
      if: Enumeration.isComplete && SmallDisk.canBeMade, "mounting an overlay takes root and DESCENT_EVERY_FAULT"))
  func `a run lies in the lower layer of an overlay: it continues, and its old checkpoint is removed`() throws {
    try SmallDisk.with("size=16m") { disk in
      let place = { disk.appendingPathComponent($0) }
      for name in ["lower", "upper", "work", "merged"] {
        try FileManager.default.createDirectory(at: place(name), withIntermediateDirectories: false)
      }
      try Program.run("descent", Self.arguments(0, in: place("lower/run")))
      let layers = "lowerdir=\(place("lower").path),upperdir=\(place("upper").path),workdir=\(place("work").path)"
      try #require(mount("overlay", place("merged").path, "overlay", 0, layers + ",redirect_dir=off") == 0)
      defer { umount2(place("merged").path, Int32(MNT_DETACH)) }
      let run = place("merged/run")
      try Program.run("descent", Self.arguments(0, in: run, ["max-steps": "40", "resume": "must"]))
      let names = try FileManager.default.contentsOfDirectory(atPath: run.path + "/checkpoints").sorted()
      #expect(!names.contains("step-000000000020") && names.contains("step-000000000040"), "\(names)")
      try Evidence.add(.fileSystems, "redirect_dir=off", observed: names.joined(separator: ", "))
    }
  }
}
