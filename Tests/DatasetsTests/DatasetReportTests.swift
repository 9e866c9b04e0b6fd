import Datasets
import Diagnostics
import Files
import TestSupport
import Testing

@Suite struct `The report on a data set` {
  let directory: TemporaryDirectory

  init() throws {
    directory = TemporaryDirectory()
  }

  @Test func `counts examples and classes and hashes every file`() throws {
    let first = records(labels: [1, 1, 2])
    try directory.write(first, to: "data_batch_1.bin")
    try directory.write(records(labels: [3]), to: "data_batch_2.bin")
    try directory.write(records(labels: [4, 5]), to: "test_batch.bin")
    let report = try DatasetReport(directory: directory.path)
    #expect(report.parts.map(\.name) == ["training", "test"])
    #expect(report.parts.map(\.examples) == [4, 2])
    #expect(report.parts[0].classHistogram == [0, 2, 1, 1, 0, 0, 0, 0, 0, 0])
    #expect(report.parts[0].files.map(\.name) == ["data_batch_1.bin", "data_batch_2.bin"])
    #expect(report.parts[0].files[0].sha256 == first.withUnsafeBytes { SHA256.hexDigest(of: $0) })
    #expect(report.parts[0].files[0].origin == .other)
    #expect(!report.isOfficial)
    #expect(report.verdict == "The format is that of CIFAR-10. These are not the official files.")
  }

  @Test func `a name and a size do not make a file official`() throws {
    let labels = [UInt8](repeating: 0, count: 10_000)
    try directory.write(records(labels: labels), to: "data_batch_1.bin")
    try directory.write(records(labels: labels), to: "test_batch.bin")
    let report = try DatasetReport(directory: directory.path)
    #expect(report.parts.flatMap { $0.files.map(\.origin) } == [.officialSizeOtherBytes, .officialSizeOtherBytes])
    #expect(!report.isOfficial)
  }

  @Test func `a synthetic set is called one`() throws {
    try SyntheticDataset.write(to: directory.path, trainingExamples: 10, testExamples: 10)
    let report = try DatasetReport(directory: directory.path)
    #expect(report.parts.allSatisfy { $0.files.allSatisfy { $0.origin == .synthetic } })
    #expect(report.text.hasSuffix("This is a synthetic set made by `descent data synthesize`, not CIFAR-10.\n"))
  }

  @Test func `the text shows every class and file, the JSON has the same facts`() throws {
    try SyntheticDataset.write(to: directory.path, trainingExamples: 100, testExamples: 20)
    let report = try DatasetReport(directory: directory.path)
    let lines = report.text.split(separator: "\n")
    for name in report.classNames {
      #expect(lines.contains { $0.split(separator: " ") == [Substring(name), "10", "2"] })
    }
    for file in report.parts.flatMap(\.files) {
      #expect(lines.contains("  sha256 \(file.sha256)"))
    }

    let fields = try JSONFields(parsing: Array(report.json.utf8), source: "report")
    #expect(try fields.value("is_official") == .boolean(false))
    #expect(try fields.value("class_names") == .strings(report.classNames))
    let parts = try fields.objects("parts") { (part) throws(Failure) in part }
    #expect(try parts.map { try $0["class_histogram"] as [Int] } == report.parts.map(\.classHistogram))
    #expect(try parts.map { try $0["fingerprint"] as String } == report.parts.map(\.fingerprint))
    let files = try parts.flatMap { try $0.objects("files") { (file) throws(Failure) in try file["sha256"] as String } }
    #expect(files == report.parts.flatMap(\.files).map(\.sha256))
  }

  @Test func `a set without its test file is a failure`() throws {
    try directory.write(records(labels: [1]), to: "data_batch_1.bin")
    let failure = #expect(throws: Failure.self) { try DatasetReport(directory: directory.path) }
    #expect(failure?.status == .missingInput)
  }
}
