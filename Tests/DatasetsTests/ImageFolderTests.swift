import Datasets
import Diagnostics
import Foundation
import Glibc
import TestSupport
import Testing

/// `descent data import` of folders of pictures.
@Suite struct ImageFolderTests {
  let directory = TemporaryDirectory()

  private var source: String { directory.path + "/source" }
  private var target: String { directory.path + "/target" }

  /// A picture of one colour.
  private func plain(_ value: Int, width: Int = 32, height: Int = 32) -> [UInt8] {
    png(
      [UInt8](repeating: UInt8(value), count: width * height * 3), width: width, height: height)
  }

  /// For each of the given files, a picture whose every value is its number.
  private func write(_ names: [String]) throws {
    for (index, name) in names.enumerated() { try directory.write(plain(index + 1), to: "source/" + name) }
  }

  private func run(_ change: (inout ImportOptions) -> Void = { _ in }) throws -> DatasetImport.Summary {
    var options = ImportOptions()
    change(&options)
    return try DatasetImport.run(source, to: target, options: options)
  }

  /// Label and first pixel of each example.
  private func examples(_ part: Dataset.Part) throws -> [[UInt8]] {
    let dataset = try Dataset(directory: target, part: part)
    return (0..<dataset.count).map { [dataset.examples.record(at: $0)[0], dataset.examples.record(at: $0)[1]] }
  }

  @Test
  func `classes and files are in the order of their names, by code points, and nested folders belong to the class`()
    throws
  {
    try write([
      "train/dog/b.png", "train/dog/B.png", "train/dog/a/1.png", "train/Zebra/1.png", "train/äffchen/1.png",
      "train/cat/10.png", "train/cat/9.PNG", "test/cat/1.png", "test/dog/1.png",
    ])
    let summary = try run()
    #expect(summary.description.classNames == ["Zebra", "cat", "dog", "äffchen"])
    #expect(summary.description.shape == .cifar10)
    #expect(try examples(.training) == [[0, 4], [1, 6], [1, 7], [2, 2], [2, 1], [2, 3], [3, 5]])
    #expect(try examples(.test) == [[1, 8], [2, 9]])
    #expect(summary.remarks.isEmpty)
  }

  @Test func `what is hidden, or is not called as a picture, is passed over`() throws {
    try write(["train/a/1.png", "train/b/1.png", "val/a/1.png", "val/b/1.png", ".ipynb_checkpoints/1.png"])
    for name in ["train/.DS_Store", "train/a/._1.png", "train/.cache/x.png", "train/a/notes.txt", "train/list.csv"] {
      try directory.write([1, 2, 3], to: "source/" + name)
    }
    try write(["train/a/1.png", "train/b/1.png", "val/a/1.png", "val/b/1.png", "extra/c/1.png", "__MACOSX/a/1.png"])
    let summary = try run()
    #expect(summary.description.classNames == ["a", "b"])
    #expect((summary.trainingExamples, summary.testExamples) == (2, 2))
    #expect(
      summary.remarks == ["left out, as they are not called as pictures: 1 file", "not imported: extra"])
  }

  @Test func `a class may be called train`() throws {
    try write(["train/1.png", "train/2.png", "bus/1.png", "bus/2.png"])
    let summary = try run()
    #expect(summary.description.classNames == ["bus", "train"])
    #expect((summary.trainingExamples, summary.testExamples) == (2, 2))
  }

  @Test func `without a test folder the split is a function of share and seed`() throws {
    try write((0..<40).map { "\($0 % 2 == 0 ? "even" : "odd")/\($0).png" })
    func test(_ seed: UInt64) throws -> [[UInt8]] {
      try? FileManager.default.removeItem(atPath: target)
      let summary = try run { ($0.seed, $0.testShare) = (seed, 0.25) }
      #expect((summary.trainingExamples, summary.testExamples) == (30, 10))
      let (training, test) = (try examples(.training), try examples(.test))
      #expect(Set(training + test).count == 40)
      return test
    }
    let first = try test(1)
    #expect(first.count { $0[0] == 0 } == 5)
    #expect(try test(1) == first)
    #expect(try test(2) != first)
  }

  @Test func `pictures become examples of the size and colours that are asked for, as predict makes them`() throws {
    let wide = picture(width: 64, height: 32) { column, row in (column, 2 * row, column < 32 ? 200 : 10) }
    for name in ["train/a/1.png", "train/b/1.png", "test/a/1.png"] {
      try directory.write(png(wide.pixels, width: 64, height: 32), to: "source/" + name)
    }
    for (size, grayscale) in [("28", true), ("40x10", false), ("7x13", true)] {
      try? FileManager.default.removeItem(atPath: target)
      let summary = try run {
        $0.size = PictureSize(size)
        $0.grayscale = grayscale
      }
      let shape = summary.description.shape
      #expect(PictureSize(width: shape.width, height: shape.height) == PictureSize(size))
      #expect(shape.channels == (grayscale ? 1 : 3))
      let dataset = try Dataset(directory: target, part: .training)
      let record = UnsafeBufferPointer(start: dataset.examples.record(at: 0), count: 1 + shape.pixels)
      #expect(Array(record) == [0] + wide.pixels(as: shape))
    }
    #expect(
      PictureSize("0") == nil && PictureSize("1") == nil && PictureSize("3x") == nil && PictureSize("3x4x5") == nil)
  }

  @Test func `bad pictures among those to import: named, and nothing stays unless they are to be left out`() throws {
    try write(["train/a/1.png", "train/a/2.png", "train/b/1.png", "test/a/1.png", "test/b/1.png"])
    try directory.write(plain(9).prefix(60), to: "source/train/a/cut.png")
    try directory.write("GIF89a".utf8, to: "source/train/b/moving.gif")
    try directory.write([], to: "source/test/b/empty.jpg")
    #expect(symlink("nothing", source + "/test/a/dangling.png") == 0)
    let failure = #expect(throws: Failure.self) { try run() }
    #expect(failure?.status == .badData)
    #expect(failure?.message.hasPrefix("4 of 9 pictures cannot be read: ") == true)
    for name in ["train/a/cut.png", "train/b/moving.gif", "test/b/empty.jpg", "test/a/dangling.png"] {
      #expect(failure?.message.contains("\(source)/\(name)") == true, "\(failure?.message ?? "")")
    }
    #expect(!FileManager.default.fileExists(atPath: target))
    let summary = try run { $0.skipBad = true }
    #expect((summary.trainingExamples, summary.testExamples) == (3, 2))
    #expect(summary.remarks.count == 1 && summary.remarks[0].hasPrefix("4 of 9 pictures were left out: "))
  }

  @Test func `folders that lead back to themselves: refused, links to other pictures followed`() throws {
    try write(["train/a/1.png", "train/b/1.png", "test/a/1.png", "elsewhere/2.png"])
    #expect(symlink("../../elsewhere", source + "/train/b/more") == 0)
    #expect(symlink("../a/1.png", source + "/train/b/same.png") == 0)
    #expect(try run().trainingExamples == 4)
    try FileManager.default.removeItem(atPath: target)
    #expect(symlink("..", source + "/train/b/loop") == 0)
    let failure = #expect(throws: Failure.self) { try run() }
    #expect(failure?.status == .badData)
    #expect(failure?.message.contains("leads back to a folder above it") == true)
    try Evidence.add(.data, observed: "65: \(failure?.message ?? "")")
  }

  @Test func `classes without pictures, in the test set only, or too many are refused`() throws {
    try write(["train/a/1.png", "train/b/1.png", "test/a/1.png"])
    try directory.write([1], to: "source/train/c/readme.txt")
    let empty = #expect(throws: Failure.self) { try run() }
    #expect(empty?.message == "\(source)/train/c holds no PNG or JPEG file")
    try FileManager.default.removeItem(atPath: source + "/train/c")
    try write(["train/a/1.png", "train/b/1.png", "test/d/1.png"])
    let foreign = #expect(throws: Failure.self) { try run() }
    #expect(foreign?.description.hasPrefix("\(source)/test: the folder d: a class of the test set only") == true)
    try FileManager.default.removeItem(atPath: source)
    try write(["train/a/1.png", "test/a/1.png"])
    let one = #expect(throws: Failure.self) { try run() }
    #expect(one?.description.contains("number of classes: 1 folders (expected 2 to 256 names)") == true)
    for index in 0..<257 {
      try FileManager.default.createDirectory(
        atPath: "\(source)/train/c\(index)", withIntermediateDirectories: false)
    }
    let many = #expect(throws: Failure.self) { try run() }
    #expect(many?.description.contains("number of classes: 258 folders") == true)
  }

  @Test func `a picture whose name is not UTF-8 is bad`() throws {
    try write(["train/a/1.png", "train/b/1.png", "test/a/1.png"])
    let odd = Array("\(source)/train/a/1.png".utf8CString)
    let name =
      Array("\(source)/train/a/".utf8CString.dropLast()) + [CChar(bitPattern: 0xff), 0x2e, 0x70, 0x6e, 0x67, 0]
    #expect(link(odd, name) == 0)
    let failure = #expect(throws: Failure.self) { try run() }
    #expect(failure?.message.contains("/train/a/\\xff.png: its name is not UTF-8") == true, "\(failure?.message ?? "")")
    #expect(try run { $0.skipBad = true }.trainingExamples == 2)
  }

  @Test func `more values than a data set may have, and a split of single pictures, are refused`() throws {
    try write(["a/1.png", "b/1.png"])
    let size = #expect(throws: Failure.self) { try run { $0.size = PictureSize(width: 1000, height: 1000) } }
    #expect(size?.status == .usage)
    let single = #expect(throws: Failure.self) { try run() }
    #expect(single?.message == "no class has two examples, so none is left for a test set")
  }
}
