import Checkpoints
import Diagnostics
import Files
import Glibc
import Messaging
import Optimization
import TestSupport
import Testing

@Suite("The checkpoint store")
struct CheckpointStoreTests {
  private func names(_ store: CheckpointStore) throws -> [String] {
    try FileSystem().entries(of: store.directory)
  }

  @Test(arguments: Optimizer.Kind.allCases)
  func `what was saved is what is loaded, by every path that leads to it`(optimizer: Optimizer.Kind) throws {
    let directory = TemporaryDirectory()
    let store = try makeStore(directory)
    let checkpoint = smallCheckpoint(step: 1200, accuracy: 0.412, slotNames: optimizer.slotNames)
    let path = try store.save(checkpoint)
    #expect(path == directory.path + "/checkpoints/step-000000001200")
    for given in [path, directory.path, store.directory + "/latest"] {
      #expect(try CheckpointStore.load(given).checkpoint == checkpoint)
    }
    let found = try store.newestValid()
    #expect(
      found.newest?.checkpoint == checkpoint && found.newest?.path == path && found.rejections.isEmpty)
    #expect(FileSystem().symbolicLinkTarget(store.directory + "/latest") == "step-000000001200")
    #expect(checkpoint.step == 1200)
  }

  @Test func `a velocity under the names of the model's tensors, as earlier versions wrote it, is loaded`() throws {
    let checkpoint = smallCheckpoint(step: 7)
    var files: [CheckpointFile: [UInt8]] = [:]
    for (file, bytes) in checkpoint.encoded() { files[file] = bytes }
    let new = try SafetensorsFile(decoding: files[.optimizer] ?? [], path: "new")
    #expect(new.entries.map(\.name) == ["velocity.bias", "velocity.weight"])
    let tensors = try ["weight", "bias"].map { name in
      let tensor = try new.finiteTensor(named: "velocity.\(name)", path: "new")
      return (name: name, shape: tensor.shape, values: tensor.values)
    }
    files[.optimizer] = SafetensorsFile(metadata: new.metadata, tensors: tensors).encoded
    #expect(try Checkpoint(decoding: files, directory: "old") == checkpoint)
  }

  @Test func `vectors of no optimizer are refused`() throws {
    let checkpoint = smallCheckpoint(step: 7, slotNames: ["first_moment"])
    var files: [CheckpointFile: [UInt8]] = [:]
    for (file, bytes) in checkpoint.encoded() { files[file] = bytes }
    let failure = #expect(throws: Failure.self) { try Checkpoint(decoding: files, directory: "it") }
    #expect(failure?.status == .badData && failure?.found == "first_moment.bias, first_moment.weight")
  }

  @Test
  func `the real model's size round-trips, with its digest`() throws {
    let directory = TemporaryDirectory()
    let checkpoint = realCheckpoint(step: 0)
    try makeStore(directory).save(checkpoint)
    let model = try TrainedModel.load(directory.path)
    #expect(model == checkpoint.model)
    #expect(weightsSHA256(model.parameters) == weightsSHA256(checkpoint.model.parameters))
  }

  @Test
  func `the digest of the weights is that of their little-endian bytes`() {
    // printf '\x00\x00\x80\x3f\x00\x00\x00\xc0' | sha256sum
    let expected = "ee4ac73c2bd27756ab82780f27c73a7bc4d3f0bb6acb37e008bc27eccd7e588b"
    #expect(weightsSHA256(ParameterVector([1, -2])) == expected)
  }

  @Test
  func `saving the same again is a success and changes nothing; other bytes replace the old ones`() throws {
    let directory = TemporaryDirectory()
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

  @Test
  func `a model that is not finite, or contradicts itself, is not saved`() throws {
    let directory = TemporaryDirectory()
    let store = try makeStore(directory)
    var diverged = smallCheckpoint(step: 1)
    diverged.run.snapshot.state = OptimizerState(
      parameters: ParameterVector([0, 1, 2, .nan, 4, 5, 6, 7]), slots: [ParameterVector(zeros: 8)])
    var short = smallCheckpoint(step: 1)
    short.origin.meanImage.removeLast()
    var cut = smallCheckpoint(step: 1)
    cut.run.snapshot.state = OptimizerState(parameters: ParameterVector(zeros: 7), slots: [])
    var moments = smallCheckpoint(step: 1)
    moments.origin.slotNames = ["first_moment", "second_moment"]
    var twice = smallCheckpoint(step: 1)
    twice.origin.settings.append(twice.origin.settings[0])
    for checkpoint in [diverged, short, cut, moments, twice] {
      #expect(status { () throws(Failure) in try store.save(checkpoint) } == .internalError)
    }
    #expect(try names(store).isEmpty)
  }

  @Test
  func `pruning keeps the last ones, the best one, and the one that latest points to`() throws {
    let directory = TemporaryDirectory()
    let store = try makeStore(directory)
    for step in 0...5 as ClosedRange<UInt64> { try store.save(smallCheckpoint(step: step, best: min(step, 1))) }
    let removed = try store.prune(keepLast: 2)
    #expect(removed.map { $0.suffix(1) } == ["3", "2", "0"])
    #expect(try names(store) == ["best", "latest", "step-000000000001", "step-000000000004", "step-000000000005"])
    try store.save(smallCheckpoint(step: 2))
    try store.prune(keepLast: 1)
    #expect(
      try names(store) == ["best", "latest", "step-000000000001", "step-000000000002", "step-000000000005"])
    #expect(try CheckpointStore.load(directory.path).checkpoint.step == 2)
  }

  @Test
  func `the best checkpoint that is replaced by other bytes of its step stays the best, also after a crash between`()
    throws
  {
    let directory = TemporaryDirectory()
    let store = try makeStore(directory)
    try store.save(smallCheckpoint(step: 5, best: 5, seconds: 1))
    try store.save(smallCheckpoint(step: 5, best: 5, seconds: 2))
    #expect(try CheckpointStore.load(directory.path + "@best").checkpoint.seconds == 2)
    // As if the writer had died after it had pointed `latest` to the replacement, and not yet `best`.
    try store.save(smallCheckpoint(step: 5, best: 5, seconds: 3))
    let replacement = store.directory + "/step-000000000005-replacement"
    try FileSystem().makeDirectory(replacement)
    unlink(store.directory + "/latest")
    symlink("step-000000000005-replacement", store.directory + "/latest")
    try store.save(smallCheckpoint(step: 5, best: 5, seconds: 4))
    #expect(try CheckpointStore.load(directory.path + "@best").checkpoint.seconds == 4)
    #expect(try names(store).count == 3)
  }

  @Test
  func `a link best that points to no checkpoint is reported, and a run without one is valid`() throws {
    let directory = TemporaryDirectory()
    let store = try makeStore(directory)
    try store.save(smallCheckpoint(step: 1))
    #expect(try VerificationReport(of: directory.path).isValid)
    symlink("step-000000000009", store.directory + "/best")
    #expect(try VerificationReport(of: directory.path).firstFailure?.message.contains("/best ") == true)
  }

  @Test
  func `what a crashed writer left half done is cleared away`() throws {
    let directory = TemporaryDirectory()
    let store = try makeStore(directory)
    mkdir(store.directory + "/.tmp-7-1-ab", 0o755)
    try overwrite(store.directory + "/.tmp-7-1-ab/model.safetensors", [1, 2, 3])
    symlink("step-000000000001", store.directory + "/.tmp-latest-ab")
    try store.prepareForWriting()
    #expect(try names(store).isEmpty)
  }

  @Test
  func `nothing outside the directory is read, written or removed through a link`() throws {
    let directory = TemporaryDirectory()
    let outside = TemporaryDirectory()
    let foreign = try makeStore(outside).save(smallCheckpoint(step: 9))
    let store = try makeStore(directory)
    symlink(foreign, store.directory + "/step-000000000009")
    symlink(outside.path, store.directory + "/.tmp-1-1-ab")
    symlink(foreign, store.directory + "/latest")
    try store.prepareForWriting()
    let found = try store.newestValid()
    #expect(found.newest == nil && found.rejections.isEmpty)
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

@Suite("Reports")
struct ReportTests {
  @Test
  func `inspection shows tensors, step, metrics and settings, for people and as JSON`() throws {
    let directory = TemporaryDirectory()
    try makeStore(directory).save(smallCheckpoint(step: 12, accuracy: 0.4))
    let report = try CheckpointReport(of: directory.path)
    #expect(report.tensors.map(\.name) == ["bias", "mean_image", "weight", "velocity.bias", "velocity.weight"])
    #expect(report.tensors[1].largest == 255)
    #expect(report.text.contains("setting.learning-rate"))
    let fields = try JSONFields(parsing: Array(report.json.utf8), source: "report")
    #expect(try fields["step"] == 12)
    #expect(try fields["validation_accuracy"] == 0.4)
    let bare = try CheckpointReport(of: directory.path + "/checkpoints/latest/model.safetensors")
    #expect(bare.checkpoint == nil)
    #expect(bare.model == report.model)
  }

  @Test
  func `verification names every file with its size and digest`() throws {
    let directory = TemporaryDirectory()
    let path = try makeStore(directory).save(smallCheckpoint(step: 12))
    let report = try VerificationReport(of: path)
    #expect(report.isValid)
    #expect(report.items[0].files.map(\.sha256?.count) == [64, 64, 64])
    #expect(report.text.contains("valid"))
    let latest = directory.path + "/checkpoints/latest"
    unlink(latest)
    #expect(try VerificationReport(of: directory.path).isValid)
    symlink("step-000000000011", latest)
    #expect(try !VerificationReport(of: directory.path).isValid)
  }
}
