import Diagnostics
import Files
import Glibc
import NodeRuntime
import RunConfiguration
import TestSupport
import Testing
import Transport

/// Where the file system has no locks, files name the process that holds them.
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
    try write(holder, to: paths.lock)
    #expect(paths.isLocked == holder.counts)
    var found = "the directory is free"
    do throws(Failure) {
      let lock = try paths.lockDirectory()
      #expect(!holder.counts && !lock.isRecorded)
    } catch {
      #expect(holder.counts && error.status == .cannotCreate, "\(error)")
      #expect(error.message.contains("names process"))
      #expect(error.remedy?.contains("remove \(paths.lock)") == (holder != .running))
      found = "\(error.status.rawValue), \(holder == .running ? "in use" : "with the remedy to remove the lock")"
    }
    try Evidence.add(.fileSystems, holder.rawValue, observed: found)
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
