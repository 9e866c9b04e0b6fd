import Datasets
import Diagnostics
import Foundation
import Optimization
import TestSupport
import Testing

/// Data sets with a dataset.json.
@Suite struct DatasetTests {
  let directory = TemporaryDirectory()

  private func write(_ json: String) throws -> String {
    try directory.write(json.utf8, to: "dataset.json")
  }

  private static let good = """
    {"name": "points", "width": 1, "height": 1, "channels": 2, "classes": ["a", "b"], "train": ["x.bin"], "test": ["y.bin"]}
    """

  @Test func `records of two bytes in two classes are a data set`() throws {
    _ = try write(Self.good)
    try directory.write([0, 10, 20, 1, 30, 40, 1, 50, 60], to: "x.bin")
    try directory.write([1, 7, 8], to: "y.bin")
    let training = try Dataset(directory: directory.path, part: .training)
    #expect(training.count == 3)
    #expect(training.description.shape == InputShape(width: 1, height: 1, channels: 2))
    #expect(training.description.pixels == 2)
    #expect(training.classNames == ["a", "b"])
    #expect(training.classHistogram() == [1, 2])
    #expect((0..<3).map { training.examples.record(at: $0)[2] } == [20, 40, 60])
    #expect(training.mean(.meanImage, over: [0, 1, 2]) == [30, 40])
    #expect(training.mean(.channelMean, over: [0, 1, 2]) == [30, 40])
    #expect(training.mean(.none, over: [0, 1, 2]) == [0, 0])
    #expect(try Dataset(directory: directory.path, part: .test).count == 1)
  }

  @Test func `labels of more classes than CIFAR-10 has are what the files say`() throws {
    let names = (0..<12).map { "\"class \($0)\"" }.joined(separator: ", ")
    _ = try write(Self.good.replacingOccurrences(of: "[\"a\", \"b\"]", with: "[\(names)]"))
    try directory.write([11, 1, 2, 9, 3, 4], to: "x.bin")
    let training = try Dataset(directory: directory.path, part: .training)
    #expect([0, 1].map(training.examples.label) == [11, 9])
  }

  @Test func `the mean of a channel is that of all its pixels, in every pixel`() throws {
    _ = try write(Self.good.replacingOccurrences(of: "\"width\": 1", with: "\"width\": 2"))
    // Two channels of two pixels.
    try directory.write([0, 10, 20, 1, 2] + [1, 30, 41, 3, 5], to: "x.bin")
    let training = try Dataset(directory: directory.path, part: .training)
    #expect(training.mean(.meanImage, over: [0, 1]) == [20, 30.5, 2, 3.5])
    #expect(training.mean(.channelMean, over: [0, 1]) == [25.25, 25.25, 2.75, 2.75])
    #expect(training.mean(.channelMean, over: [1]) == [35.5, 35.5, 4, 4])
  }

  @Test func `a description is written as it is read`() throws {
    let text = "name \"x\"\n é"
    var description = DatasetDescription(
      name: text, shape: InputShape(width: 28, height: 14, channels: 3), classNames: ["0", "\"", "ä"])
    (description.trainingFiles, description.testFiles) = (["b.bin", "a.bin"], [])
    let path = try write(description.json)
    #expect(try DatasetDescription(path: path) == description)
  }

  @Test(arguments: [
    ("\"train\": [\"x.bin\"], ", "", "no key \"train\""),
    ("\"name\"", "\"mean\": 1, \"name\"", "unknown key: mean"),
    ("\"name\"", "\"width\": 1, \"name\"", "the key \"width\" stands twice"),
    ("\"width\": 1", "\"width\": \"1\"", "wrong value of \"width\": \"1\" (expected an integer"),
    ("\"width\": 1", "\"width\": 1.5", "wrong value of \"width\": 1.5 (expected an integer"),
    ("\"width\": 1", "\"width\": 0", "wrong value of \"width\": 0 (expected 1 to 1048576)"),
    ("\"width\": 1", "\"width\": -3", "wrong value of \"width\": -3"),
    ("\"width\": 1", "\"width\": 99999999999999999999", "wrong value of \"width\""),
    ("\"width\": 1", "\"width\": 1048576", "1048576 × 1 × 2 values (expected a product of 2 to 1048576)"),
    ("\"channels\": 2", "\"channels\": 1", "1 × 1 × 1 values"),
    ("[\"a\", \"b\"]", "[\"a\"]", "number of classes: 1 (expected 2 to 256 names)"),
    ("[\"a\", \"b\"]", "2", "wrong value of \"classes\": 2"),
    ("[\"a\", \"b\"]", "[\"a\", 1]", "wrong value of \"classes\""),
    ("[\"a\", \"b\"]", "[\"a\", \"a\"]", "name of class 1: \"a\""),
    ("[\"a\", \"b\"]", "[\"a\", \"\"]", "name of class 1: \"\""),
    ("[\"x.bin\"]", "\"x.bin\"", "wrong value of \"train\""),
    ("x.bin", "../x.bin", "name of a record file: \"../x.bin\" (expected a file beside dataset.json"),
    ("x.bin", "/etc/passwd", "name of a record file: \"/etc/passwd\""),
    ("x.bin", "", "name of a record file: \"\""),
    ("x.bin", ".hidden", "name of a record file"),
    ("x.bin", "y.bin", "name of a record file: \"y.bin\""),
    ("x.bin", "dataset.json", "name of a record file"),
    ("}", "", "not valid JSON"),
  ])
  func `a wrong description is refused with the key and its value`(old: String, new: String, error: String) throws {
    let path = try write(Self.good.replacingOccurrences(of: old, with: new))
    let failure = #expect(throws: Failure.self) { try DatasetDescription(path: path) }
    #expect(failure?.status == .badData)
    #expect(failure?.description.hasPrefix(path) == true)
    #expect(failure?.description.contains(error) == true, "\(failure?.description ?? "")")
  }

  @Test func `256 classes are allowed and 257 are not`() throws {
    func classes(_ count: Int) -> String {
      Self.good.replacingOccurrences(of: "[\"a\", \"b\"]", with: "\((0..<count).map { "c\($0)" })")
    }
    let path = try write(classes(256))
    #expect(try DatasetDescription(path: path).classes == 256)
    try directory.write([255, 10, 20], to: "x.bin")
    #expect(try Dataset(directory: directory.path, part: .training).classHistogram()[255] == 1)
    _ = try write(classes(257))
    #expect(throws: Failure.self) { try DatasetDescription(path: path) }
  }

  @Test func `files that are not as described are refused with file and offset`() throws {
    _ = try write(Self.good)
    func message(_ bytes: [UInt8]) throws -> String? {
      try directory.write(bytes, to: "x.bin")
      return #expect(throws: Failure.self) { try Dataset(directory: directory.path, part: .training) }?.message
    }
    let path = directory.path + "/x.bin"
    #expect(
      try message([0, 1, 2, 2, 1, 2])
        == "\(path): the label at byte offset 3 (record 1, counted from 0) must be 0 to 1, but is 2")
    #expect(
      try message([0, 1, 2, 1])
        == "\(path) must be a whole number of records of 3 bytes, but has 4 bytes: the record at byte offset 3 has only 1"
    )
    try FileManager.default.removeItem(atPath: path)
    let missing = #expect(throws: Failure.self) { try Dataset(directory: directory.path, part: .training) }
    #expect(missing?.message == "cannot read \(path): No such file or directory")
    _ = try write(Self.good.replacingOccurrences(of: "[\"x.bin\"]", with: "[]"))
    let none = #expect(throws: Failure.self) { try Dataset(directory: directory.path, part: .training) }
    #expect(none?.message == "\(directory.path) holds no file of the training set: dataset.json lists none")
  }

  @Test func `the fingerprint tells shapes and numbers of classes apart, and not names`() throws {
    try directory.write([0, 1, 2, 1, 3, 4], to: "x.bin")
    func fingerprint(_ old: String, _ new: String) throws -> UInt64 {
      _ = try write(Self.good.replacingOccurrences(of: old, with: new))
      return try Dataset(directory: directory.path, part: .training).fingerprint
    }
    let first = try fingerprint("points", "points")
    #expect(try fingerprint("points", "others") == first)
    #expect(try fingerprint("\"a\"", "\"c\"") == first)
    #expect(try fingerprint("y.bin", "z.bin") == first)
    #expect(try fingerprint("\"b\"", "\"b\", \"c\"") != first)
    #expect(
      try fingerprint("\"width\": 1, \"height\": 1, \"channels\": 2", "\"width\": 2, \"height\": 1, \"channels\": 1")
        != first)
  }

  // MARK: Synthetic sets

  @Test(arguments: PlaneSet.allCases)
  func `the sets of the lecture are points of two classes, as many of each`(set: PlaneSet) throws {
    try SyntheticDataset.write(to: directory.path, .points(set), trainingExamples: 400, testExamples: 100, seed: 5)
    let training = try Dataset(directory: directory.path, part: .training)
    #expect(training.description.name == set.rawValue)
    #expect(training.isSynthetic)
    #expect(training.classHistogram() == [200, 200])
    let modes = [(-132.0, -92.0), (132, -92), (0, 132)].map { ($0.0 / 102, $0.1 / 102) }
    for index in 0..<training.count {
      let record = training.examples.record(at: index)
      // In the coordinates of the lecture.
      let (x, y) = ((Double(record[1]) - 127.5) / 51, (Double(record[2]) - 127.5) / 51)
      let norm = (x * x + y * y).squareRoot()
      let isFirst =
        switch set {
        case .quadrants: x * y > 0
        case .ring: norm >= 1 && norm <= 2
        case .threeModes: modes.contains { hypot(x - $0.0, y - $0.1) <= 82.0 / 102 }
        }
      #expect(record[0] == (isFirst ? 0 : 1), "\(x), \(y)")
    }
    let report = try DatasetReport(directory: directory.path)
    #expect(report.remarks.isEmpty)
    #expect(report.verdict == "This is a synthetic set made by `descent data synthesize`.")
  }

  @Test(arguments: [(28, 28, 1, 26), (5, 3, 4, 256), (1, 2, 1, 2), (64, 48, 3, 3)])
  func `synthetic images may have any shape and number of classes`(width: Int, height: Int, channels: Int, classes: Int)
    throws
  {
    let shape = InputShape(width: width, height: height, channels: channels)
    try SyntheticDataset.write(
      to: directory.path, .images(shape, classes: classes), trainingExamples: 2 * classes, testExamples: classes)
    let training = try Dataset(directory: directory.path, part: .training)
    #expect(training.description.shape == shape)
    #expect(training.classHistogram() == [Int](repeating: 2, count: classes))
    #expect(try Dataset(directory: directory.path, part: .test).count == classes)
    #expect(try DatasetReport(directory: directory.path).parts.map(\.examples) == [2 * classes, classes])
  }

  @Test func `synthetic images that are no data set are refused`() throws {
    for (side, channels, classes) in [(2000, 3, 10), (1, 1, 10), (32, 17, 10), (32, 3, 1), (32, 3, 257), (32, 3, -5)] {
      let kind = SyntheticDataset.Kind.images(
        InputShape(width: side, height: side, channels: channels), classes: classes)
      let failure = #expect(throws: Failure.self) { try SyntheticDataset.write(to: directory.path + "/x", kind) }
      #expect(failure?.status == .usage)
    }
  }
}
