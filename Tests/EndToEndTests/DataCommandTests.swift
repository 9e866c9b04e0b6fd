import Foundation
import TestSupport
import Testing

/// `descent data` as people call it.
@Suite struct DataCommandTests {
  private let directory = TemporaryDirectory()

  private func idx(_ count: Int) throws -> String {
    let size = [count >> 24, count >> 16, count >> 8, count].map { UInt8(truncatingIfNeeded: $0) }
    let pixels = (0..<count * 28 * 28).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) }
    try directory.write([0, 0, 8, 3] + size + [0, 0, 0, 28, 0, 0, 0, 28] + pixels, to: "raw/train-images-idx3-ubyte")
    try directory.write([0, 0, 8, 1] + size + (0..<count).map { UInt8($0 % 10) }, to: "raw/train-labels-idx1-ubyte")
    return directory.path + "/raw"
  }

  @Test func `what import writes is what check describes`() throws {
    let source = try idx(100)
    let target = directory.path + "/data/digits"
    let imported = try Program.run(
      "descent", ["data", "import", source, target, "--name", "digits", "--test-share", "0.3", "--json"]
    ).object()
    #expect(imported["format"] as? String == "IDX files (MNIST)")
    #expect((imported["training_examples"] as? Int, imported["test_examples"] as? Int) == (70, 30))
    let report = try Program.run("descent", ["data", "check", target, "--json"]).object()
    #expect(report["name"] as? String == "digits")
    #expect([report["width"], report["height"], report["channels"]].map { $0 as? Int } == [28, 28, 1])
    let parts = try #require(report["parts"] as? [[String: Any]])
    #expect(
      parts.map { $0["class_histogram"] as? [Int] } == [Array(repeating: 7, count: 10), Array(repeating: 3, count: 10)])
    let again = try Program.run("descent", ["data", "import", source, target], expecting: 73)
    #expect(again.standardError.contains("\(target) already holds dataset.json: data are never overwritten"))
    // Given the source itself, training names the command.
    let train = try Program.run("descent", ["train", "--data", source, "--dry-run"], expecting: 66)
    #expect(train.standardError.contains("Import it into a directory DIR: descent data import \(source) DIR"))
  }

  @Test func `a disk without room for a data set: status and reason, and nothing stays`() throws {
    let source = try idx(500)
    let program = Program.directory.appendingPathComponent("descent").path
    // In units of 512 or 1024 bytes; the file has 392 kB.
    let output = try Program.Running(
      at: URL(fileURLWithPath: "/bin/bash"),
      ["-c", "ulimit -f 100; exec \"$@\"", "bash", program, "data", "import", source, directory.path + "/x"],
      environment: [:]
    ).wait()
    #expect(output.status == 74)
    #expect(output.standardError.contains("train.bin: File too large"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["raw"])
    try Evidence.add(.disk, observed: "\(output.status): File too large; the directory does not exist")
  }

  @Test func `synthetic sets of other shapes`() throws {
    let ring = directory.path + "/ring"
    try Program.run(
      "descent", ["data", "synthesize", ring, "--set", "ring", "--train-examples", "200", "--test-examples", "50"])
    let report = try Program.run("descent", ["data", "check", ring])
    #expect(report.standardOutput.contains("ring, 2 values, 2 classes"))
    let letters = directory.path + "/letters"
    try Program.run(
      "descent",
      [
        "data", "synthesize", letters, "--size", "20x12", "--channels", "1", "--classes", "26", "--train-examples",
        "52",
        "--test-examples", "26",
      ])
    #expect(
      try Program.run("descent", ["data", "check", letters]).standardOutput.contains("20 × 12 pixels, grey, 26 classes")
    )
    for wrong in [["--set", "ring", "--classes", "3"], ["--classes", "1"], ["--size", "0"], ["--channels", "0"]] {
      try Program.run("descent", ["data", "synthesize", directory.path + "/none"] + wrong, expecting: 64)
    }
    #expect(!FileManager.default.fileExists(atPath: directory.path + "/none"))
  }
}
