import Checkpoints
import Diagnostics
import Files
import Glibc
import Synchronization
import TestSupport
import Testing

/// The disk of this machine, some of whose calls are refused as by a file system that does not offer them.
final class PoorDisk: PassThroughDisk, @unchecked Sendable {
  enum Refusal: Sendable {
    case symbolicLinks(Int32)
    case directorySynchronization(Int32)
    /// The first so many reads of a file that another host has replaced.
    case staleReads(Int)
    case directoryRenames
    /// A file of this name, which NFS keeps while it is open elsewhere.
    case removal(String)
  }

  private let refusal: Refusal
  private let reads = Mutex(0)

  init(_ refusal: Refusal) { self.refusal = refusal }

  override func makeSymbolicLink(_ path: String, target: String) throws(ErrorNumber) {
    if case .symbolicLinks(let code) = refusal { throw ErrorNumber(code) }
    try super.makeSymbolicLink(path, target: target)
  }

  override func synchronize(_ descriptor: Int32) throws(ErrorNumber) {
    if case .directorySynchronization(let code) = refusal, try status(of: descriptor).kind == .directory {
      throw ErrorNumber(code)
    }
    try super.synchronize(descriptor)
  }

  override func read(_ descriptor: Int32, into target: UnsafeMutableRawBufferPointer) throws(ErrorNumber) -> Int {
    if case .staleReads(let count) = refusal {
      let isStale = reads.withLock { reads in
        reads += 1
        return reads <= count
      }
      if isStale { throw .stale }
    }
    return try super.read(descriptor, into: target)
  }

  override func rename(_ path: String, to destination: String) throws(ErrorNumber) {
    if case .directoryRenames = refusal, path.contains("/step-") { throw .crossDevice }
    try super.rename(path, to: destination)
  }

  override func unlink(_ path: String) throws(ErrorNumber) {
    if case .removal(let name) = refusal, path.hasSuffix("/\(name)") { throw .busy }
    try super.unlink(path)
  }
}

/// File systems that lack what a durable store would have, and copies by tools that do.
@Suite("Poor file systems")
struct PoorFileSystemTests {
  /// Steps 1, which is the best, 2 and 3.
  private func save(_ store: CheckpointStore) throws {
    try store.prepareForWriting()
    for step in 1...3 as ClosedRange<UInt64> {
      try store.save(smallCheckpoint(step: step, accuracy: 0.4, best: 1))
    }
  }

  private func step(_ selector: String) throws -> UInt64 { try CheckpointStore.load(selector).checkpoint.step }

  private func names(_ store: CheckpointStore) throws -> [String] { try FileSystem().entries(of: store.directory) }

  /// What every way to a checkpoint finds.
  private func expectSelectors(_ run: String, latest: UInt64 = 3, best: UInt64 = 1) throws {
    let store = CheckpointStore(runDirectory: run)
    #expect(try step(run) == latest && step("\(run)@latest") == latest && step("\(run)@best") == best)
    #expect(store.best()?.checkpoint.step == best)
    #expect(try VerificationReport(of: run).firstFailure == nil)
  }

  private static func name(_ code: Int32) -> String { code == 524 ? "errno 524" : String(cString: strerror(code)) }

  @Test(arguments: [EPERM, EACCES, EOPNOTSUPP, ENOSYS, EINVAL, EIO, 524])
  func `a file system takes no symbolic links: files stand in for latest and best`(code: Int32) throws {
    let directory = TemporaryDirectory()
    let store = CheckpointStore(runDirectory: directory.path, disk: PoorDisk(.symbolicLinks(code)))
    try save(store)
    try expectSelectors(directory.path)
    #expect(try FileSystem().text(of: store.directory + "/latest") == "step-000000000003\n")
    #expect(try step(store.directory + "/best") == 1)
    #expect(try store.prune(keepLast: 1).map { $0.suffix(1) } == ["2"])
    let reason = FileSystem(disk: PoorDisk(.symbolicLinks(code))).reasonAgainstLinks(in: directory.path)
    #expect(reason != nil && FileSystem().reasonAgainstLinks(in: directory.path) == nil)
    // Once there are links, a file is replaced by one.
    try CheckpointStore(runDirectory: directory.path).save(smallCheckpoint(step: 4, best: 1))
    #expect(FileSystem().symbolicLinkTarget(store.directory + "/latest") == "step-000000000004")
    try Evidence.add(
      .fileSystems, Self.name(code), observed: "@latest finds step 3, @best step 1; said: \(reason ?? "")")
  }

  @Test(arguments: [EINVAL, EBADF, EACCES, EPERM, EOPNOTSUPP, ENOSYS, 524])
  func `a directory cannot be synchronized: checkpoints are saved, and the reason is given`(code: Int32) throws {
    let directory = TemporaryDirectory()
    let disk = PoorDisk(.directorySynchronization(code))
    let store = CheckpointStore(runDirectory: directory.path, disk: disk)
    try save(store)
    try expectSelectors(directory.path)
    try FileSystem(disk: disk).replace(directory.path + "/run.json", with: "{}")
    let reason = FileSystem(disk: disk).reasonAgainstSynchronizing(directory.path)
    #expect(reason != nil && FileSystem().reasonAgainstSynchronizing(directory.path) == nil)
    // An error of the disk is one.
    let broken = CheckpointStore(runDirectory: directory.path, disk: PoorDisk(.directorySynchronization(EIO)))
    #expect(status { () throws(Failure) in try broken.save(smallCheckpoint(step: 4)) } == .inputOutput)
    try Evidence.add(
      .fileSystems, Self.name(code), observed: "three checkpoints are there; said: \(reason ?? "")")
  }

  enum Copy: String, CaseIterable, Sendable {
    case following = "cp -rL"
    case dropping = "rsync without -l"
    case storing = "git without links"

    /// Does to the links what the tool does.
    func apply(to checkpoints: String) throws {
      for link in ["latest", "best"] {
        let (path, files) = ("\(checkpoints)/\(link)", FileSystem())
        let target = try #require(files.symbolicLinkTarget(path))
        try files.unlink(path)
        switch self {
        case .dropping: break
        case .storing: try overwrite(path, Array(target.utf8))
        case .following:
          try files.makeDirectory(path)
          for name in try files.entries(of: "\(checkpoints)/\(target)") {
            try overwrite("\(path)/\(name)", bytes(of: "\(checkpoints)/\(target)/\(name)"))
          }
        }
      }
    }
  }

  @Test(arguments: Copy.allCases)
  func `a run is copied without its links: @latest and @best find the same, and the run continues`(copy: Copy) throws {
    let directory = TemporaryDirectory()
    let store = CheckpointStore(runDirectory: directory.path)
    try save(store)
    try copy.apply(to: store.directory)
    try expectSelectors(directory.path)
    let stored = try #require(try store.newestValid().newest?.checkpoint.run)
    try store.prepareForWriting(resuming: stored)
    try expectSelectors(directory.path)
    // A file that names the right checkpoint stays.
    let best = copy == .storing ? nil : "step-000000000001"
    #expect(FileSystem().symbolicLinkTarget(store.directory + "/best") == best)
    try store.save(smallCheckpoint(step: 4, best: 1))
    try expectSelectors(directory.path, latest: 4)
    #expect(FileSystem().symbolicLinkTarget(store.directory + "/latest") == "step-000000000004")
    #expect(try names(store).count == 6)
    try Evidence.add(.fileSystems, copy.rawValue, observed: "steps 3 and 1 are found, step 4 is saved, links are back")
  }

  @Test func `a directory in the place of a link is no copy of a checkpoint: it stays, and is named`() throws {
    let directory = TemporaryDirectory()
    let store = CheckpointStore(runDirectory: directory.path)
    try save(store)
    unlink(store.directory + "/latest")
    mkdir(store.directory + "/latest", 0o755)
    try overwrite(store.directory + "/latest/notes", [1])
    let failure = #expect(throws: Failure.self) { try store.save(smallCheckpoint(step: 4, best: 1)) }
    #expect(failure?.message.contains("latest is a directory, but not a copy") == true)
    #expect(try bytes(of: store.directory + "/latest/notes") == [1])
  }

  @Test func `a run directory or its checkpoints are links: both are followed`() throws {
    let directory = TemporaryDirectory()
    let scratch = TemporaryDirectory()
    mkdir(directory.path + "/real", 0o755)
    symlink("real", directory.path + "/run")
    symlink(scratch.path, directory.path + "/real/checkpoints")
    for run in ["/run", "/run/", "/real"] { try save(CheckpointStore(runDirectory: directory.path + run)) }
    try expectSelectors(directory.path + "/run")
    #expect(try FileSystem().entries(of: scratch.path).count == 5)
    try FileSystem().replace(directory.path + "/run/run.json", with: "{}")
    try Evidence.add(.fileSystems, observed: "saved through three names of the run; everything is on the other disk")
  }

  @Test func `a link leads to nothing or in a circle: the error says so`() throws {
    let directory = TemporaryDirectory()
    let run = directory.path + "/run"
    mkdir(run, 0o755)
    symlink("nowhere", run + "/checkpoints")
    let failure = #expect(throws: Failure.self) { try CheckpointStore(runDirectory: run).prepareForWriting() }
    #expect(failure?.status == .cannotCreate)
    #expect(failure?.message.hasSuffix("checkpoints: it is a link to nowhere, which leads to nothing") == true)
    symlink("circle", directory.path + "/circle")
    let circle = #expect(throws: Failure.self) { try CheckpointStore.load(directory.path + "/circle") }
    #expect(circle?.status == .missingInput && circle?.message.contains("levels of symbolic links") == true)
    try Evidence.add(.fileSystems, observed: "\(failure?.message ?? ""); \(circle?.message ?? "")")
  }

  @Test func `another host replaces a file while it is read: it is opened again`() throws {
    let directory = TemporaryDirectory()
    try overwrite(directory.path + "/run.json", [1, 2, 3])
    let read = { try FileSystem(disk: PoorDisk(.staleReads($0))).read(directory.path + "/run.json", limit: 9) }
    #expect(try read(2) == [1, 2, 3])
    let failure = #expect(throws: Failure.self) { try read(100) }
    #expect(failure?.message.contains("Stale file handle") == true)
    try Evidence.add(.fileSystems, "ESTALE", observed: "read after two; after five the error says so")
  }

  @Test func `an overlay cannot rename a checkpoint of its lower layer: it is removed under its name`() throws {
    let directory = TemporaryDirectory()
    try save(CheckpointStore(runDirectory: directory.path))
    let store = CheckpointStore(runDirectory: directory.path, disk: PoorDisk(.directoryRenames))
    #expect(try store.prune(keepLast: 1).map { $0.suffix(1) } == ["2"])
    #expect(try names(store) == ["best", "latest", "step-000000000001", "step-000000000003"])
    try Evidence.add(.fileSystems, "EXDEV", observed: "step 2 is gone, nothing is left of it")
  }

  @Test func `others keep files in a checkpoint that is removed: the rest goes, and the run continues`() throws {
    let directory = TemporaryDirectory()
    let store = CheckpointStore(runDirectory: directory.path, disk: PoorDisk(.removal("model.safetensors")))
    try save(store)
    mkdir(store.directory + "/step-000000000002/@eaDir", 0o755)
    try store.prune(keepLast: 1)
    try expectSelectors(directory.path)
    let left = try names(store).filter { $0.hasPrefix(".tmp-removed-") }
    let files = try FileSystem().entries(of: "\(store.directory)/\(left.first ?? "")")
    #expect(left.count == 1 && files == ["@eaDir", "model.safetensors"])
    // Nothing but that directory of others is left once the file is free.
    try CheckpointStore(runDirectory: directory.path).prepareForWriting()
    #expect(try FileSystem().entries(of: "\(store.directory)/\(left.first ?? "")") == ["@eaDir"])
    let kept = files.joined(separator: " and ")
    try Evidence.add(.fileSystems, "EBUSY, EISDIR", observed: "\(kept) stay, the next start clears the rest")
  }

  /// What file managers, NFS and snapshots leave in directories.
  @Test func `foreign files in a run and its checkpoints are passed over`() throws {
    let directory = TemporaryDirectory()
    let store = CheckpointStore(runDirectory: directory.path)
    try save(store)
    for name in [".DS_Store", "._step-000000000009", "Thumbs.db", ".nfs00000001", "step-000000000009.zip", "step-9"] {
      try overwrite("\(store.directory)/\(name)", [0])
    }
    for name in ["lost+found", "@eaDir", ".snapshot"] { mkdir("\(store.directory)/\(name)", 0) }
    try overwrite(store.directory + "/step-000000000003/._model.safetensors", [0])
    try expectSelectors(directory.path)
    try store.save(smallCheckpoint(step: 4, best: 1))
    try store.prune(keepLast: 1)
    try expectSelectors(directory.path, latest: 4)
  }
}
