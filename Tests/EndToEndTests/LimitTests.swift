import Foundation
import TestSupport
import Testing

/// Limits of the system, from real processes: `ulimit`, streams, signals and refused system calls.
@Suite("Limits", .serialized)
struct LimitTests {
  private static let short = ["max-steps": "60", "evaluate-every": "30", "checkpoint-every": "30"]
  private static let endless = [
    "max-steps": "10000000", "epochs": "1000000", "evaluate-every": "0", "checkpoint-every": "0",
    "schedule": "constant",
  ]

  /// What `bash` does before it becomes the program: "ulimit -n 20".
  private func start(_ preparation: String, _ arguments: [String]) throws -> Program.Running {
    let program = Program.directory.appendingPathComponent("descent").path
    return try Program.Running(
      at: URL(fileURLWithPath: "/bin/bash"), ["-c", "\(preparation); exec \"$0\" \"$@\"", program] + arguments,
      environment: [:])
  }

  private func withRun<Result>(_ body: (URL) throws -> Result) throws -> Result {
    try TemporaryDirectory.with { try body($0.appendingPathComponent("run")) }
  }

  private func exists(_ url: URL) -> Bool { FileManager.default.fileExists(atPath: url.path) }

  private func status(of run: URL) -> String? {
    guard let data = try? Data(contentsOf: run.appendingPathComponent("run.json")) else { return nil }
    return (try? JSONSerialization.jsonObject(with: data) as? [String: Any])?["status"] as? String
  }

  /// Every line of every log and of the metrics is JSON, and nothing else is in a file of the run.
  private func expectCleanFiles(of run: URL) throws {
    let logs = run.appendingPathComponent("logs")
    let files =
      try FileManager.default.contentsOfDirectory(at: logs, includingPropertiesForKeys: nil)
      + [run.appendingPathComponent("metrics.jsonl")]
    for file in files {
      for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
        #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: Data(line.utf8)) }
      }
    }
    #expect(try Data(contentsOf: run.appendingPathComponent("lock")).isEmpty)
    try Program.run("descent", ["verify", run.path])
  }

  /// Refused before anything is created, or trained to the end: nothing between.
  /// - Returns: whether it trained.
  private func trainsOrIsRefused(_ preparation: String, _ training: Training, naming text: String) throws -> Bool {
    try withRun { run in
      let output = try start(preparation, training.arguments(in: run)).wait(seconds: 60)
      if output.status == 0 {
        #expect(status(of: run) == "finished")
        return true
      }
      #expect(output.status == 78, "\(preparation): \(output.standardError.suffix(600))")
      #expect(output.standardError.contains(text), "\(preparation): \(output.standardError.suffix(600))")
      #expect(!exists(run), "\(preparation)")
      return false
    }
  }

  @Test(arguments: [("memory", 0), ("memory", 2), ("tcp", 2), ("ipc", 4)])
  func `every limit of open files: refused with ulimit -n before anything is created, or trained`(
    transport: String, workers: Int
  ) throws {
    var settings = Self.short
    settings["transport"] = transport
    let limits = Enumeration.chosen(Array(5...48), count: 5)
    let trained = try limits.filter {
      try trainsOrIsRefused("ulimit -n \($0)", Training(workers: workers, settings), naming: "ulimit -n ")
    }
    let refused = limits.filter { !trained.contains($0) }
    #expect(trained.min() ?? 64 > refused.max() ?? 0)
    #expect(try trainsOrIsRefused("ulimit -n 64", Training(workers: workers, settings), naming: "ulimit -n"))
    try Evidence.add(
      .limits, "\(transport), \(workers) workers, \(Enumeration.share(limits.count, of: 44))", times: limits.count,
      observed: "\(refused.count) refused with 78, \(trained.count) trained")
  }

  @Test func `40 workers under ulimit -n 64: refused with the number that is needed`() throws {
    try withRun { run in
      let training = Training(workers: 40, ["shards": "64", "batch-size": "512"])
      let output = try start("ulimit -n 64", training.arguments(in: run)).wait()
      #expect(output.status == 78 && !exists(run))
      let message = try #require(output.standardError.split(separator: "\n").last)
      #expect(message.contains("the limit is 64") && message.contains("ulimit -n 1"))
      try Evidence.add(.limits, observed: "78: \(message.prefix(160))")
    }
  }

  @Test func `few open files for a command: an answer, or a refusal with the number that is needed`() throws {
    try withRun { run in
      let training = try Training(workers: 1, Self.endless).start(in: run)
      _ = try RunStatus.reaching(step: 1, workers: 1, of: run)
      let live = try start("ulimit -n 10", ["status", "--run-dir", run.path]).wait()
      #expect(live.status == 78 && live.standardError.contains("ulimit -n "), "\(live.standardError)")
      kill(training.process.processIdentifier, SIGTERM)
      try training.wait(seconds: 30).expect(75)
      let data = try SharedData.directory.get()
      let commands = [
        ["evaluate", "--checkpoint", run.path, "--data", data], ["inspect", run.path], ["verify", run.path],
        ["config", "show"], ["data", "check", data], ["runs", run.deletingLastPathComponent().path],
      ]
      for command in commands {
        let output = try start("ulimit -n 5", command).wait()
        #expect(output.status == 0, "\(command): \(output.standardError)")
      }
      let message = live.standardError.split(separator: "\n").last ?? ""
      try Evidence.add(
        .limits, "ulimit -n 5, and 10 for status", times: commands.count + 1,
        observed: "\(commands.count) answers; 78: \(message)")
    }
  }

  @Test(arguments: [0, 2])
  func `every limit of file sizes: refused before anything is created, or trained`(workers: Int) throws {
    let kilobytes = [0, 1, 8, 64, 120, 300]
    let trained = try kilobytes.filter {
      let training = Training(workers: workers, Self.short)
      // Output of the test goes to files as well: through cat, which is not limited.
      return try trainsOrIsRefused("exec 2> >(cat >&2) > >(cat); ulimit -f \($0)", training, naming: "ulimit -f")
    }
    #expect(trained == [300])
    try Evidence.add(
      .limits, "\(workers) workers", times: kilobytes.count,
      observed: "0 to 120 kB refused with 78; with 300 kB trained, the memory of the server refused")
  }

  @Test func `the limit of file sizes shrinks while a run goes on: exit status 74, and the earlier checkpoint stays`()
    throws
  {
    try withRun { run in
      let settings = ["max-steps": "20000", "epochs": "100000", "evaluate-every": "0", "checkpoint-every": "50"]
      let training = try start(
        "exec 2> >(cat >&2) > >(cat); ulimit -Sf unlimited", Training(workers: 0, settings).arguments(in: run))
      let latest = run.appendingPathComponent("checkpoints/latest")
      try waitUntil("a checkpoint") { exists(latest) }
      let identifier = "\(training.process.processIdentifier)"
      let prlimit = Process()
      prlimit.executableURL = URL(fileURLWithPath: "/usr/bin/prlimit")
      prlimit.arguments = ["--pid", identifier, "--fsize=1000:1000"]
      try prlimit.run()
      prlimit.waitUntilExit()
      try #require(prlimit.terminationStatus == 0)
      let output = try training.wait(seconds: 60)
      #expect(output.status == 74, "\(output.standardError)")
      #expect(output.standardError.contains("ulimit -f"), "\(output.standardError)")
      try Program.run("descent", ["verify", run.path])
      try Evidence.add(.limits, observed: "74: File too large; the checkpoint before verifies")
    }
  }

  /// An allocation that fails ends a Swift program by a signal, and a thread that cannot start ends libzmq.
  @Test(arguments: [0, 2])
  func `every limit of the address space: refused by a message, or trained, and never a signal`(workers: Int) throws {
    let megabytes = Enumeration.chosen(Array(stride(from: 40, through: 400, by: 10)), count: 6)
    var counts: [Int32: Int] = [:]
    for limit in megabytes {
      try withRun { run in
        let output = try start(
          "ulimit -v \(limit << 10)", Training(workers: workers, Self.short).arguments(in: run)
        ).wait(seconds: 60)
        // 127 is that of the dynamic loader.
        #expect([0, 74, 78, 127].contains(output.status), "\(limit) MB: \(output.standardError.suffix(600))")
        #expect(output.status == 0 || !exists(run), "\(limit) MB: \(output.standardError.suffix(600))")
        counts[output.status, default: 0] += 1
      }
    }
    let text = counts.sorted { $0.key < $1.key }.map { "\($0.value) × \($0.key)" }.joined(separator: ", ")
    try Evidence.add(
      .limits, "\(workers) workers, \(Enumeration.share(megabytes.count, of: 37))", times: megabytes.count,
      observed: "statuses: \(text)")
  }

  private static let streams: [(redirection: String, status: Int32)] = [
    ("<&-", 0), (">&-", 74), ("2>&-", 0), ("<&- >&- 2>&-", 74), (">/dev/full", 74), ("2>/dev/full", 0),
    (">/dev/full 2>/dev/full", 74),
  ]

  @Test(arguments: streams.indices)
  func `standard streams closed or full: the run is whole, and 74 only for a result that was not written`(
    index: Int
  ) throws {
    let (redirection, expected) = Self.streams[index]
    try withRun { run in
      let output = try start(
        "exec \(redirection)", Training(workers: 1, Self.short, isVerbose: true).arguments(in: run)
      )
      .wait()
      #expect(output.status == expected, "\(output.standardError)")
      #expect(status(of: run) == "finished")
      try expectCleanFiles(of: run)
      try Evidence.add(.limits, redirection, observed: "\(output.status), every file of the run is whole")
    }
  }

  @Test(arguments: [["--help"], ["--version"], ["config", "show"], ["train", "--help"]])
  func `a full standard output of a command that only prints: exit status 74`(command: [String]) throws {
    let output = try start("exec >/dev/full", command).wait()
    #expect(output.status == 74)
    #expect(output.standardError.hasPrefix("descent: error: cannot write the result to standard output"))
    try TemporaryDirectory.with { directory in
      let file = directory.appendingPathComponent("result").path
      // The limit would hold for the file that the fixture keeps standard error in.
      let limited = try start("exec >'\(file)' 2> >(cat >&2); ulimit -f 0", command).wait()
      #expect(limited.status == 74 && limited.standardError.contains("ulimit -f unlimited"))
    }
    try Evidence.add(.limits, command.joined(separator: " "), observed: "74")
  }

  @Test func `the reader of the result goes away: 141 as for any program, not a word, and the run is whole`() throws {
    try withRun { run in
      let output = try start(
        "exec > >(exit 0); sleep 0.1", Training(workers: 1, Self.short).arguments(in: run) + ["--quiet"]
      ).wait()
      #expect(output.status == 141 && output.standardError.isEmpty, "\(output.standardError)")
      #expect(status(of: run) == "finished" && exists(run.appendingPathComponent("result.json")))
      try expectCleanFiles(of: run)
      try Evidence.add(.limits, observed: "141, run.json says finished")
    }
  }

  @Test func `standard error is a full pipe that is not read: the training does not wait for it`() throws {
    try withRun { run in
      // The other end is open, and nothing is read. Foundation takes a process for running as long as one of its
      // descendants has a descriptor of that process.
      let reader = run.path + ".reader"
      let training = try start(
        "exec 2> >(echo $BASHPID >'\(reader)'; for f in /proc/$BASHPID/fd/*; do f=${f##*/}; "
          + "((f < 3)) || eval \"exec $f>&-\"; done; exec sleep 60 >&-); "
          + "head -c 65536 /dev/zero >&2",
        Training(workers: 1, Self.short, isVerbose: true).arguments(in: run))
      defer {
        let text = (try? String(contentsOfFile: reader, encoding: .utf8)) ?? ""
        if let identifier = pid_t(text.trimmingCharacters(in: .whitespacesAndNewlines)) { kill(identifier, SIGKILL) }
      }
      let began = Date()
      let output = try training.wait(seconds: 40)
      #expect(output.status == 0)
      let seconds = Date().timeIntervalSince(began)
      #expect(seconds < 20)
      #expect(status(of: run) == "finished")
      try Evidence.add(.limits, observed: "0", recovery: [seconds])
    }
  }

  @Test(arguments: [("-St 1", 0), ("-t 3", 2)])
  func `a limit of processor time: like SIGTERM, a checkpoint and exit status 75`(flags: String, workers: Int) throws {
    try withRun { run in
      let output = try start("ulimit \(flags)", Training(workers: workers, Self.endless).arguments(in: run))
        .wait(seconds: 60)
      #expect(output.status == 75, "ulimit \(flags): \(output.standardError)")
      #expect(status(of: run) == "interrupted")
      try expectCleanFiles(of: run)
      try Leftovers.expectNone(of: run)
      try Evidence.add(.limits, "ulimit \(flags), \(workers) workers", observed: "75, run.json says interrupted")
    }
  }

  @Test func `a stack of 64 kB: refused before anything is created`() throws {
    try withRun { run in
      let output = try start("ulimit -s 64", Training(workers: 0, Self.short).arguments(in: run)).wait()
      #expect(output.status == 78 && output.standardError.contains("ulimit -s"), "\(output.standardError)")
      #expect(!exists(run))
      try Evidence.add(.limits, observed: "78: a stack of 256 kB is needed, but the limit is 64 kB")
    }
  }

  // MARK: System calls

  private static let dispensable = [
    "memfd_create:ENOSYS", "memfd_create:EPERM", "memfd_create:ENOMEM", "prctl:EPERM", "sched_getaffinity:ENOSYS",
    "getrandom:ENOSYS", "statx:ENOSYS", "madvise:EPERM", "setpriority:EPERM", "getpriority:EPERM",
    "fallocate:EOPNOTSUPP", "sched_yield:ENOSYS", "setrlimit:EPERM", "clone3:ENOSYS",
  ]

  @Test(.enabled(if: Tracer.isAllowed, "strace may not be used here"))
  func `an optional system call is refused by a sandbox: the run does without it`() throws {
    let calls = [Self.dispensable[0]] + Enumeration.chosen(Array(Self.dispensable.dropFirst()), count: 3)
    for call in calls {
      try withRun { run in
        let output = try trace(call, Training(workers: 1, Self.short).arguments(in: run))
        #expect(output.status == 0, "\(call): \(output.standardError.suffix(600))")
        let isSaid = output.standardError.matches(of: /cannot create shared memory/).count
        #expect(isSaid == (call.hasPrefix("memfd") ? 1 : 0), "\(call): \(output.standardError)")
      }
    }
    try Evidence.add(
      .limits, Enumeration.share(calls.count, of: Self.dispensable.count), times: calls.count, observed: "trained")
  }

  @Test(
    .enabled(if: Tracer.isAllowed, "strace may not be used here"),
    arguments: ["eventfd2:EPERM", "epoll_create1:ENOSYS", "signalfd4:ENOSYS"])
  func `a system call that is needed is refused by a sandbox: an error that names it, and no abort`(call: String) throws
  {
    try withRun { run in
      let output = try trace(call, Training(workers: 1, Self.short).arguments(in: run))
      #expect((64...78).contains(output.status) && output.status != 75, "\(output.standardError.suffix(600))")
      #expect(!output.standardError.contains("killed by signal"), "\(output.standardError.suffix(600))")
      #expect(output.standardError.contains("cannot create an e") || output.standardError.contains("signalfd"))
      try Evidence.add(.limits, call, observed: "\(output.status): \(output.standardError.prefix(100))")
    }
  }

  private func trace(_ call: String, _ arguments: [String]) throws -> Program.Output {
    let parts = call.split(separator: ":")
    let program = Program.directory.appendingPathComponent("descent").path
    return try Program.Running(
      at: URL(fileURLWithPath: "/usr/bin/env"),
      [
        "strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=\(parts[0])", "-e",
        "inject=\(parts[0]):error=\(parts[1])",
        program,
      ] + arguments, environment: [:]
    ).wait(seconds: 60)
  }
}
