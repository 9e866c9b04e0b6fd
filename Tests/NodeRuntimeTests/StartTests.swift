import Cluster
import Diagnostics
import FoundationEssentials
import Glibc
import Messaging
import NodeRuntime
import Reporting
import RunConfiguration
import TestSupport
import Testing
import Transport

// Testing has one as well.
import enum Diagnostics.ExitStatus

/// Starts that fail before the first step: they leave no run, and the same command works once the cause is gone.
@Suite struct StartTests {
  private let directory = TemporaryDirectory()

  private func path(_ name: String) -> String { "\(directory.path)/\(name)" }

  private func names(_ name: String) throws -> [String] {
    try FileManager.default.subpathsOfDirectory(atPath: path(name)).sorted()
  }

  private func status(_ body: () throws -> RunEnding) throws -> ExitStatus {
    do {
      return try body().status
    } catch let failure as Failure {
      return failure.status
    }
  }

  /// The coordinator of a run with one worker, alone or with the others.
  private func start(_ name: String, _ changes: [String: String] = [:], alone: Bool = false) throws -> ExitStatus {
    let settings = try settings(path(name), changes.merging(["workers": "1"]) { $1 })
    return try status { try alone ? runCoordinator(quiet(settings)) : trainWithWorkers(settings) }
  }

  private static let impatient = ["rendezvous-seconds": "0.2", "lease-seconds": "0.1"]

  enum Obstacle: String, CaseIterable { case port, logs, checkpoints, record, metrics, endpoint, members }

  @Test(arguments: Obstacle.allCases)
  func `a start fails before the first step: it leaves nothing, and the same command works once the cause is gone`(
    obstacle: Obstacle
  ) throws {
    var changes: [String: String] = [:]
    var port: Port?
    func block(_ name: String) throws {
      try directory.write(Data("mine".utf8), to: "run/\(name)/in the way")
    }
    switch obstacle {
    case .port:
      port = try Port()
      changes = ["transport": "tcp", "port": "\(try #require(port).number)"]
    case .logs: try directory.write(Data("mine".utf8), to: "run/logs")
    case .checkpoints: try directory.write(Data("mine".utf8), to: "run/checkpoints")
    // A directory where a file is to be.
    case .record: try block("run.json")
    case .metrics: try block("metrics.jsonl")
    case .endpoint: try block("coordinator.endpoint")
    case .members: changes = Self.impatient
    }
    let before = (try? names("run")) ?? []
    let failed = try start("run", changes, alone: true)
    #expect(failed == (obstacle == .members ? .unavailable : failed))
    #expect(failed != .success)
    #expect((try? names("run")) ?? [] == before)
    #expect(FileManager.default.fileExists(atPath: path("run")) != before.isEmpty)
    port = nil
    for name in before where !name.contains("/") { try FileManager.default.removeItem(atPath: path("run/\(name)")) }
    #expect(try start("run", obstacle == .members ? [:] : changes) == .success)
    withExtendedLifetime(port) {}
    try Evidence.add(.starts, obstacle.rawValue, observed: "exit status \(failed.rawValue), nothing left; then 0")
  }

  @Test(arguments: [0, 1])
  func `a start fails in a directory with other files: they stay as they are`(workers: Int) throws {
    try directory.write(Data("seed: 3 # mine\n".utf8), to: "run/config.yaml")
    try directory.write(Data("mine".utf8), to: "run/notes/a")
    if workers == 0 { try directory.write(Data("mine".utf8), to: "run/metrics.jsonl/b") }
    let before = try names("run")
    let failed =
      workers == 0
      ? try status { try runSequentially(quiet(settings(path("run"), ["workers": "0"]))) }
      : try start("run", Self.impatient, alone: true)
    #expect(failed != .success)
    #expect(try names("run") == before)
    #expect(try String(contentsOfFile: path("run/config.yaml"), encoding: .utf8) == "seed: 3 # mine\n")
    try Evidence.add(.starts, "\(workers) workers", observed: "exit status \(failed.rawValue), config.yaml as it was")
  }

  @Test func `a resumed run fails before its next step: all of it stays`() throws {
    let settings = try settings(path("run"), ["workers": "0", "max-steps": "13"])
    _ = try runSequentially(quiet(settings))
    // The lease has a later epoch after each start.
    let kept = { try names("run").filter { !$0.hasPrefix("logs/") }.map { $0.hasPrefix("lease-") ? "lease" : $0 } }
    let before = try kept()
    let further = Self.impatient.merging(["resume": "must", "max-steps": "20"]) { $1 }
    #expect(try start("run", further, alone: true) == .unavailable)
    #expect(try kept() == before)
    // Nodes of a start that fails would wait for the next one.
    #expect(try start("run", alone: true) == .cannotCreate)
    #expect(try start("run", ["resume": "must", "max-steps": "20"]) == .success)
    try Evidence.add(.starts, observed: "69, \(before.count) files stay, and it is resumed")
  }

  /// What a start leaves that was killed: its files, and no lock.
  private func leave(_ name: String, _ changes: (inout RunFile) -> Void = { _ in }) throws {
    let start = RunFile.Start(command: ["test"], time: .now(), host: "host", pid: 1, resumedFrom: nil)
    var file = RunFile(run: "killed-\(name)", seed: 1, datasetFingerprint: 1, start: start)
    changes(&file)
    try FileManager.default.createDirectory(atPath: path("\(name)/logs"), withIntermediateDirectories: true)
    try directory.write(Data("{\"step\":0}\n".utf8), to: "\(name)/metrics.jsonl")
    try file.save(to: path("\(name)/run.json"), at: .now())
  }

  @Test func `a start is killed before the first step: the same command replaces it, and no list shows it`() throws {
    try leave("killed")
    try directory.write(Data("x".utf8), to: "killed/checkpoints/step-000000000000/model.safetensors")
    #expect(try RunSummary.all(in: directory.path).isEmpty)
    #expect(try start("killed", ["max-steps": "3"]) == .success)
    let file = try RunFile(readingFrom: path("killed/run.json"))
    #expect(file.run != "killed-killed" && file.starts.count == 1)
    #expect(!FileManager.default.fileExists(atPath: path("killed/checkpoints/step-000000000000")))
    try Evidence.add(.starts, observed: "not listed; the same command: 0, under a name of its own")
  }

  @Test(arguments: [true, false])
  func `checkpoints lie among files of others: a start that was killed is replaced, and the others stay`(
    wasKilled: Bool
  ) throws {
    for name in ["notes-2024.txt", "thesis/chapter-1.tex", "best/mine"] {
      try directory.write(Data("mine".utf8), to: "scratch/\(name)")
    }
    try directory.write(Data("x".utf8), to: "scratch/.tmp-0-1-2/state.json")
    try directory.write(Data("x".utf8), to: "scratch/step-000000000000/state.json")
    if !wasKilled {
      for name in [".tmp-0-1-2", "step-000000000000"] {
        try FileManager.default.removeItem(atPath: path("scratch/\(name)"))
      }
    }
    try FileManager.default.createDirectory(atPath: path("run"), withIntermediateDirectories: true)
    try FileManager.default.createSymbolicLink(atPath: path("run/checkpoints"), withDestinationPath: path("scratch"))
    if wasKilled { try leave("run") }
    let status = try start("run", ["max-steps": "3", "evaluate-every": "0", "validation-examples": "0"])
    #expect(status == .success)
    let after = try names("scratch")
    #expect(["notes-2024.txt", "thesis/chapter-1.tex", "best/mine"].allSatisfy(after.contains))
    #expect(after.contains("step-000000000003") && !after.contains("step-000000000000"))
    try Evidence.add(
      .starts, wasKilled ? "killed before" : "the first start", observed: "0, three files of others stay")
  }

  @Test(arguments: ["workers", "checkpoint", "metrics", "ended", "damaged"])
  func `a run may have taken a step: it is never replaced`(trace: String) throws {
    try leave("run") { file in
      switch trace {
      case "workers": file.append(epoch: 1, step: 0, workers: 2, at: .now())
      case "ended": file.end(.failed, .diverged, signal: nil, message: "", step: 3, at: .now())
      default: break
      }
    }
    switch trace {
    case "checkpoint": try directory.write(Data("x".utf8), to: "run/checkpoints/step-000000000002/state.json")
    case "metrics": try directory.write(Data("{\"step\":0}\n{\"step\":7}\n".utf8), to: "run/metrics.jsonl")
    case "damaged": try directory.write(Data("{".utf8), to: "run/run.json")
    default: break
    }
    let before = try names("run")
    #expect(try start("run", alone: true) == .cannotCreate)
    #expect(try names("run") == before)
    #expect(try RunSummary.all(in: directory.path).count == 1)
    try Evidence.add(.starts, trace, observed: "73, all files stay")
  }

  // MARK: - Sockets

  private func sockets(_ environment: [String: String]) throws -> SocketDirectory {
    try SocketDirectory(of: RunPaths(directory: directory.path), runIdentifier: "run", environment: environment) {
      (endpoint) throws(Failure) in
      let transport = NodeTransport(
        role: .coordinator, incarnation: Incarnation(1), context: try MessagingContext())
      defer { transport.close() }
      _ = try transport.listen(at: endpoint)
    }
  }

  enum Place: String, CaseIterable {
    case long = "path too long"
    case missing
    case file = "a file"
    case taken = "the name is taken"
    // Root may write everywhere but there.
    case readOnly = "not writable"
  }

  @Test(arguments: Place.allCases)
  func `XDG_RUNTIME_DIR cannot hold the sockets: they go to TMPDIR`(place: Place) throws {
    var runtime = path("runtime")
    let second = path("t")
    try FileManager.default.createDirectory(atPath: second, withIntermediateDirectories: false)
    let files = FileManager.default
    if place != .missing { try files.createDirectory(atPath: runtime, withIntermediateDirectories: false) }
    switch place {
    case .long:
      runtime += "/" + String(repeating: "x", count: 60)
      try FileManager.default.createDirectory(atPath: runtime, withIntermediateDirectories: false)
    case .missing: break
    case .readOnly: runtime = "/proc"
    case .file: runtime = try directory.write(Data(), to: "file")
    case .taken:
      let made = try sockets(["XDG_RUNTIME_DIR": runtime])
      made.remove()
      try Data().write(to: URL(filePath: made.path))
    }
    let made = try sockets(["XDG_RUNTIME_DIR": runtime, "TMPDIR": second])
    #expect(made.path.hasPrefix(second + "/descent-run-"))
    made.remove()
    #expect(try FileManager.default.contentsOfDirectory(atPath: second).isEmpty)
    let left = (try? FileManager.default.contentsOfDirectory(atPath: runtime)) ?? []
    #expect(place == .taken || runtime == "/proc" || left.isEmpty)
    try Evidence.add(.starts, place.rawValue, observed: "a directory in TMPDIR, nothing left in either")
  }

  /// Files take the names of all places.
  @Test(.enabled(if: geteuid() == 0 && ProcessInfo.processInfo.environment["DESCENT_EVERY_FAULT"] != nil))
  func `no place can hold the sockets: an abstract address, which no other user can connect to`() throws {
    let environment = ["XDG_RUNTIME_DIR": path("runtime"), "TMPDIR": directory.path]
    try FileManager.default.createDirectory(atPath: path("runtime"), withIntermediateDirectories: false)
    let first = try sockets(environment)
    first.remove()
    let name = String(first.path.split(separator: "/").last ?? "")
    let places = [path("runtime"), directory.path, "/tmp"].map { "\($0)/\(name)" }
    for place in places { try Data().write(to: URL(filePath: place)) }
    defer { for place in places { try? FileManager.default.removeItem(atPath: place) } }
    let transport = NodeTransport(role: .coordinator, incarnation: Incarnation(1), context: try MessagingContext())
    defer { transport.close() }
    let made = try SocketDirectory(
      of: RunPaths(directory: directory.path), runIdentifier: "run", environment: environment
    ) { (endpoint) throws(Failure) in _ = try transport.listen(at: endpoint) }
    #expect(made.path == "@\(name)")
    // libzmq greets the peers that it accepts.
    let connect =
      "import socket,sys; s=socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect('\\0\(name)/coordinator'); "
      + "sys.exit(len(s.recv(1)))"
    let spawner = try ProcessSpawner(directory: "/usr/bin")
    for (user, greeting) in [(UInt32(0), Int32(1)), (65_534, 0)] {
      try spawner.start("setpriv", ["--reuid=\(user)", "--clear-groups", "/usr/bin/python3", "-c", connect])
      var exits: [ProcessExit] = []
      try waitUntil("the connection is made") {
        exits += spawner.reap().map(\.exit)
        return !exits.isEmpty
      }
      #expect(exits == [.status(greeting)], "user \(user)")
    }
    try Evidence.add(.starts, observed: "listens at an abstract address; greets its own user, closes for another one")
  }
}

/// A port of this host that is in use as long as this value lives.
private final class Port {
  private let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
  private(set) var number: UInt16 = 0

  init() throws {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let status = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        bind(descriptor, address, length) == 0 && listen(descriptor, 1) == 0
          && getsockname(descriptor, address, &length) == 0
      }
    }
    try #require(status)
    number = UInt16(bigEndian: address.sin_port)
  }

  deinit { close(descriptor) }
}
