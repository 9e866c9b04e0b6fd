import Checkpoints
import Diagnostics
import Dispatch
import Files
import Glibc
import Messaging
import NodeRuntime
import RunConfiguration
import Synchronization
import TestSupport
import Testing
import Transport

/// Where locks say little, files name the process that holds them.
@Suite("Locks and addresses without flock")
struct RunLockTests {
  /// The process that a file names, and whether it counts as running.
  enum Holder: String, CaseIterable, Sendable {
    case running = "a process that runs"
    case ended = "a process that has ended"
    case another = "a process whose number was given to another one"
    case otherHost = "a process of another host"
    case otherContainer = "a process of another container"
    case copied = "a process, in a copy of the file"

    func record(_ inode: UInt64) -> ProcessRecord {
      var record = ProcessRecord(inode: inode)
      switch self {
      case .running: break
      case .ended: record.process = .max
      case .another: record.started = (record.started ?? 0) + 1
      case .otherHost: (record.boot, record.host) = ("another", "another")
      case .otherContainer: record.namespace = "another"
      case .copied: record.inode += 1
      }
      return record
    }

    var counts: Bool { [.running, .otherHost, .otherContainer].contains(self) }
  }

  private let directory = TemporaryDirectory()
  private var paths: RunPaths { RunPaths(directory: directory.path) }

  /// Writes a file that names the holder after `text`.
  private func write(_ holder: Holder, to path: String, after text: String = "") throws {
    let file = try File(path, for: .creating)
    try file.write(Array((text + holder.record(try file.status().inode).line).utf8))
  }

  @Test(arguments: Holder.allCases)
  func `the lock of a run names its holder: it counts unless it is known to have ended`(holder: Holder) throws {
    _ = try File(paths.lock, for: .locking)
    try write(holder, to: paths.directory + "/lease-1")
    #expect(paths.isLocked == holder.counts)
    var found = "the directory is free"
    do throws(Failure) {
      let lock = try paths.lockDirectory()
      #expect(!holder.counts && lock.isLocked)
    } catch {
      #expect(holder.counts && error.status == .cannotCreate, "\(error)")
      #expect(error.message.contains("its lease names process"))
      found = "\(error.status.rawValue), in use"
    }
    try Evidence.add(.fileSystems, holder.rawValue, observed: found)
  }

  private static let length = Interval.milliseconds(800)

  private func lockForStart(_ said: inout [String]) throws(Failure) -> RunLock {
    try paths.lockForStart(Self.length, TerminationSignals()) { said.append($0) }
  }

  @Test(arguments: Holder.allCases)
  func `a start finds the lease of another process: it waits for that of one it cannot see, and says so`(
    holder: Holder
  ) throws {
    try write(holder, to: paths.directory + "/lease-3")
    var said: [String] = []
    let began = Instant.now
    var found = "the start begins at once"
    do throws(Failure) {
      let lock = try lockForStart(&said)
      let waited = Instant.now.since(began)
      #expect(holder != .running)
      #expect(holder.counts == (waited > Self.length), "\(waited)")
      #expect(said.count == (holder.counts ? 1 : 0), "\(said)")
      #expect(said.allSatisfy { $0.hasPrefix("waiting for the lease of process ") && $0.contains("up to 1.0 s") })
      let names = try FileSystem().entries(of: paths.directory)
      #expect(names == ["lease-4", "lock"], "\(names)")
      if holder.counts { found = "said: \(said[0].replacing(paths.directory, with: "DIR"))" }
      withExtendedLifetime(lock) {}
    } catch {
      #expect(holder == .running && error.status == .cannotCreate, "\(error)")
      found = "\(error.status.rawValue), in use"
    }
    try Evidence.add(.fileSystems, holder.rawValue, observed: found)
  }

  @Test func `a process of another host renews its lease: a start ends with 73, and the directory stays as it is`()
    throws
  {
    try write(.otherHost, to: paths.directory + "/lease-3")
    // As the other host would.
    let renewing = Renewing(paths.directory + "/lease-3")
    defer { renewing.stop() }
    var said: [String] = []
    let failure = #expect(throws: Failure.self) { _ = try lockForStart(&said) }
    #expect(
      failure?.status == .cannotCreate && failure?.message.contains("on another") == true,
      "\(String(describing: failure))")
    #expect(try FileSystem().entries(of: paths.directory) == ["lease-3", "lock"])
    try Evidence.add(.fileSystems, observed: "\(failure?.status.rawValue ?? 0) after: \(said.count) waits")
  }

  @Test func `another process takes the lease of a directory: nothing is changed there any more`() throws {
    let lock = try paths.lockForStart(Self.length, TerminationSignals()) { _ in }
    #expect(lock.loss == nil)
    try lock.confirm()
    // Another host does not see the lock, and has waited for the lease.
    try write(.otherHost, to: paths.directory + "/lease-2")
    try waitUntil("the holder sees it", seconds: 10) { lock.loss != nil }
    let failure = #expect(throws: Failure.self) { try lock.confirm() }
    #expect(failure?.status == .fenced && failure?.message.contains("on another has taken over") == true)
    let store = CheckpointStore(runDirectory: paths.directory, disk: LeasedDisk(lock: lock))
    let refused = #expect(throws: Failure.self) { try store.prepareForWriting() }
    #expect(refused?.message.contains("another process has taken over") == true, "\(String(describing: refused))")
    let names = try FileSystem().entries(of: paths.directory)
    #expect(names == ["lease-1", "lease-2", "lock"], "\(names)")
    try Evidence.add(.fileSystems, observed: "\(failure?.status.rawValue ?? 0): \(refused?.message ?? "")")
  }

  @Test func `the lease of a directory is given back: its file stays and names no process`() throws {
    do {
      let lock = try paths.lockDirectory()
      #expect(throws: Failure.self) { _ = try paths.lockDirectory() }
      withExtendedLifetime(lock) {}
    }
    #expect(!paths.isLocked)
    #expect(try FileSystem().text(of: paths.directory + "/lease-1").hasPrefix("released\n"))
    _ = try paths.lockDirectory()
    #expect(try FileSystem().entries(of: paths.directory) == ["lease-2", "lock"])
  }

  @Test(arguments: Holder.allCases)
  func `an address names its coordinator: it is used unless that is known to have ended`(holder: Holder) throws {
    try write(holder, to: paths.coordinatorEndpoint, after: "tcp://127.0.0.1:5555\na-run\n-\n")
    let found = try CoordinatorAddress.published(in: paths)
    #expect(found?.endpoint == (holder.counts ? .tcp(host: "127.0.0.1", port: 5555) : nil))
    try Evidence.add(.fileSystems, holder.rawValue, observed: found == nil ? "not used" : "used")
  }

  @Test func `after a restart of the host nothing that ran before counts`() throws {
    var record = ProcessRecord(inode: 1)
    record.boot = "before"
    // Many hosts bear this name.
    #expect(record.isRunning == (record.host == "localhost" ? nil : false))
    #expect(ProcessRecord(line: record.line) == record)
    record.boot = "-"
    // Where /proc is hidden, nothing is known.
    #expect(record.isRunning == nil)
    for line in ["", "\n", "1 2 3", "x - - - 1 host", "1 - boot pid:[1] x host"] {
      #expect(ProcessRecord(line: line) == nil)
    }
  }

  @Test func `a run directory that is a file with a name in it stands for the directory of that name`() throws {
    let runs = directory.path
    try FileSystem().makeDirectories(runs + "/a")
    try FileSystem().replace(runs + "/latest", with: "a\n")
    try FileSystem().replace(runs + "/notes", with: "a\nb\n")
    #expect(RunPaths(directory: runs + "/latest").directory == runs + "/a")
    #expect(RunPaths(directory: runs + "/latest/").directory == runs + "/a")
    #expect(RunPaths(directory: runs + "/a//").directory == runs + "/a")
    #expect(RunPaths(directory: runs + "/notes").directory == runs + "/notes")
    #expect(RunPaths(directory: "/").directory == "/")
  }
}

/// Changes the file of a lease ten times a second, as its holder does.
private final class Renewing: Sendable {
  private let isOver = Atomic(false)
  private let isDone = DispatchSemaphore(value: 0)

  init(_ path: String) {
    let text = (try? FileSystem().text(of: path)) ?? ""
    DispatchQueue(label: "renewing").async { [self] in
      var count = 0
      while !isOver.load(ordering: .relaxed) {
        count += 1
        if let file = try? File(path, for: .updating) {
          try? file.overwrite(Array((text + "1f \(count) 800 locked\n").utf8))
        }
        usleep(100_000)
      }
      isDone.signal()
    }
  }

  func stop() {
    isOver.store(true, ordering: .relaxed)
    isDone.wait()
  }
}
