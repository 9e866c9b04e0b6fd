import Diagnostics
import Files

/// CIFAR-10's and CIFAR-100's Python versions: pickled dictionaries with the pixels as a NumPy array [N, 3072] of bytes and
/// the labels as a list.
struct CIFARPython: Importer {
  let what: String
  let options: Set<ImportOption>

  private let directory: String
  private let isCIFAR100: Bool
  /// Batches of the training set, and the test set.
  private let training: [String]
  private let test: String
  private let meta: String

  init?(_ source: ImportSource) {
    for place in source.with("cifar-10-batches-py") {
      let batches = (place.names ?? []).filter { $0.wholeMatch(of: /data_batch_[0-9]+/) != nil }.sortedNaturally()
      guard !batches.isEmpty else { continue }
      (directory, isCIFAR100, training, test, meta) = (place.path, false, batches, "test_batch", "batches.meta")
      (what, options) = ("the Python version of CIFAR-10", [])
      return
    }
    for place in source.with("cifar-100-python") where place.holds("train", "test", "meta") {
      // Folders of these names hold pictures.
      guard FileSystem().kind(of: place.path + "/train", followingLinks: true) == .file else { continue }
      (directory, isCIFAR100, training, test, meta) = (place.path, true, ["train"], "test", "meta")
      (what, options) = ("the Python version of CIFAR-100", [.labels])
      return
    }
    return nil
  }

  func read(_ options: ImportOptions, into writer: DatasetWriter) throws(Failure) -> ImportedData {
    let labels = options.labels ?? .fine
    let names = try classNames(isCIFAR100 ? "\(labels)_label_names" : "label_names")
    let description =
      isCIFAR100
      ? CIFAR100.description(labels, names)
      : DatasetDescription(name: "CIFAR-10", shape: .cifar10, classNames: names)
    let expected = isCIFAR100 ? CIFAR100.count(of: labels) : CIFAR10Format.classCount
    guard names.count == expected else {
      throw Failure(
        .badData, "\(directory)/\(meta): the number of class names", found: "\(names.count)", expected: "\(expected)")
    }
    let key = isCIFAR100 ? "\(labels)_labels" : "labels"
    for (name, part) in training.map({ ($0, Dataset.Part.training) }) + [(test, .test)] {
      // With the names of the binary version: then it is the same data set as that.
      let target = try writer.records(name + ".bin", part)
      try copy(name, labels: key, classes: expected, to: target)
    }
    let remarks =
      !isCIFAR100 && training.count < 5
      ? ["there are only \(training.count) of the 5 training batches: \(training.joined(separator: ", "))"] : []
    return ImportedData(description: description, remarks: remarks)
  }

  private func classNames(_ key: String) throws(Failure) -> [String] {
    if !isCIFAR100, !FileSystem().exists("\(directory)/\(meta)") { return CIFAR10Format.classNames }
    let batch = try Batch("\(directory)/\(meta)")
    let list = try batch.list(key)
    return try list.elements.enumerated().map { (index, element) throws(Failure) in
      guard let name = batch.reader.text(of: element) else {
        throw batch.reader.failure(
          "name \(index) of \"\(key)\"", at: list.offset, found: "another value", expected: "a string")
      }
      return name
    }
  }

  private func copy(_ name: String, labels key: String, classes: Int, to target: RecordFile) throws(Failure) {
    let batch = try Batch("\(directory)/\(name)")
    let list = try batch.list(key)
    let (count, data) = try batch.pixels()
    guard list.elements.count == count else {
      throw batch.reader.failure(
        "the number of \"\(key)\"", at: list.offset, found: "\(list.elements.count)",
        expected: "\(count), the number of images")
    }
    for (index, element) in list.elements.enumerated() {
      guard case .integer(let label) = element, (0..<classes).contains(label) else {
        let found = if case .integer(let label) = element { "\(label)" } else { "another value" }
        throw batch.reader.failure(
          "label \(index) of the list that begins here", at: list.offset, found: found, expected: "0 to \(classes - 1)")
      }
      let pixels = InputShape.cifar10.pixels
      try target.append(label: UInt8(label), pixels: data[index * pixels..<(index + 1) * pixels])
    }
    try batch.file.requireUnchanged()
  }

  /// A dictionary of one file.
  private struct Batch {
    let file: MappedFile
    let reader: PickleReader
    private let pairs: [(key: PickleValue, value: PickleValue)]

    init(_ path: String) throws(Failure) {
      file = try MappedFile(path: path)
      reader = PickleReader(file)
      guard !file.bytes.isEmpty else { throw Failure(.badData, "\(path) is empty", remedy: "Fetch it again") }
      guard case .dictionary(let dictionary) = try PickleReader.read(file) else {
        throw reader.failure("the pickle", at: 0, found: "another value", expected: "a dictionary")
      }
      pairs = dictionary.pairs
    }

    private func value(_ key: String) throws(Failure) -> PickleValue {
      guard let pair = pairs.last(where: { reader.text(of: $0.key) == key }) else {
        let keys = pairs.prefix(20).compactMap { reader.text(of: $0.key) }.map(printable)
        throw reader.failure(
          "the dictionary", at: 0, found: "the keys \(keys.joined(separator: ", "))", expected: "\"\(key)\" among them")
      }
      return pair.value
    }

    func list(_ key: String) throws(Failure) -> PickleList {
      guard case .list(let list) = try value(key) else {
        throw reader.failure("the value of \"\(key)\"", at: 0, found: "another value", expected: "a list")
      }
      return list
    }

    /// The number of images, and their pixels one after the other.
    func pixels() throws(Failure) -> (count: Int, bytes: [UInt8]) {
      guard case .array(let array) = try value("data") else {
        throw reader.failure("the value of \"data\"", at: 0, found: "another value", expected: "a NumPy array")
      }
      let wanted = "an array [N, \(InputShape.cifar10.pixels)] of the type u1, row by row"
      guard array.type == "u1", !array.isFortran, array.shape.count == 2, array.shape[0] > 0,
        array.shape[1] == InputShape.cifar10.pixels
      else {
        throw reader.failure(
          "the array \"data\"", at: array.offset,
          found: "\(array.shape) of the type \(printable(array.type))\(array.isFortran ? ", column by column" : "")",
          expected: wanted)
      }
      let bytes: [UInt8]
      switch array.bytes {
      case .bytes(let range): bytes = Array(file.bytes[range])
      case .encoded(let encoded): bytes = encoded
      default: throw reader.failure("the array \"data\"", at: array.offset, found: "no bytes", expected: wanted)
      }
      let (size, overflow) = array.shape[0].multipliedReportingOverflow(by: array.shape[1])
      guard !overflow, size == bytes.count else {
        throw reader.failure(
          "the bytes of the array \"data\"", at: array.offset, found: "\(bytes.count)",
          expected: "\(array.shape[0]) × \(array.shape[1])")
      }
      return (array.shape[0], bytes)
    }
  }
}
