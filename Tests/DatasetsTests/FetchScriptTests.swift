import Datasets
import Foundation
import TestSupport
import Testing

/// Scripts/fetch-cifar10.sh against an archive of its own at a file:// address, as the real one is far away.
@Suite(.enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/curl"), "curl is not installed"))
struct `The fetch script` {
  let directory: TemporaryDirectory
  let archive: String
  let archiveDigest: String
  let destination: String

  init() throws {
    directory = TemporaryDirectory()
    let source = directory.path + "/source/cifar-10-batches-bin"
    try SyntheticDataset.write(to: source, trainingExamples: 50, testExamples: 10)
    archive = directory.path + "/archive.tar.gz"
    destination = directory.path + "/data/cifar10"
    let tar = try run(
      "/usr/bin/env", ["tar", "-C", directory.path + "/source", "-czf", archive, "cifar-10-batches-bin"])
    try #require(tar.status == 0)
    archiveDigest = try sha256(ofFile: archive)
  }

  @Test func `unpacks a right archive and leaves nothing else behind`() throws {
    let result = try fetch()
    #expect(result.status == 0, "\(result.errors)")
    #expect(try Dataset(directory: destination, part: .training).count == 50)
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path + "/data") == ["cifar10"])
  }

  @Test func `without an argument, the data go where DESCENT_DATA says`() throws {
    let result = try run(
      script, [],
      environment: [
        "DESCENT_DATA": destination, "DESCENT_CIFAR10_URL": "file://" + archive,
        "DESCENT_CIFAR10_SHA256": archiveDigest,
      ])
    #expect(result.status == 0, "\(result.errors)")
    #expect(try Dataset(directory: destination, part: .training).count == 50)
  }

  @Test func `continues a download that was interrupted`() throws {
    // An archive that had arrived but for its last 1,000 bytes; the address serves all of it.
    let part = try contents(of: archive).dropLast(1000)
    try directory.write(part, to: "data/cifar10.download/cifar-10-binary.tar.gz")
    let result = try fetch()
    #expect(result.status == 0, "\(result.errors)")
    #expect(!result.errors.contains("starting again"))
    #expect(try Dataset(directory: destination, part: .test).count == 10)
  }

  @Test func `starts again when what is there is longer than the archive`() throws {
    try directory.write([UInt8](repeating: 0, count: 1 << 20), to: "data/cifar10.download/cifar-10-binary.tar.gz")
    let result = try fetch()
    #expect(result.status == 0, "\(result.errors)")
    #expect(result.errors.contains("starting again"))
  }

  @Test func `refuses an archive with another checksum, shows both, and unpacks nothing`() throws {
    let wrong = String(repeating: "0", count: 64)
    let result = try fetch(digest: wrong)
    #expect(result.status == 65)
    #expect(result.errors.contains("found    sha256 \(archiveDigest)"))
    #expect(result.errors.contains("expected sha256 \(wrong)"))
    #expect(!FileManager.default.fileExists(atPath: destination))
    #expect(!FileManager.default.fileExists(atPath: destination + ".download/cifar-10-binary.tar.gz"))
  }

  @Test func `brings back a missing file and leaves the right ones alone`() throws {
    #expect(try fetch().status == 0)
    let kept = destination + "/data_batch_1.bin"
    let before = try FileManager.default.attributesOfItem(atPath: kept)[.systemFileNumber] as? Int
    try FileManager.default.removeItem(atPath: destination + "/data_batch_3.bin")
    #expect(try fetch().status == 0)
    #expect(try Dataset(directory: destination, part: .training).count == 50)
    #expect(try FileManager.default.attributesOfItem(atPath: kept)[.systemFileNumber] as? Int == before)
  }

  @Test func `never overwrites other data`() throws {
    let other = try directory.write(records(labels: [1]), to: "data/cifar10/test_batch.bin")
    let result = try fetch()
    #expect(result.status == 73)
    #expect(result.errors.contains("\(other) holds other data"))
    #expect(try contents(of: other) == records(labels: [1]))
  }

  @Test func `other data is refused before the official archive is fetched`() throws {
    try directory.write(records(labels: [1]), to: "data/cifar10/test_batch.bin")
    let result = try run(
      script, [destination],
      environment: ["DESCENT_CIFAR10_URL": "file://" + archive, "DESCENT_CIFAR10_SHA256": ""])
    #expect(result.status == 73)
    #expect(result.errors.contains("expected sha256 8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"))
    #expect(!FileManager.default.fileExists(atPath: destination + ".download"))
  }

  @Test func `says so when the address cannot be reached`() throws {
    let result = try fetch(address: "file://" + directory.path + "/nowhere.tar.gz")
    #expect(result.status == 69)
    #expect(result.errors.contains("descent data synthesize DIR"))
  }

  @Test func `explains itself, and refuses flags it does not know`() throws {
    let help = try run(script, ["--help"])
    #expect(help.status == 0)
    #expect(help.output.contains("DESCENT_CIFAR10_SHA256"))
    #expect(try run(script, ["--wrong"]).status == 64)
    #expect(try run(script, ["one", "two"]).status == 64)
  }

  private var script: String {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("Scripts/fetch-cifar10.sh").path
  }

  private func fetch(address: String? = nil, digest: String? = nil) throws -> CommandResult {
    try run(
      script, [destination],
      environment: [
        "DESCENT_CIFAR10_URL": address ?? "file://" + archive,
        "DESCENT_CIFAR10_SHA256": digest ?? archiveDigest,
      ])
  }
}

private struct CommandResult {
  var status: Int32
  var output: String
  var errors: String
}

private func run(
  _ command: String, _ arguments: [String], environment: [String: String] = [:]
) throws -> CommandResult {
  let process = Process()
  process.executableURL = URL(fileURLWithPath: command)
  process.arguments = arguments
  process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
  // Both outputs are a few lines, far less than a pipe holds, so they can be read one after the other.
  let (output, errors) = (Pipe(), Pipe())
  (process.standardOutput, process.standardError) = (output, errors)
  try process.run()
  let outputBytes = output.fileHandleForReading.readDataToEndOfFile()
  let errorBytes = errors.fileHandleForReading.readDataToEndOfFile()
  process.waitUntilExit()
  return CommandResult(
    status: process.terminationStatus, output: String(decoding: outputBytes, as: UTF8.self),
    errors: String(decoding: errorBytes, as: UTF8.self))
}
