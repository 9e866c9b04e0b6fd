import Datasets
import Diagnostics
import Foundation
import TestSupport
import Testing

@Suite struct `CIFAR-10 files` {
  let directory: TemporaryDirectory

  init() throws {
    directory = TemporaryDirectory()
  }

  @Test func `training files are read in natural order, so 2 comes before 10`() throws {
    for number in [10, 2, 1, 11] {
      try directory.write(records(labels: [3], firstPixel: UInt8(number)), to: "data_batch_\(number).bin")
    }
    let dataset = try Dataset(directory: directory.path, part: .training)
    #expect(dataset.files.map(\.name) == [1, 2, 10, 11].map { "data_batch_\($0).bin" })
    #expect((0..<4).map { dataset.examples.record(at: $0)[1] } == [1, 2, 10, 11])
  }

  @Test func `any number of records of 3,073 bytes is accepted and read in place`() throws {
    try directory.write(records(labels: [0, 9, 4]), to: "data_batch_1.bin")
    try directory.write(records(labels: [7], firstPixel: 200), to: "data_batch_2.bin")
    let dataset = try Dataset(directory: directory.path, part: .training)
    #expect(dataset.count == 4)
    #expect(dataset.files.map(\.recordCount) == [3, 1])
    #expect((0..<4).map { dataset.examples.label(at: $0) } == [0, 9, 4, 7])
    #expect(dataset.examples.record(at: 2)[3072] == 2)
    #expect(dataset.examples.record(at: 3)[3072] == 200)
    #expect(dataset.classHistogram() == [1, 0, 0, 0, 1, 0, 0, 1, 0, 1])
  }

  @Test func `the examples outlive the dataset that mapped them`() throws {
    try directory.write(records(labels: [5]), to: "test_batch.bin")
    let examples = try Dataset(directory: directory.path, part: .test).examples
    #expect(examples.label(at: 0) == 5)
  }

  @Test func `the parent of cifar-10-batches-bin will do`() throws {
    try directory.write(records(labels: [5]), to: "cifar-10-batches-bin/test_batch.bin")
    let dataset = try Dataset(directory: directory.path, part: .test)
    #expect(dataset.directory == directory.path + "/cifar-10-batches-bin")
  }

  @Test func `a file that ends inside a record is refused with the offset of that record`() throws {
    let path = try directory.write(records(labels: [1, 2]) + [3, 0, 0], to: "test_batch.bin")
    let failure = #expect(throws: Failure.self) { try Dataset(directory: directory.path, part: .test) }
    #expect(failure?.status == .badData)
    #expect(
      failure?.message == "\(path) must be a whole number of records of 3073 bytes, but has 6149 bytes: the record at "
        + "byte offset 6146 has only 3")
  }

  @Test func `an empty file is refused`() throws {
    let path = try directory.write([], to: "data_batch_1.bin")
    let failure = #expect(throws: Failure.self) {
      try Dataset(directory: directory.path, part: .training)
    }
    #expect(failure?.status == .badData)
    #expect(failure?.message == "\(path) is empty")
  }

  @Test func `a label above 9 is refused with its offset`() throws {
    try directory.write(records(labels: [1, 2]), to: "data_batch_1.bin")
    let path = try directory.write(records(labels: [1, 2, 10]), to: "data_batch_2.bin")
    let failure = #expect(throws: Failure.self) {
      try Dataset(directory: directory.path, part: .training)
    }
    #expect(failure?.status == .badData)
    #expect(
      failure?.description
        == "\(path): the label at byte offset 6146 (record 2, counted from 0) must be 0 to 9, but is 10")
  }

  @Test func `what is missing is named, with where to get it`() throws {
    let nowhere = directory.path + "/nowhere"
    let missing = #expect(throws: Failure.self) { try Dataset(directory: nowhere, part: .training) }
    #expect(missing?.status == .missingInput)
    #expect(missing?.message == "cannot read \(nowhere): No such file or directory")

    let empty = #expect(throws: Failure.self) { try Dataset(directory: directory.path, part: .training) }
    #expect(empty?.status == .missingInput)
    #expect(empty?.remedy?.contains("Scripts/fetch-cifar10.sh") == true)
    #expect(empty?.remedy?.contains("descent data synthesize DIR") == true)

    try directory.write(records(labels: [1]), to: "data_batch_1.bin")
    let noTest = #expect(throws: Failure.self) { try Dataset(directory: directory.path, part: .test) }
    #expect(noTest?.status == .missingInput)
    #expect(noTest?.message == "\(directory.path) holds no test_batch.bin, the test set")
  }

  @Test(arguments: [
    (["data_batch_1", "batches.meta"], "the Python version of CIFAR-10", "descent data import"),
    (["cifar-10-batches-py/data_batch_1"], "the Python version of CIFAR-10", "descent data import"),
    (["data_batch_1.mat"], "the MATLAB version of CIFAR-10", "Scripts/fetch-cifar10.sh DIR"),
    (
      ["cifar-100-python/train", "cifar-100-python/test", "cifar-100-python/meta"], "the Python version of CIFAR-100",
      "descent data import"
    ),
    (["train.bin", "test.bin", "fine_label_names.txt"], "the binary version of CIFAR-100", "descent data import"),
    (["train-images-idx3-ubyte", "train-labels-idx1-ubyte"], "IDX files (MNIST)", "descent data import"),
    (["cifar-10-binary.tar.gz"], "an archive", "/cifar-10-binary.tar.gz"),
    (["cat.JPG"], "pictures (cat.JPG) that no folder gives a class", "a folder of its own"),
    (["cat/1.png", "dog/1.png"], "folders of pictures", "descent data import"),
    (["mnist.npz"], "NumPy arrays (mnist.npz)", "mnist.npz DIR"),
    (["x.npy"], "NumPy arrays", "numpy.savez"),
  ])
  func `data of another format are named, with what to do`(names: [String], what: String, remedy: String) throws {
    for name in names { try directory.write([], to: name) }
    let failure = #expect(throws: Failure.self) { try Dataset(directory: directory.path, part: .training) }
    #expect(failure?.status == .missingInput)
    let message =
      "\(directory.path) must hold a data set of Descent or the binary version of CIFAR-10, but holds \(what)"
    #expect(failure?.message.hasPrefix(message) == true)
    #expect(failure?.remedy?.contains(remedy) == true)
  }

  @Test func `an archive in the place of the directory is to be unpacked`() throws {
    let path = try directory.write([], to: "cifar-10-binary.tar.gz")
    let failure = #expect(throws: Failure.self) { try Dataset(directory: path, part: .training) }
    #expect(failure?.status == .missingInput)
    #expect(failure?.description.contains("tar -xf \(path)") == true)
  }

  @Test(.enabled(if: geteuid() != 0, "root may read everything"))
  func `a directory that must not be read is not one to fetch`() throws {
    let path = directory.path + "/secret"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    chmod(path, 0)
    let failure = #expect(throws: Failure.self) { try Dataset(directory: path, part: .training) }
    #expect(failure?.description == "cannot read \(path): Permission denied")
  }

  @Test func `a directory in the place of a file is refused`() throws {
    try directory.write([], to: "test_batch.bin/file")
    let failure = #expect(throws: Failure.self) { try Dataset(directory: directory.path, part: .test) }
    #expect(failure?.status == .missingInput)
    #expect(failure?.message == "\(directory.path)/test_batch.bin must be a file, but is a directory")
  }

  @Test func `class names come from batches.meta.txt, blank lines and carriage returns aside`() throws {
    try directory.write(records(labels: [1]), to: "test_batch.bin")
    #expect(try Dataset(directory: directory.path, part: .test).classNames == CIFAR10Format.classNames)

    let names = (0..<10).map { "class \($0)" }
    try directory.write((names.joined(separator: "\r\n") + "\r\n\r\n").utf8, to: "batches.meta.txt")
    #expect(try Dataset(directory: directory.path, part: .test).classNames == names)

    try directory.write("cat\ndog\n".utf8, to: "batches.meta.txt")
    let failure = #expect(throws: Failure.self) { try Dataset(directory: directory.path, part: .test) }
    #expect(failure?.status == .badData)
    #expect(failure?.message.hasSuffix("batches.meta.txt must name 10 classes, one a line, but names 2") == true)
  }

  @Test func `the fingerprint tells other bytes and another order apart, and not another place`() throws {
    func fingerprint(_ name: String, _ files: [[UInt8]]) throws -> UInt64 {
      for (index, file) in files.enumerated() {
        try directory.write(file, to: "\(name)/data_batch_\(index + 1).bin")
      }
      return try Dataset(directory: "\(directory.path)/\(name)", part: .training).fingerprint
    }
    let (first, second) = (records(labels: [1, 2]), records(labels: [3]))
    let original = try fingerprint("original", [first, second])
    #expect(try fingerprint("copy", [first, second]) == original)
    #expect(try fingerprint("swapped", [second, first]) != original)
    #expect(try fingerprint("joined", [first + second]) != original)
    #expect(try fingerprint("changed", [records(labels: [1, 2], firstPixel: 1), second]) != original)
  }

  @Test func `the mean image is exact, whatever the number and the order of the images`() throws {
    // 1,031 images: more than one block of the 16-bit sums, and a rest that is no multiple of four.
    var bytes: [UInt8] = []
    var sums = [Int](repeating: 0, count: InputShape.cifar10.pixels)
    for image in 0..<1031 {
      bytes.append(UInt8(image % 10))
      for pixel in 0..<InputShape.cifar10.pixels {
        let value = pixel == 7 ? 255 : UInt8(truncatingIfNeeded: (image &* 31 &+ pixel) &* 2_654_435_761 >> 8)
        bytes.append(value)
        sums[pixel] += Int(value)
      }
    }
    try directory.write(bytes, to: "data_batch_1.bin")
    let dataset = try Dataset(directory: directory.path, part: .training)
    let expected = sums.map { Float(Double($0) / 1031) }
    #expect(dataset.mean(.meanImage, over: Array(0..<1031)) == expected)
    #expect(dataset.mean(.meanImage, over: Array((0..<1031).reversed())) == expected)
    #expect(expected[7] == 255)

    let third = dataset.mean(.meanImage, over: [2])
    #expect(third == (1...3072).map { Float(dataset.examples.record(at: 2)[$0]) })
  }
}

@Suite(.enabled(if: RealData.directory != nil, "DESCENT_DATA is not set"))
struct `The real CIFAR-10` {
  @Test func `has 50,000 and 10,000 examples, as many of each class`() throws {
    let directory = try #require(RealData.directory)
    let training = try Dataset(directory: directory, part: .training)
    #expect(training.count == 50_000)
    #expect(training.files.map(\.recordCount) == [10_000, 10_000, 10_000, 10_000, 10_000])
    #expect(training.classHistogram() == [Int](repeating: 5000, count: 10))
    let test = try Dataset(directory: directory, part: .test)
    #expect(test.count == 10_000)
    #expect(test.classHistogram() == [Int](repeating: 1000, count: 10))
    #expect(test.fingerprint != training.fingerprint)
    #expect(training.looksOfficial && test.looksOfficial)
  }

  @Test func `has the channel means that everyone normalises with`() throws {
    // 125.3, 123.0, 113.9 of 255 in widely used training code (0.4914, 0.4822, 0.4465).
    let training = try Dataset(directory: try #require(RealData.directory), part: .training)
    let mean = training.mean(.meanImage, over: Array(0..<50_000))
    for (plane, expected) in [125.3, 123.0, 113.9].enumerated() {
      let average = mean[plane * 1024..<(plane + 1) * 1024].reduce(0) { $0 + Double($1) } / 1024
      #expect(abs(average - expected) < 0.5)
    }
  }
}
