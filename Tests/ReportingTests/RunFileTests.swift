import Diagnostics
import FoundationEssentials
import Reporting
import TestSupport
import Testing

@Suite struct RunFileTests {
  private func runFile() -> RunFile {
    RunFile(
      run: "r1", arguments: ["descent", "train", "--seed", "7"],
      settings: [
        .init(key: "seed", value: "7", origin: "--seed"), .init(key: "data", value: nil, origin: "default"),
      ], seed: .max, datasetFingerprint: 0xAB, host: "host", cores: 2, processIdentifier: 42,
      started: UTCTime(microseconds: 0))
  }

  private func save(_ file: inout RunFile, to path: String) throws {
    try file.save(to: path, at: UTCTime(microseconds: 1_000_000))
  }

  @Test func `reads back what was written`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/file"
      var written = runFile()
      written.status = .finished
      written.stopReason = "epochs"
      written.append(.init(epoch: 1, step: 0, workers: 2, time: "1970-01-01T00:00:00.000000Z"))
      try save(&written, to: path)
      let read = try RunFile(readingFrom: path)
      #expect(read == written)
      #expect(read.seed == .max)
      #expect(read.datasetFingerprint == "00000000000000ab")
      #expect(read.updated == "1970-01-01T00:00:01.000000Z")
    }
  }

  @Test func `the history of the membership is bounded`() {
    var file = runFile()
    for epoch in 0..<2000 as Range<UInt64> {
      file.append(.init(epoch: epoch, step: epoch, workers: 1, time: "1970-01-01T00:00:00.000000Z"))
    }
    #expect(file.membershipEpochs.count == RunFile.membershipLimit)
    #expect(file.membershipEpochs.last?.epoch == 1999)
  }

  @Test func `says whether the file is missing or foreign`() throws {
    let missing = #expect(throws: Failure.self) { try RunFile(readingFrom: "/nowhere/run.json") }
    #expect(missing?.status == .missingInput)
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/file"
      try Data("{}".utf8).write(to: URL(filePath: path))
      let foreign = #expect(throws: Failure.self) { try RunFile(readingFrom: path) }
      #expect(foreign?.status == .badData)
    }
  }
}
