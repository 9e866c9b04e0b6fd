import Diagnostics
import FoundationEssentials
import Optimization
import Reporting
import TestSupport
import Testing

@Suite struct RunFileTests {
  private func runFile() -> RunFile {
    let start = RunFile.Start(
      command: ["descent", "train", "--seed", "7"], time: UTCTime(microseconds: 0), host: "host", pid: 41,
      resumedFrom: nil)
    var file = RunFile(run: "r1", seed: .max, datasetFingerprint: 0xAB, start: start)
    file.settings = ["seed": .number("7"), "lease-seconds": .number("0.5"), "data": .null]
    file.origins = ["seed": .string("--seed"), "lease-seconds": .string("a.yaml:2"), "data": .string("default")]
    (file.cores, file.pid, file.endpoint) = (2, 42, "tcp://10.0.0.1:40123")
    (file.versions.descent, file.versions.commit, file.versions.networkProtocol) = ("1.2.3", "0123456789ab", 5)
    (file.versions.compiler, file.versions.kernel) = ("6.2", "avx2")
    return file
  }

  private func save(_ file: inout RunFile, to path: String) throws {
    try file.save(to: path, at: UTCTime(microseconds: 1_000_000))
  }

  @Test func `reads back what was written`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/file"
      var written = runFile()
      written.startedFrom = WeightsOrigin(path: "runs/a@best", run: "a", step: 7, weightsSHA256: "00")
      written.append(epoch: 1, step: 0, workers: 2, at: UTCTime(microseconds: 0))
      written.append(restartOf: "worker-1@host", after: "was killed by signal 9", at: UTCTime(microseconds: 0))
      written.end(
        .interrupted, .signal, signal: "SIGTERM", message: "interrupted", step: 7, at: UTCTime(microseconds: 0))
      try save(&written, to: path)
      let read = try RunFile(readingFrom: path)
      #expect(read == written)
      #expect(read.seed == .max)
      #expect(read.starts.map(\.ended) == [.signal])
      #expect(read.datasetFingerprint == "00000000000000ab")
      #expect(read.updated == "1970-01-01T00:00:01.000000Z")
    }
  }

  @Test func `the JSON has exactly the keys promised`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/file"
      var file = runFile()
      file.append(epoch: 1, step: 0, workers: 2, at: UTCTime(microseconds: 0))
      file.append(restartOf: "worker-1@host", after: "was killed by signal 9", at: UTCTime(microseconds: 0))
      file.end(.finished, .epochs, signal: nil, message: "finished", step: 7, at: UTCTime(microseconds: 0))
      try save(&file, to: path)
      let expected = #"""
        {
          "run": "r1",
          "status": "finished",
          "ended": {
            "reason": "epochs",
            "signal": null,
            "message": "finished",
            "step": 7,
            "time": "1970-01-01T00:00:00.000000Z"
          },
          "started": "1970-01-01T00:00:00.000000Z",
          "updated": "1970-01-01T00:00:01.000000Z",
          "host": "host",
          "cores": 2,
          "started_from": null,
          "pid": 42,
          "endpoint": "tcp://10.0.0.1:40123",
          "versions": {
            "descent": "1.2.3",
            "commit": "0123456789ab",
            "network_protocol": 5,
            "compiler": "6.2",
            "kernel": "avx2"
          },
          "starts": [
            {
              "command": ["descent","train","--seed","7"],
              "time": "1970-01-01T00:00:00.000000Z",
              "host": "host",
              "pid": 41,
              "resumed_from": null,
              "ended": "epochs"
            }
          ],
          "restarts": [
            {
              "process": "worker-1@host",
              "time": "1970-01-01T00:00:00.000000Z",
              "former_exit": "was killed by signal 9"
            }
          ],
          "seed": 18446744073709551615,
          "dataset_fingerprint": "00000000000000ab",
          "settings": {
            "seed": 7,
            "lease-seconds": 0.5,
            "data": null
          },
          "origins": {
            "seed": "--seed",
            "lease-seconds": "a.yaml:2",
            "data": "default"
          },
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
      file.append(restartOf: "worker-\(epoch)@host", after: "", at: UTCTime(microseconds: 0))
    }
    #expect(file.membershipEpochs.count == RunFile.historyLimit)
    #expect(file.membershipEpochs.last?.epoch == 1999)
    #expect(file.restarts.count == RunFile.historyLimit)
    #expect(file.restarts.last?.process == "worker-1999@host")
  }

  @Test func `a file of the version before is read without its settings`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/file"
      let former = #"""
        {"run": "r1", "status": "interrupted", "stop_reason": "stopped", "started": "1970", "updated": "1971",
         "host": "host", "cores": 2, "pid": 42, "arguments": ["descent"], "seed": 1, "dataset_fingerprint": "ab",
         "settings": [{"key": "seed", "value": "7", "origin": "--seed"}],
         "membership_epochs": [{"epoch": 3, "step": 5, "workers": 2, "time": "1970"}]}
        """#
      try Data(former.utf8).write(to: URL(filePath: path))
      let file = try RunFile(readingFrom: path)
      #expect(file.run == "r1" && file.status == .interrupted && file.starts.isEmpty)
      #expect(file.membershipEpochs.map(\.epoch) == [3])
    }
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
