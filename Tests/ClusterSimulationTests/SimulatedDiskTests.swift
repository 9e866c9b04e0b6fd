import ClusterSimulation
import Diagnostics
import Files
import Testing

/// The disk is as bad as POSIX allows, and no worse.
@Suite struct SimulatedDiskTests {
  private static let bytes = [UInt8](1...100)

  /// A directory whose name is durable.
  private func disk(seed: UInt64) throws -> (SimulatedDisk, FileSystem) {
    let disk = SimulatedDisk(seed: seed, largestWrite: 30)
    let fileSystem = FileSystem(disk: disk)
    try fileSystem.makeDirectory("/run")
    try fileSystem.synchronize("/")
    return (disk, fileSystem)
  }

  private func write(_ path: String, _ disk: SimulatedDisk) throws {
    let descriptor = try disk.createFile(path, permissions: nil)
    defer { disk.close(descriptor) }
    var written = 0
    while written < Self.bytes.count {
      written += try Self.bytes.withUnsafeBytes {
        try disk.write(descriptor, UnsafeRawBufferPointer(rebasing: $0[written...]))
      }
    }
  }

  @Test func `what is synchronized survives`() throws {
    for seed in 0..<50 as Range<UInt64> {
      let (disk, fileSystem) = try disk(seed: seed)
      try fileSystem.createDurably([("/run/file", Self.bytes)])
      #expect(!disk.isDurable("/run"))
      try fileSystem.synchronize("/run")
      #expect(disk.isDurable("/run"))
      disk.losePower()
      #expect(try fileSystem.read("/run/file", limit: 1_000) == Self.bytes)
    }
  }

  @Test func `bytes that are not synchronized are kept, torn or lost`() throws {
    var found: Set<[UInt8]> = []
    for seed in 0..<50 as Range<UInt64> {
      let (disk, fileSystem) = try disk(seed: seed)
      try write("/run/file", disk)
      try fileSystem.synchronize("/run")
      #expect(try fileSystem.read("/run/file", limit: 1_000) == Self.bytes)
      #expect(!disk.isDurable("/run"))
      disk.losePower()
      found.insert(try fileSystem.read("/run/file", limit: 1_000))
    }
    #expect(found.contains(Self.bytes) && found.contains([]))
    #expect(found.contains { $0.count == Self.bytes.count && $0.last == 0 })
    #expect(found.contains { !$0.isEmpty && $0.count < Self.bytes.count })
  }

  @Test func `names that are not synchronized survive in any order`() throws {
    var found: Set<[String]> = []
    for seed in 0..<200 as Range<UInt64> {
      let (disk, fileSystem) = try disk(seed: seed)
      try fileSystem.makeSymbolicLink("/run/old", target: "a")
      try fileSystem.synchronize("/run")
      try fileSystem.rename("/run/old", to: "/run/new")
      try fileSystem.makeSymbolicLink("/run/other", target: "b")
      disk.losePower()
      found.insert(try fileSystem.entries(of: "/run"))
    }
    // A rename is made as a whole or not at all.
    #expect(found == [["old"], ["new"], ["old", "other"], ["new", "other"]])
  }

  @Test func `an fsync that failed is final`() throws {
    var survivals = 0
    for seed in 0..<50 as Range<UInt64> {
      let (disk, fileSystem) = try disk(seed: seed)
      try write("/run/file", disk)
      try fileSystem.synchronize("/run")
      disk.begin(DiskFaults { $0.failingCall = 0 })
      #expect(throws: Failure.self) { try fileSystem.synchronize("/run/file") }
      // The kernel takes the pages for clean now and claims success.
      try fileSystem.synchronize("/run/file")
      #expect(disk.failures == 1)
      disk.losePower()
      if try fileSystem.read("/run/file", limit: 1_000) == Self.bytes { survivals += 1 }
    }
    #expect(survivals < 25)
  }

  @Test func `a full disk refuses what needs space and lets the rest go`() throws {
    let (disk, fileSystem) = try disk(seed: 0)
    try fileSystem.createDurably([("/run/file", Self.bytes)])
    disk.begin(DiskFaults { $0.isFull = true })
    do throws(Failure) {
      try fileSystem.createDurably([("/run/other", Self.bytes)])
      Issue.record("a full disk took a file")
    } catch {
      #expect(error.status == .cannotCreate)
    }
    try fileSystem.unlink("/run/file")
    #expect(try fileSystem.entries(of: "/run").isEmpty)
  }

  @Test func `nothing of a dead process reaches the disk`() throws {
    let (disk, fileSystem) = try disk(seed: 0)
    disk.begin(DiskFaults { $0.dyingCall = 3 })
    #expect(throws: Failure.self) { try fileSystem.createDurably([("/run/file", Self.bytes)]) }
    // It was created and its space reserved; one of four writes was made.
    #expect(try fileSystem.read("/run/file", limit: 1_000) == Self.bytes[..<30] + [UInt8](repeating: 0, count: 70))
  }
}
