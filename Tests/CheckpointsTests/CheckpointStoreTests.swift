import Checkpoints
import Diagnostics
import Evidence
import Glibc
import JSONText
import Optimization
import Testing

@Suite("The checkpoint store")
struct CheckpointStoreTests {
  private func names(_ store: CheckpointStore) throws -> [String] {
    try FileSystem().entries(of: store.directory)
  }

  @Test("what was saved is what is loaded, by every path that leads to it", arguments: [true, false])
  func roundTrip(velocity: Bool) throws {
    let directory = try TemporaryDirectory()
    let store = try makeStore(directory)
    let checkpoint = smallCheckpoint(step: 1200, accuracy: 0.412, velocity: velocity)
    let path = try store.save(checkpoint)
    #expect(path == directory.path + "/checkpoints/step-000000001200")
    for given in [path, directory.path, store.directory + "/latest"] {
      #expect(try CheckpointStore.load(given).checkpoint == checkpoint)
    }
    #expect(
      try store.newestValid() == CheckpointSearch(newest: .init(checkpoint: checkpoint, path: path), rejections: []))
    #expect(FileSystem().symbolicLinkTarget(store.directory + "/latest") == "step-000000001200")
    #expect(checkpoint.trainingState.step == 1200)
  }

  @Test("the real model's size round-trips, with its digest")
  func fullSize() throws {
    let directory = try TemporaryDirectory()
    let checkpoint = realCheckpoint(step: 0)
    try makeStore(directory).save(checkpoint)
    let model = try TrainedModel.load(directory.path)
    #expect(model == checkpoint.model)
    #expect(weightsSHA256(model.parameters) == weightsSHA256(checkpoint.parameters))
  }

  @Test("the digest of the weights is that of their little-endian bytes")
  func digest() {
    // printf '\x00\x00\x80\x3f\x00\x00\x00\xc0' | sha256sum
    let expected = "ee4ac73c2bd27756ab82780f27c73a7bc4d3f0bb6acb37e008bc27eccd7e588b"
    #expect(weightsSHA256(ParameterVector([1, -2])) == expected)
  }

  @Test("saving the same again is a success and changes nothing; other bytes replace the old ones")
  func savingTwice() throws {
    let directory = try TemporaryDirectory()
    let store = try makeStore(directory)
    let first = try store.save(smallCheckpoint(step: 5, seconds: 1))
    #expect(try store.save(smallCheckpoint(step: 5, seconds: 1)) == first)
    #expect(try names(store) == ["latest", "step-000000000005"])
    let second = try store.save(smallCheckpoint(step: 5, seconds: 2))
    #expect(try names(store) == ["latest", "step-000000000005-replacement"])
    #expect(try CheckpointStore.load(second).checkpoint.seconds == 2)
    #expect(try CheckpointStore.load(directory.path).checkpoint.seconds == 2)
    #expect(try store.save(smallCheckpoint(step: 5, seconds: 3)) == first)
    #expect(try names(store) == ["latest", "step-000000000005"])
  }

  @Test("a model that is not finite, or contradicts itself, is not saved")
  func refusals() throws {
    let directory = try TemporaryDirectory()
    let store = try makeStore(directory)
    var diverged = smallCheckpoint(step: 1)
    diverged.parameters.values[3] = .nan
    var short = smallCheckpoint(step: 1)
    short.meanImage.removeLast()
    var twice = smallCheckpoint(step: 1)
    twice.settings.append(twice.settings[0])
    for checkpoint in [diverged, short, twice] {
      #expect(status { () throws(Failure) in try store.save(checkpoint) } == .internalError)
    }
    #expect(try names(store).isEmpty)
  }

  @Test("pruning keeps the last ones, the best one, and the one that latest points to")
  func pruning() throws {
    let directory = try TemporaryDirectory()
    let store = try makeStore(directory)
    let accuracies = [0.3, 0.45, 0.45, 0.2, 0.41, 0.1]
    for (step, accuracy) in accuracies.enumerated() {
      try store.save(smallCheckpoint(step: UInt64(step), accuracy: accuracy))
    }
    let removed = try store.prune(keepLast: 2)
    // Steps 1 and 2 are equally good: the newer one stays.
    #expect(removed.map { $0.suffix(1) } == ["3", "1", "0"])
    #expect(try names(store) == ["latest", "step-000000000002", "step-000000000004", "step-000000000005"])
    try store.save(smallCheckpoint(step: 1, accuracy: 0.1))
    try store.prune(keepLast: 1, keepBest: false)
    #expect(try names(store) == ["latest", "step-000000000001", "step-000000000005"])
    #expect(try CheckpointStore.load(directory.path).checkpoint.step == 1)
  }

  @Test("what a crashed writer left half done is cleared away")
  func staleTemporaries() throws {
    let directory = try TemporaryDirectory()
    let store = try makeStore(directory)
    mkdir(store.directory + "/.tmp-7-1-ab", 0o755)
    try overwrite(store.directory + "/.tmp-7-1-ab/model.safetensors", [1, 2, 3])
    symlink("step-000000000001", store.directory + "/.tmp-latest-ab")
    try store.prepareForWriting()
    #expect(try names(store).isEmpty)
  }

  @Test("nothing outside the directory is read, written or removed through a link")
  func linksAreNotFollowed() throws {
    let directory = try TemporaryDirectory()
    let outside = try TemporaryDirectory()
    let foreign = try makeStore(outside).save(smallCheckpoint(step: 9))
    let store = try makeStore(directory)
    symlink(foreign, store.directory + "/step-000000000009")
    symlink(outside.path, store.directory + "/.tmp-1-1-ab")
    symlink(foreign, store.directory + "/latest")
    try store.prepareForWriting()
    #expect(try store.newestValid() == CheckpointSearch(newest: nil, rejections: []))
    #expect(status { () throws(Failure) in _ = try CheckpointStore.load(directory.path) } == .missingInput)
    let path = try store.save(smallCheckpoint(step: 9, seconds: 99))
    #expect(path.hasSuffix("-replacement"))
    try store.save(smallCheckpoint(step: 10))
    try store.prune(keepLast: 1)
    #expect(try CheckpointStore.load(foreign).checkpoint == smallCheckpoint(step: 9))
    // A linked file inside a checkpoint is refused even where its bytes are the right ones.
    let model = store.directory + "/step-000000000010/model.safetensors"
    try overwrite(outside.path + "/copy", bytes(of: model))
    unlink(model)
    symlink(outside.path + "/copy", model)
    #expect(status { () throws(Failure) in _ = try CheckpointStore.load(directory.path) } == .badData)
  }
}

@Suite("Damage")
struct DamageTests {
  private static let files = ["model.safetensors", "optimizer.safetensors", "state.json", "MANIFEST.json"]

  @Test("every truncation and every flipped bit is found", arguments: files)
  func everyByte(file: String) throws {
    let directory = try TemporaryDirectory()
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
      .disk,
      "\(file) of a small checkpoint truncated to every length, a bit of every byte flipped, lengthened, missing",
      times: 2 * whole.count + 2, expected: "65, never loaded", observed: "refused \(refused) of \(2 * whole.count + 2)"
    )
  }

  @Test("the same for a checkpoint of the real size: all of the header, the end, and every 1499th byte between")
  func realSize() throws {
    let directory = try TemporaryDirectory()
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
      .disk,
      "a model.safetensors of \(whole.count) bytes truncated, and a bit flipped, at each byte of its header, every "
        + "1499th, and the last 64", times: 2 * positions.count, expected: "65, never loaded",
      observed: "refused \(refused) of \(2 * positions.count)")
  }

  @Test("every flipped bit of the manifest is found")
  func everyBitOfTheManifest() throws {
    let directory = try TemporaryDirectory()
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

  @Test("the newest valid checkpoint is found behind damaged ones, which are named with the reason")
  func fallback() throws {
    let directory = try TemporaryDirectory()
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

  @Test("files of two checkpoints, and renamed checkpoints, are refused")
  func mixedFiles() throws {
    let directory = try TemporaryDirectory()
    let store = try makeStore(directory)
    let first = try store.save(smallCheckpoint(step: 1))
    let second = try store.save(smallCheckpoint(step: 2))
    rename(first, store.directory + "/step-000000000007")
    #expect(try store.newestValid().newest?.path == second)
    #expect(try store.newestValid().rejections.count == 1)
    try overwrite(second + "/MANIFEST.json", bytes(of: store.directory + "/step-000000000007/MANIFEST.json"))
    #expect(status { () throws(Failure) in _ = try CheckpointStore.load(second) } == .badData)
  }

  @Test("what is missing gives 66; what is empty or something else gives 65")
  func foreignInput() throws {
    let directory = try TemporaryDirectory()
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

  @Test("a model of another shape is refused by name")
  func wrongShape() throws {
    let directory = try TemporaryDirectory()
    try makeStore(directory).save(smallCheckpoint(step: 1))
    let failure = #expect(throws: Failure.self) { try TrainedModel.load(directory.path) }
    #expect(failure?.status == .badData)
    #expect(failure?.found == "weight [2, 3]")
  }
}

@Suite("Reports")
struct ReportTests {
  @Test("inspection shows tensors, step, metrics and settings, for people and as JSON")
  func inspection() throws {
    let directory = try TemporaryDirectory()
    try makeStore(directory).save(smallCheckpoint(step: 12, accuracy: 0.4))
    let report = try CheckpointReport(of: directory.path)
    #expect(report.tensors.map(\.name) == ["bias", "mean_image", "weight", "bias", "weight"])
    #expect(report.tensors[1].largest == 255)
    #expect(report.text.contains("setting.learning-rate"))
    let json = try JSONReader.parse(Array(report.json.utf8)[...], source: "report")
    let fields = try JSONFields(json, context: "report")
    #expect(try fields.integer("step", as: Int.self) == 12)
    #expect(try fields.double("validation_accuracy") == 0.4)
    let bare = try CheckpointReport(of: directory.path + "/checkpoints/latest/model.safetensors")
    #expect(bare.checkpoint == nil)
    #expect(bare.model == report.model)
  }

  @Test("verification names every file with its size and digest")
  func verification() throws {
    let directory = try TemporaryDirectory()
    let path = try makeStore(directory).save(smallCheckpoint(step: 12))
    let report = try VerificationReport(of: path)
    #expect(report.isValid)
    #expect(report.items[0].files.map(\.sha256?.count) == [64, 64, 64])
    #expect(report.text.contains("valid"))
    unlink(directory.path + "/checkpoints/latest")
    #expect(try !VerificationReport(of: directory.path).isValid)
  }
}
