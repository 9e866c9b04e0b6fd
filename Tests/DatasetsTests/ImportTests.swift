import CZlib
import Datasets
import Diagnostics
import Files
import Foundation
import TestSupport
import Testing

/// Small files in the formats of others, written by their own programs, and what must come of them: see Imports/make.py.
private struct ImportCase: CustomTestStringConvertible {
  let name: String
  /// The fields of its lines.
  let lines: [[String]]

  var testDescription: String { name }

  func lines(_ what: String) -> [[String]] { lines.filter { $0[1] == what } }

  static let all: [ImportCase] = {
    let text = try? GoldenText("Imports/imports.txt").text
    let lines = (text ?? "").split(separator: "\n").map { $0.components(separatedBy: "\t") }
    return Dictionary(grouping: lines) { $0[0] }.map { ImportCase(name: $0, lines: $1) }.sorted { $0.name < $1.name }
  }()

  static let good = all.filter { $0.lines("error").isEmpty }
  static let bad = all.filter { !$0.lines("error").isEmpty }

  /// Writes the files; the result is what is to be imported.
  func write(to directory: TemporaryDirectory) throws -> String {
    for line in lines("file") {
      let compressed = [UInt8](try #require(Data(base64Encoded: line[4])))
      var size = UInt(try #require(UInt(line[3])))
      var bytes = [UInt8](repeating: 0, count: Int(size))
      #expect(uncompress(&bytes, &size, compressed, UInt(compressed.count)) == Z_OK)
      try directory.write(bytes, to: "source/" + line[2])
    }
    let files = lines("file").map { $0[2] }
    return directory.path + "/source" + (files.count == 1 && files[0].hasSuffix(".npz") ? "/" + files[0] : "")
  }
}

@Suite struct ImportTests {
  let directory = TemporaryDirectory()

  private var target: String { directory.path + "/target" }

  @Test(arguments: ImportCase.good)
  private func `files of other programs: every image and label arrives`(example: ImportCase) throws {
    let source = try example.write(to: directory)
    var options = ImportOptions()
    for line in example.lines("option") {
      switch line[2] {
      case "labels": options.labels = ImportOptions.Labels(rawValue: line[3])
      case "classes": options.classes = line[3].components(separatedBy: ",")
      default: Issue.record("\(line)")
      }
    }
    let summary = try DatasetImport.run(source, to: target, options: options)
    let set = try #require(example.lines("set").first)
    #expect(summary.description.name == set[2] || set[2] == "*")
    #expect(
      summary.description.shape
        == InputShape(width: Int(set[3]) ?? 0, height: Int(set[4]) ?? 0, channels: Int(set[5]) ?? 0))
    let classNames = try JSONDecoder().decode([String].self, from: Data(set[6].utf8))
    for line in example.lines("part") {
      let part: Dataset.Part = line[2] == "train" ? .training : .test
      let dataset = try Dataset(directory: target, part: part)
      #expect(dataset.classNames == classNames)
      #expect(dataset.count == Int(line[3]))
      let bytes = dataset.files.flatMap { Array($0.bytes) }
      #expect(bytes.withUnsafeBytes { SHA256.hexDigest(of: $0) } == line[4])
      #expect(part == .test || summary.trainingExamples == dataset.count)
      #expect(part == .training || summary.testExamples == dataset.count)
    }
    _ = try DatasetReport(directory: target).text
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted() == ["source", "target"])
  }

  @Test(arguments: ImportCase.bad)
  private func `damaged, foreign and hostile files to import: refused, with the place in the file, and nothing stays`(
    example: ImportCase
  ) throws {
    let source = try example.write(to: directory)
    let failure = #expect(throws: Failure.self) { try DatasetImport.run(source, to: target) }
    let text = try #require(example.lines("error").first)[2]
    #expect(failure?.description.contains(text) == true, "\(failure?.description ?? "")")
    #expect(failure?.description.contains(directory.path) == true || text.contains("wrong number of classes"))
    #expect(failure?.status == .badData || failure?.status == .missingInput)
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["source"])
    try Evidence.add(.data, example.name, observed: "\(failure?.status.rawValue ?? 0): \(failure?.message ?? "")")
  }

  @Test func `a pickle is read and never run`() throws {
    // The pickle of this case would write a file.
    let harm = "/tmp/descent-harm"
    try? FileManager.default.removeItem(atPath: harm)
    let example = try #require(ImportCase.bad.first { $0.name == "a pickle that calls os.system" })
    _ = try? DatasetImport.run(try example.write(to: directory), to: target)
    #expect(!FileManager.default.fileExists(atPath: harm))
  }

  /// Of the binary version half of a file is a file, and zeros behind a gzip member are padding.
  @Test(
    arguments: ImportCase.good.filter { example in
      !["type", "binary", "two gzip members"].contains { example.name.contains($0) }
    })
  private func `files cut short at any place are refused`(example: ImportCase) throws {
    let source = try example.write(to: directory)
    for line in example.lines("file") where !line[2].hasSuffix(".html") {
      let path = directory.path + "/source/" + line[2]
      let whole = try contents(of: path)
      for count in [0, 1, 7, whole.count / 3, whole.count / 2, whole.count - 1] {
        try Data(whole.prefix(count)).write(to: URL(fileURLWithPath: path))
        let failure = #expect(throws: Failure.self, "\(line[2]) cut to \(count) bytes") {
          try DatasetImport.run(source, to: target)
        }
        #expect([.badData, .missingInput].contains(failure?.status))
      }
      try Data(whole).write(to: URL(fileURLWithPath: path))
    }
    _ = try DatasetImport.run(source, to: target)
  }

  /// Most of a file is pixels, so the bytes in front are changed more often.
  @Test(arguments: ImportCase.good.filter { !$0.name.contains("type") })
  private func `files with bytes that were changed: refused with a typed error, or read as whole examples`(
    example: ImportCase
  ) throws {
    let source = try example.write(to: directory)
    var state: UInt64 = 15
    func random(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    let names = example.lines("file").map { $0[2] }
    var refused = 0
    for round in 0..<40 {
      let path = directory.path + "/source/" + names[random(names.count)]
      let whole = try contents(of: path)
      var bytes = whole
      for _ in 0...random(3) where !bytes.isEmpty {
        let end = round % 2 == 0 ? min(bytes.count, 400) : bytes.count
        let position = random(4) == 0 ? bytes.count - 1 - random(min(bytes.count, 100)) : random(end)
        switch random(4) {
        case 0: bytes[position] = UInt8(random(256))
        case 1: bytes[position] ^= 1 << UInt8(random(8))
        case 2: bytes.remove(at: position)
        default: bytes.insert(contentsOf: [UInt8](repeating: UInt8(random(256)), count: 1 + random(4)), at: position)
        }
      }
      try Data(bytes).write(to: URL(fileURLWithPath: path))
      let result = Result { () throws(Failure) in try DatasetImport.run(source, to: target) }
      switch result {
      case .success(let summary):
        #expect(try Dataset(directory: target, part: .training).count == summary.trainingExamples)
        #expect(try Dataset(directory: target, part: .test).count == summary.testExamples)
        try FileManager.default.removeItem(atPath: target)
      case .failure(let failure):
        #expect([.badData, .missingInput].contains(failure.status), "\(failure)")
        refused += 1
      }
      try Data(whole).write(to: URL(fileURLWithPath: path))
    }
    #expect(refused > 0)
  }

  @Test func `CIFAR-10 from Python is the same data set as the binary version`() throws {
    let example = try #require(ImportCase.good.first { $0.name == "CIFAR-10, Python 2" })
    _ = try DatasetImport.run(try example.write(to: directory), to: target)
    for name in ["data_batch_1.bin", "data_batch_2.bin", "test_batch.bin"] {
      try directory.write(try contents(of: "\(target)/\(name)"), to: "binary/\(name)")
    }
    for part in Dataset.Part.allCases {
      let binary = try Dataset(directory: directory.path + "/binary", part: part)
      #expect(try Dataset(directory: target, part: part).fingerprint == binary.fingerprint)
    }
  }

  // MARK: Splits

  private func idx(_ labels: [UInt8]) throws -> String {
    let count = UInt8(labels.count)
    let pixels = (0..<labels.count).flatMap { [UInt8($0), labels[$0]] }
    try directory.write(
      [0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 1, 0, 0, 0, 2] + pixels, to: "source/train-images-idx3-ubyte")
    try directory.write([0, 0, 8, 1, 0, 0, 0, count] + labels, to: "source/train-labels-idx1-ubyte")
    return directory.path + "/source"
  }

  @Test func `without a test set, a share of each class becomes one, the same for the same seed`() throws {
    let source = try idx((0..<100).map { UInt8($0 % 4 == 0 ? 0 : 1) })
    func test(_ seed: UInt64, _ share: Double) throws -> (labels: [UInt8], pixels: [UInt8]) {
      var options = ImportOptions()
      (options.seed, options.testShare) = (seed, share)
      let target = "\(directory.path)/\(seed)-\(share)-\(UInt32.random(in: .min ... .max))"
      let summary = try DatasetImport.run(source, to: target, options: options)
      #expect(summary.trainingExamples + summary.testExamples == 100)
      let test = try Dataset(directory: target, part: .test)
      let training = try Dataset(directory: target, part: .training)
      let records = (0..<test.count).map { test.examples.record(at: $0) }
      let others = (0..<training.count).map { training.examples.record(at: $0)[1] }
      #expect(Set(records.map { $0[1] }).isDisjoint(with: others))
      return (records.map { $0[0] }, records.map { $0[1] })
    }
    let first = try test(1, 0.2)
    #expect(first.labels.count { $0 == 0 } == 5 && first.labels.count { $0 == 1 } == 15)
    #expect(try test(1, 0.2) == first)
    #expect(try test(2, 0.2).pixels != first.pixels)
    #expect(try test(1, 0.001).labels.count == 2)
    #expect(try test(1, 0.999).labels.count == 98)
  }

  @Test func `options without a meaning for the source are refused`() throws {
    let source = try idx([0, 1, 0, 1])
    func status(_ change: (inout ImportOptions) -> Void) -> String? {
      var options = ImportOptions()
      change(&options)
      do throws(Failure) {
        _ = try DatasetImport.run(source, to: target, options: options)
        return nil
      } catch {
        return error.status == .usage ? error.message : "\(error.status): \(error)"
      }
    }
    #expect(status { $0.size = PictureSize(width: 3, height: 3) } == "--size has no meaning for IDX files (MNIST)")
    #expect(status { $0.labels = .coarse } == "--labels has no meaning for IDX files (MNIST)")
    #expect(status { $0.skipBad = true } == "--skip-bad has no meaning for IDX files (MNIST)")
    for share in [0, 1, -0.5, .nan] {
      #expect(status { $0.testShare = share }?.hasPrefix("--test-share must be above 0 and below 1") == true)
    }
    #expect(status { $0.classes = ["a"] }?.contains("label of image 1: 1 (expected 0 to 0)") == true)
    try directory.write(try contents(of: source + "/train-images-idx3-ubyte"), to: "source/t10k-images-idx3-ubyte")
    try directory.write(try contents(of: source + "/train-labels-idx1-ubyte"), to: "source/t10k-labels-idx1-ubyte")
    #expect(status { $0.seed = 3 } == "--seed has no meaning: the source has a test set")
  }

  // MARK: The target

  @Test func `a place that holds something is to become a data set: refused, and all of it stays`() throws {
    let source = try idx([0, 1, 0, 1])
    try directory.write([1], to: "target/old")
    let failure = #expect(throws: Failure.self) { try DatasetImport.run(source, to: target) }
    #expect(failure?.description.hasPrefix("\(target) already holds old: data are never overwritten") == true)
    #expect(failure?.status == .cannotCreate)
    let file = try directory.write([1], to: "file")
    #expect(throws: Failure.self) { try DatasetImport.run(source, to: file) }
    #expect(throws: Failure.self) { try DatasetImport.run(source, to: file + "/below") }
    #expect(try contents(of: file) == [1])
    try Evidence.add(.data, observed: "73: \(failure?.message ?? "")")
  }

  @Test(arguments: ["target", "target/", "a/b/target", "empty", "empty/"])
  func `the directory is made, or filled if it is empty`(name: String) throws {
    let source = try idx([0, 1, 0, 1])
    try FileManager.default.createDirectory(atPath: directory.path + "/empty", withIntermediateDirectories: false)
    let target = directory.path + "/" + name
    _ = try DatasetImport.run(source, to: target)
    #expect(try Dataset(directory: target, part: .training).count == 2)
    let names = try FileManager.default.contentsOfDirectory(atPath: target).sorted()
    #expect(names == ["dataset.json", "test.bin", "train.bin"])
  }

  @Test func `an import that is stopped leaves nothing behind`() throws {
    let source = try idx([0, 1, 0, 1])
    let failure = #expect(throws: Failure.self) {
      _ = try DatasetImport.run(source, to: target) { (count) throws(Failure) in
        if count == 2 { throw Failure(.stoppedBySignal, "stopped") }
      }
    }
    #expect(failure?.status == .stoppedBySignal)
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["source"])
  }

  @Test func `labels that begin at 1 are pointed out`() throws {
    let source = try idx([1, 2, 1, 2])
    let remarks = try DatasetImport.run(source, to: target).remarks
    #expect(remarks == ["no training example has the label 0 (0)"])
  }

  @Test func `what is no data set is named`() throws {
    try directory.write([1], to: "source/notes.txt")
    let failure = #expect(throws: Failure.self) { try DatasetImport.run(directory.path + "/source", to: target) }
    #expect(failure?.status == .missingInput)
    #expect(failure?.message == "\(directory.path)/source is of no known format")
    let archive = try directory.write([0x1f, 0x8b], to: "cifar-10-python.tar.gz")
    let packed = #expect(throws: Failure.self) { try DatasetImport.run(archive, to: target) }
    #expect(packed?.description.contains("Unpack it: tar -xf \(archive)") == true)
    #expect(throws: Failure.self) { try DatasetImport.run(directory.path + "/none", to: target) }
  }
}
