import Checkpoints
import Diagnostics
import Files
import Glibc
import TestSupport
import Testing

@Suite("Durability")
struct DurabilityTests {
  private struct Training {
    /// The last step announced, and the best at that time; 0 before the first.
    var announced: UInt64 = 0
    var best: UInt64 = 0
    var failure: Failure?
  }

  /// Saves steps 1, 2, 3 and 3 again with other bytes, of which 1 and 3 are the best, pruning to one after each.
  private func train(_ directory: TemporaryDirectory, _ disk: FaultyDisk) -> Training {
    let store = CheckpointStore(runDirectory: directory.path, disk: disk)
    var training = Training()
    do throws(Failure) {
      try store.prepareForWriting()
      for (step, best, seconds) in [(1, 1, 1), (2, 1, 2), (3, 3, 3), (3, 3, 4)] as [(UInt64, UInt64, Double)] {
        try store.save(smallCheckpoint(step: step, accuracy: 0.4, best: best, seconds: seconds))
        (training.announced, training.best) = (step, best)
        try store.prune(keepLast: 1)
      }
    } catch {
      training.failure = error
    }
    return training
  }

  private func callCount() throws -> Int {
    let disk = FaultyDisk()
    let result = train(TemporaryDirectory(), disk)
    #expect(result.announced == 3)
    #expect(result.failure == nil)
    return disk.calls.count
  }

  /// The newest checkpoint is at least the one announced, `latest` and `best` lead to valid ones, and training can continue.
  private func expectSurvival(_ directory: TemporaryDirectory, _ training: Training, call: Int) throws {
    let announced = training.announced
    let store = CheckpointStore(runDirectory: directory.path)
    let search = try store.newestValid()
    #expect(search.rejections.isEmpty, "call \(call)")
    #expect(search.newest?.checkpoint.step ?? 0 >= announced, "call \(call)")
    if announced > 0 {
      let latest = try CheckpointStore.load(store.directory + "/latest")
      #expect(latest.checkpoint.step >= announced, "call \(call)")
      let best = try CheckpointStore.load(directory.path + "@best")
      #expect(best.checkpoint.run.isBest && best.checkpoint.step >= training.best, "call \(call)")
    }
    try store.prepareForWriting()
    let next = smallCheckpoint(step: 4)
    let path = try store.save(next)
    let stored = try CheckpointStore.load(directory.path)
    #expect(stored.checkpoint == next && stored.path == path)
    #expect(try FileSystem().entries(of: store.directory).allSatisfy { !$0.hasPrefix(".") }, "call \(call)")
  }

  @Test
  func `a process that dies before any system call loses nothing that was announced`() throws {
    let count = try callCount()
    #expect(count > 100)
    for call in 0..<count {
      let directory = TemporaryDirectory()
      let result = train(directory, FaultyDisk(.death(at: call)))
      #expect(result.failure != nil)
      try expectSurvival(directory, result, call: call)
    }
  }

  @Test
  func `a power cut before any system call loses nothing that was announced`() throws {
    for call in try 0..<callCount() {
      var lostRename: Int? = nil
      while true {
        let directory = TemporaryDirectory()
        let disk = FaultyDisk(.death(at: call))
        let result = train(directory, disk)
        guard disk.losePower(undoingOnlyRename: lostRename) else { break }
        try expectSurvival(directory, result, call: call)
        lostRename = lostRename.map { $0 + 1 } ?? 0
      }
    }
  }

  @Test(arguments: [false, true])
  func `a save waits for the disk seven times: for the four files once all are written, and for three directories`(
    isBest: Bool
  ) throws {
    let directory = TemporaryDirectory()
    try makeStore(directory).save(smallCheckpoint(step: 1, best: 1))
    let disk = FaultyDisk(largestWrite: .max)
    let store = CheckpointStore(runDirectory: directory.path, disk: disk)
    try store.save(smallCheckpoint(step: 2, best: isBest ? 2 : 1))
    let made = disk.calls
    let waits = made.indices.filter { if case .synchronize = made[$0] { true } else { false } }
    let writes = made.indices.filter { if case .write = made[$0] { true } else { false } }
    let renames = made.indices.filter { if case .rename = made[$0] { true } else { false } }
    #expect(waits.count == 7 && writes.count == 4 && renames.count == (isBest ? 3 : 2))
    // Files and temporary directory, then the name of the checkpoint, then its directory, then the links.
    #expect(writes.allSatisfy { $0 < waits[0] })
    #expect(waits[4] < renames[0] && renames[0] < waits[5] && waits[5] < renames[1])
    #expect(renames.allSatisfy { $0 < waits[6] })
  }

  /// Whoever made the directory of the checkpoints may have died, or failed, before its name was durable.
  @Test
  func `a directory that is there already is made durable all the same`() throws {
    let directory = TemporaryDirectory()
    let failing = FaultyDisk(.error(EIO, at: 1))
    let store = CheckpointStore(runDirectory: directory.path, disk: failing)
    #expect(status { () throws(Failure) in try store.prepareForWriting() } == .inputOutput)
    #expect(try FileSystem().entries(of: directory.path) == ["checkpoints"])
    let disk = FaultyDisk()
    try CheckpointStore(runDirectory: directory.path, disk: disk).prepareForWriting()
    #expect(disk.calls == [.synchronize(directory.path)])
  }

  @Test(arguments: [EIO, ENOSPC])
  func `a system call that fails is reported, loses nothing, and leaves nothing in the way`(code: Int32) throws {
    for call in try 0..<callCount() {
      let directory = TemporaryDirectory()
      let disk = FaultyDisk(.error(code, at: call))
      let result = train(directory, disk)
      // A file stands in the place of a link that a file system does not take, and some of them say EIO then.
      let isReplaced = if case .symbolicLink = disk.calls[call] { code == EIO } else { false }
      let expected: Diagnostics.ExitStatus? = isReplaced ? nil : code == ENOSPC ? .cannotCreate : .inputOutput
      #expect(result.failure?.status == expected, "call \(call)")
      try expectSurvival(directory, result, call: call)
    }
  }

  @Test
  func `an interrupted call is made again, except fsync, whose failure is final`() throws {
    var failures = 0
    let count = try callCount()
    for call in 0..<count {
      let directory = TemporaryDirectory()
      let disk = FaultyDisk(.error(EINTR, at: call))
      let result = train(directory, disk)
      if let failure = result.failure {
        #expect(failure.message.contains("durable"))
        failures += 1
      } else {
        #expect(result.announced == 3)
      }
      try expectSurvival(directory, result, call: call)
    }
    #expect(failures > 0 && failures < count / 2)
  }

  @Test
  func `a durable file is the old or the new one after every fault`() throws {
    let contents: [[UInt8]] = [Array("old".utf8), .init(repeating: 7, count: 1000)]
    for call in 0..<12 {
      let directory = TemporaryDirectory()
      let path = directory.path + "/run.json"
      try FileSystem().replace(path, with: contents[0])
      let disk = FaultyDisk(.death(at: call))
      let failed =
        status { () throws(Failure) in
          try FileSystem(disk: disk).replace(path, with: contents[1])
        } != nil
      let found = try bytes(of: path)
      #expect(contents.contains(found))
      if !failed { #expect(found == contents[1]) }
    }
  }

  @Test
  func `a durable file leaves no temporary file behind, whether it succeeds or fails`() throws {
    let directory = TemporaryDirectory()
    let path = directory.path + "/run.json"
    try FileSystem().replace(path, with: "{}\n")
    let disk = FaultyDisk(.error(EIO, at: 2))
    #expect(
      status { () throws(Failure) in try FileSystem(disk: disk).replace(path, with: [1]) } == .inputOutput
    )
    #expect(try FileSystem().entries(of: directory.path) == ["run.json"])
    #expect(try bytes(of: path) == Array("{}\n".utf8))
  }
}
