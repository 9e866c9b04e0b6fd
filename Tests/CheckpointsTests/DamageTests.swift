import Checkpoints
import Datasets
import Diagnostics
import Glibc
import TestSupport
import Testing

@Suite("Damage")
struct DamageTests {
  private static let files = ["model.safetensors", "optimizer.safetensors", "state.json", "MANIFEST.json"]

  @Test(arguments: files)
  func `a file of a checkpoint is truncated, lengthened, flipped at any byte or missing: 65, never loaded`(file: String)
    throws
  {
    let directory = TemporaryDirectory()
    let checkpoint = try makeStore(directory).save(smallCheckpoint(step: 3, accuracy: 0.4))
    let path = "\(checkpoint)/\(file)"
    let whole = try bytes(of: path)
    var refused = 0
    func expectDetected(_ comment: Comment) {
      let found = status { () throws(Failure) in _ = try CheckpointStore.load(checkpoint) }
      #expect(found == .badData, comment)
      if found == .badData { refused += 1 }
    }
    for length in 0..<whole.count {
      try overwrite(path, Array(whole[..<length]))
      expectDetected("truncated to \(length)")
    }
    for index in whole.indices {
      var damaged = whole
      damaged[index] ^= 1 << (index % 8)
      try overwrite(path, damaged)
      expectDetected("bit \(index % 8) of byte \(index)")
    }
    try overwrite(path, whole + [10])
    expectDetected("one byte more")
    unlink(path)
    expectDetected("missing")
    try Evidence.add(
      .disk, file, times: 2 * whole.count + 2, observed: "refused \(refused) of \(2 * whole.count + 2)")
  }

  @Test func `a model of the real size is truncated or flipped, its header everywhere: 65, never loaded`() throws {
    let directory = TemporaryDirectory()
    let checkpoint = try makeStore(directory).save(realCheckpoint(step: 3))
    let path = checkpoint + "/model.safetensors"
    let whole = try bytes(of: path)
    let positions =
      Array(0..<1200) + stride(from: 1200, to: whole.count - 64, by: 1499) + (whole.count - 64..<whole.count)
    var refused = 0
    for position in positions {
      var flipped = whole
      flipped[position] ^= 1 << (position % 8)
      for damaged in [Array(whole[..<position]), flipped] {
        try overwrite(path, damaged)
        let found = status { () throws(Failure) in _ = try CheckpointStore.load(checkpoint) }
        #expect(found == .badData, "byte \(position)")
        if found == .badData { refused += 1 }
      }
    }
    try Evidence.add(
      .disk, "every 1499th byte of the body, and its last 64", times: 2 * positions.count,
      observed: "refused \(refused) of \(2 * positions.count)")
  }

  @Test(arguments: files)
  func `a disk returns other bytes than were written: 74, and the checkpoint before stays the newest`(file: String)
    throws
  {
    let example = TemporaryDirectory()
    let count = try bytes(of: "\(try makeStore(example).save(realCheckpoint(step: 2)))/\(file)").count
    let deceptions = [0, 9, count / 2, count - 1].map { Deception.flippedBit(at: $0) } + [.missingTail]
    var refused = 0
    for deception in deceptions {
      let directory = TemporaryDirectory()
      let store = try makeStore(directory)
      try store.save(realCheckpoint(step: 1))
      let disk = DeceivingDisk(file: "step-000000000002/\(file)", deception)
      let deceived = CheckpointStore(runDirectory: directory.path, disk: disk)
      let failure = #expect(throws: Failure.self, "\(deception)") { try deceived.save(realCheckpoint(step: 2)) }
      #expect(failure?.status == .inputOutput && failure?.message.contains("does not read back") == true)
      if try CheckpointStore.load(directory.path).checkpoint.step == 1 { refused += 1 }
      // The call may be repeated, and may find that it was done.
      let checkpoint = realCheckpoint(step: 2)
      let path = try store.save(checkpoint)
      let stored = try CheckpointStore.load(directory.path)
      #expect(stored.checkpoint == checkpoint && stored.path == path)
    }
    #expect(refused == deceptions.count)
    try Evidence.add(
      .disk, file, times: deceptions.count,
      observed: "refused \(refused) of \(deceptions.count)")
  }

  @Test
  func `every flipped bit of the manifest is found`() throws {
    let directory = TemporaryDirectory()
    let checkpoint = try makeStore(directory).save(smallCheckpoint(step: 3))
    let path = "\(checkpoint)/MANIFEST.json"
    let whole = try bytes(of: path)
    for bit in 0..<(8 * whole.count) {
      var damaged = whole
      damaged[bit / 8] ^= 1 << (bit % 8)
      try overwrite(path, damaged)
      #expect(
        status { () throws(Failure) in _ = try CheckpointStore.load(checkpoint) } == .badData,
        "bit \(bit % 8) of byte \(bit / 8)")
    }
  }

  @Test
  func `the newest valid checkpoint is found behind damaged ones, which are named with the reason`() throws {
    let directory = TemporaryDirectory()
    let store = try makeStore(directory)
    for step in 1...3 { try store.save(smallCheckpoint(step: UInt64(step))) }
    try overwrite(store.directory + "/step-000000000003/model.safetensors", [])
    try overwrite(store.directory + "/step-000000000002/state.json", Array("{}".utf8))
    let search = try store.newestValid()
    #expect(search.newest?.checkpoint.step == 1)
    #expect(search.rejections.map { $0.path.suffix(1) } == ["3", "2"])
    #expect(search.rejections.allSatisfy { $0.failure.status == .badData })
    // A person who names the run gets its newest checkpoint or an error, never silently an older one.
    #expect(status { () throws(Failure) in _ = try CheckpointStore.load(directory.path) } == .badData)
    let report = try VerificationReport(of: directory.path)
    #expect(!report.isValid)
    #expect(report.firstFailure?.status == .badData)
    #expect(report.items.map { $0.firstFailure == nil } == [false, false, true])
  }

  @Test
  func `files of two checkpoints, and renamed checkpoints, are refused`() throws {
    let directory = TemporaryDirectory()
    let store = try makeStore(directory)
    let first = try store.save(smallCheckpoint(step: 1))
    let second = try store.save(smallCheckpoint(step: 2))
    rename(first, store.directory + "/step-000000000007")
    #expect(try store.newestValid().newest?.path == second)
    #expect(try store.newestValid().rejections.count == 1)
    try overwrite(second + "/MANIFEST.json", bytes(of: store.directory + "/step-000000000007/MANIFEST.json"))
    #expect(status { () throws(Failure) in _ = try CheckpointStore.load(second) } == .badData)
  }

  @Test
  func `what is missing gives 66; what is empty or something else gives 65`() throws {
    let directory = TemporaryDirectory()
    let path = directory.path
    mkdir(path + "/empty", 0o755)
    mkdir(path + "/foreign", 0o755)
    try overwrite(path + "/foreign/MANIFEST.json", Array(#"{"name": "a web application"}"#.utf8))
    try overwrite(path + "/empty.safetensors", [])
    try overwrite(path + "/text.safetensors", Array("not a model, but long enough for a header".utf8))
    mkdir(path + "/run", 0o755)
    mkdir(path + "/run/checkpoints", 0o755)
    mkfifo(path + "/pipe", 0o644)
    let expected: [(String, Diagnostics.ExitStatus)] = [
      ("nothing", .missingInput), ("run", .missingInput), ("empty", .badData), ("foreign", .badData),
      ("empty.safetensors", .badData), ("text.safetensors", .badData), ("pipe", .badData),
    ]
    for (name, expected) in expected {
      #expect(status { () throws(Failure) in _ = try TrainedModel.load("\(path)/\(name)") } == expected, "\(name)")
      #expect(status { () throws(Failure) in _ = try CheckpointReport(of: "\(path)/\(name)") } == expected, "\(name)")
      let verified = status { () throws(Failure) in
        if let failure = try VerificationReport(of: "\(path)/\(name)").firstFailure { throw failure }
      }
      #expect(verified == expected, "\(name)")
    }
  }

  @Test(arguments: [["2", "1", "1"], ["3", "1", "0"], ["3", "-1", "-1"], ["3", "1"], ["1.0", "1", "3"]])
  func `width, height and channels that are not those of the inputs are refused`(sides: [String]) throws {
    let directory = TemporaryDirectory()
    let path = directory.path + "/model.safetensors"
    let tensors: [SafetensorsFile.Tensor] = [
      ("weight", [2, 3], [1, 2, 3, 4, 5, 6]), ("bias", [2], [7, 8]), ("mean_image", [3], [1, 2, 3]),
    ]
    let metadata = zip(["width", "height", "channels"], sides).map { KeyValue($0, $1) }
    try overwrite(path, SafetensorsFile(metadata: metadata, tensors: tensors).encoded)
    let failure = #expect(throws: Failure.self) { try TrainedModel.load(path) }
    #expect(failure?.status == .badData)
    #expect(failure?.message == "\(path): wrong width, height or channels")
  }

  @Test
  func `a model without width, height and channels has points, or the pictures of CIFAR-10`() throws {
    let directory = TemporaryDirectory()
    for (pixels, shape) in [(3, InputShape(width: 1, height: 1, channels: 3)), (3072, .cifar10)] {
      let path = directory.path + "/\(pixels).safetensors"
      let tensors: [SafetensorsFile.Tensor] = [
        ("weight", [2, pixels], [Float](repeating: 1, count: 2 * pixels)), ("bias", [2], [7, 8]),
        ("mean_image", [pixels], [Float](repeating: 1, count: pixels)),
      ]
      try overwrite(path, SafetensorsFile(metadata: [], tensors: tensors).encoded)
      #expect(try TrainedModel.load(path).inputShape == shape)
    }
  }
}
