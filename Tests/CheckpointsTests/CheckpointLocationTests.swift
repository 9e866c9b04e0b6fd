import Checkpoints
import Diagnostics
import Files
import TestSupport
import Testing

@Suite("Checkpoint selectors")
struct CheckpointLocationTests {
  /// Steps 500, which is the best, 1000 and 1044.
  private func run() throws -> (directory: TemporaryDirectory, store: CheckpointStore) {
    let directory = TemporaryDirectory()
    let store = try makeStore(directory)
    for step in [500, 1000, 1044] as [UInt64] { try store.save(smallCheckpoint(step: step, best: 500)) }
    return (directory, store)
  }

  private func failure(_ selector: String) -> Failure? {
    do throws(Failure) {
      _ = try CheckpointStore.locate(selector)
      return nil
    } catch {
      return error
    }
  }

  @Test
  func `a selector finds the best, the latest and each step; a path is taken as it is`() throws {
    let (directory, store) = try run()
    for (selector, step) in [
      ("", 1044), ("@latest", 1044), ("@best", 500), ("@500", 500), ("@1000", 1000), ("/checkpoints/best", 500),
    ] as [(String, UInt64)] {
      #expect(try CheckpointStore.load(directory.path + selector).checkpoint.step == step)
    }
    #expect(try CheckpointStore.locate(directory.path + "@best") == store.directory + "/step-000000000500")
    #expect(try CheckpointStore.locate(directory.path) == directory.path)
    #expect(try CheckpointReport(of: directory.path + "@1000").checkpoint?.step == 1000)
    #expect(try VerificationReport(of: directory.path + "@1000").items.count == 1)
    #expect(try TrainedModel.load(directory.path + "@best").classNames.count == 2)
  }

  @Test
  func `a directory whose name contains an at sign is found`() throws {
    let (directory, _) = try run()
    let named = TemporaryDirectory()
    let path = named.path + "/a@best"
    try FileSystem().makeSymbolicLink(path, target: directory.path)
    #expect(try CheckpointStore.load(path).checkpoint.step == 1044)
    #expect(try CheckpointStore.load(path + "@best").checkpoint.step == 500)
  }

  @Test
  func `an error names the checkpoints there are`() throws {
    let (directory, store) = try run()
    let listing = "\(directory.path) has steps 500 (best), 1000, 1044 (latest)"
    let missing = failure(directory.path + "@501")
    #expect(missing?.status == .missingInput)
    #expect(missing?.description == "there is no checkpoint \(directory.path)@501: \(listing)")
    #expect(
      failure(directory.path + "@newest")?.description
        == "\"newest\" selects no checkpoint: \(listing). Append @best, @latest or @STEP to the run directory")
    #expect(failure(directory.path + "/none@best")?.message.contains("does not exist") == true)
    #expect(failure(store.directory + "/step-000000000500@best")?.message.hasSuffix("has no checkpoint") == true)
    let unevaluated = TemporaryDirectory()
    try makeStore(unevaluated).save(smallCheckpoint(step: 7))
    #expect(failure(unevaluated.path + "@best")?.message.hasSuffix("has step 7 (latest)") == true)
  }

  @Test
  func `a checkpoint of a version that recorded neither the best one nor the accuracy in training is read`() throws {
    let checkpoint = smallCheckpoint(step: 3, best: 2)
    var files = Dictionary(uniqueKeysWithValues: checkpoint.encoded().map { ($0.file, $0.bytes) })
    #expect(try Checkpoint(decoding: files, directory: "new") == checkpoint)
    let state = String(decoding: files[.state] ?? [], as: UTF8.self)
    let start = try #require(state.firstRange(of: "  \"best\""))
    let end = try #require(state.firstRange(of: "  \"convergence\""))
    let accuracy = try #require(state.firstRange(of: "  \"train_accuracy\": 0.3,\n"))
    let kept = [state[..<accuracy.lowerBound], state[accuracy.upperBound..<start.lowerBound], state[end.lowerBound...]]
    files[.state] = Array(kept.joined().utf8)
    let old = try Checkpoint(decoding: files, directory: "old")
    #expect(old.run.best == nil && old.run.snapshot == checkpoint.run.snapshot)
    #expect(old.run.train?.meanLoss == .leastNonzeroMagnitude && old.run.train?.accuracy.isNaN == true)
  }
}
