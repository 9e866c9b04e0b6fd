import Diagnostics
import FoundationEssentials
import Optimization
import Reporting
import TestSupport
import Testing

@Suite struct RunFileTests {
  private func runFile() -> RunFile {
    var file = RunFile(run: "r1", seed: .max, datasetFingerprint: 0xAB, started: UTCTime(microseconds: 0))
    file.arguments = ["descent", "train", "--seed", "7"]
    file.settings = [
      .init(key: "seed", value: "7", origin: "--seed"), .init(key: "data", value: nil, origin: "default"),
    ]
    (file.host, file.cores, file.pid) = ("host", 2, 42)
    return file
  }

  private func save(_ file: inout RunFile, to path: String) throws {
    try file.save(to: path, at: UTCTime(microseconds: 1_000_000))
  }

  @Test func `reads back what was written`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/file"
      var written = runFile()
      written.status = .finished
      written.stopReason = .epochs
      written.startedFrom = WeightsOrigin(path: "runs/a@best", run: "a", step: 7, weightsSHA256: "00")
      written.append(epoch: 1, step: 0, workers: 2, at: UTCTime(microseconds: 0))
      try save(&written, to: path)
      let read = try RunFile(readingFrom: path)
      #expect(read == written)
      #expect(read.seed == .max)
      #expect(read.datasetFingerprint == "00000000000000ab")
      #expect(read.updated == "1970-01-01T00:00:01.000000Z")
    }
  }

  @Test func `the JSON has exactly the keys promised`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/file"
      var file = runFile()
      file.append(epoch: 1, step: 0, workers: 2, at: UTCTime(microseconds: 0))
      try save(&file, to: path)
      let expected = #"""
        {
          "run": "r1",
          "status": "running",
          "stop_reason": null,
          "started": "1970-01-01T00:00:00.000000Z",
          "updated": "1970-01-01T00:00:01.000000Z",
          "host": "host",
          "cores": 2,
          "started_from": null,
          "pid": 42,
          "arguments": ["descent","train","--seed","7"],
          "seed": 18446744073709551615,
          "dataset_fingerprint": "00000000000000ab",
          "settings": [
            {
              "key": "seed",
              "value": "7",
              "origin": "--seed"
            },
            {
              "key": "data",
              "value": null,
              "origin": "default"
            }
          ],
          "membership_epochs": [
            {
              "epoch": 1,
              "step": 0,
              "workers": 2,
              "time": "1970-01-01T00:00:00.000000Z"
            }
          ]
        }

        """#
      #expect(try String(contentsOf: URL(filePath: path), encoding: .utf8) == expected)
    }
  }

  @Test func `the history of the membership is bounded`() {
    var file = runFile()
    for epoch in 0..<2000 as Range<UInt64> {
      file.append(epoch: epoch, step: epoch, workers: 1, at: UTCTime(microseconds: 0))
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
