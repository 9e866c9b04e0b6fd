import Diagnostics
import Files

/// IDX files, the format of MNIST (LeCun, Cortes, Burges) and of the sets made after it: `train-images-idx3-ubyte`,
/// `train-labels-idx1-ubyte`, and `t10k-` or `test-` for the test set; compressed by gzip or not, with a dot in the place
/// of the second dash or not.
///
/// A file begins with a magic number (0, 0, the type, the number of dimensions) and the size of each dimension, all in four
/// bytes, most significant first. Images are bytes [N, height, width], labels bytes [N].
struct IDXFiles: Importer {
  let what = "IDX files (MNIST)"
  let options: Set<ImportOption> = [.classes, .testShare, .seed]

  private struct Pair {
    let images: String
    let labels: String?
  }

  private let directory: String
  /// The images of each part; several where a directory holds several sets.
  private var pairs: [(part: Dataset.Part, Pair)] = []

  init?(_ source: ImportSource) {
    for place in source.with("raw", "MNIST/raw", "FashionMNIST/raw", "KMNIST/raw", "QMNIST/raw", "MNIST", "gzip") {
      let (directory, names) = place.names.map { (place.path, $0) } ?? Self.neighbours(of: place.path)
      let chosen = place.names == nil ? FileSystem.split(place.path).name : nil
      // Tools that unpack archives name a file by its stem or not, and some make a directory of it.
      let files = names.filter {
        Self.key($0).contains("-ubyte")
          && FileSystem().kind(of: "\(directory)/\($0)", followingLinks: true) != .directory
      }
      let images = files.filter { Self.key($0).contains("images-idx") }
      var keys: Set<String> = []
      pairs = images.filter {
        (chosen == nil || Self.key($0) == Self.key(chosen ?? "")) && keys.insert(Self.key($0)).inserted
      }
      .map { name in
        let key = Self.key(name).replacing("images-idx3", with: "labels-idx1").replacing(
          "images-idx4", with: "labels-idx1")
        let part: Dataset.Part = key.contains("t10k") || key.contains("test") ? .test : .training
        return (
          part,
          Pair(images: "\(directory)/\(name)", labels: files.first { Self.key($0) == key }.map { "\(directory)/\($0)" })
        )
      }
      if !pairs.isEmpty {
        self.directory = directory
        return
      }
    }
    return nil
  }

  /// A single file stands for those beside it of the same set.
  private static func neighbours(of path: String) -> (String, [String]) {
    let (directory, name) = FileSystem.split(path)
    guard key(name).contains("-ubyte") else { return (directory, []) }
    return (directory, (try? FileSystem().entries(of: directory)) ?? [])
  }

  /// A name without what tools change of it.
  private static func key(_ name: String) -> String {
    let name = name.lowercased()
    return (name.hasSuffix(".gz") ? String(name.dropLast(3)) : name).replacing(".", with: "-")
  }

  func read(_ options: ImportOptions, into writer: DatasetWriter) throws(Failure) -> ImportedData {
    let training = try only(.training)
    let test = try only(.test)
    guard let training else {
      throw Failure(
        .missingInput, "\(directory) holds no training images", remedy: "They are called train-images-idx3-ubyte")
    }
    let examples = try Examples(training)
    let testExamples = try test.map { (pair) throws(Failure) in try Examples(pair) }
    if let testExamples, testExamples.shape != examples.shape {
      throw testExamples.images.failure(
        "the images have another size than those of the training set", at: 8, found: "\(testExamples.shape)",
        expected: "\(examples.shape)")
    }
    let known = KnownSet.of(examples.labels)
    let classNames = options.classes ?? known?.classNames ?? numbered(examples.labels, testExamples?.labels ?? [])
    try writer.write(examples, test: testExamples, classes: classNames.count, options)
    let (parent, name) = FileSystem.split(directory)
    let ownName = name == "raw" ? FileSystem.split(parent).name : name
    return ImportedData(
      description: DatasetDescription(name: known?.name ?? ownName, shape: examples.shape, classNames: classNames))
  }

  /// The images of a part, where there are any.
  private func only(_ part: Dataset.Part) throws(Failure) -> Pair? {
    let found = pairs.filter { $0.part == part }.map(\.1)
    guard found.count <= 1 else {
      throw Failure(
        .badData, "\(directory) holds several sets: \(found[0].images), \(found[1].images)",
        remedy: "Put one of them into a directory of its own")
    }
    return found.first
  }

  /// The images of one file and their labels.
  private struct Examples: LabelledImages {
    let images: ByteStream
    let shape: InputShape
    let labels: [UInt8]
    private let labelsPath: String

    init(_ pair: Pair) throws(Failure) {
      images = try ByteStream(path: pair.images)
      guard let labels = pair.labels else {
        throw Failure(
          .missingInput, "\(pair.images) has no labels beside it",
          remedy: "They are called like the images, with labels-idx1 in the place of images-idx3")
      }
      let sizes = try Self.header(of: images, dimensions: 3, "images")
      let pixels = sizes[1].multipliedReportingOverflow(by: sizes[2])
      guard sizes[1] > 0, sizes[2] > 0, !pixels.overflow, InputShape.allowedPixels.contains(pixels.partialValue) else {
        throw images.failure(
          "the size of the images", at: 8, found: "\(sizes[1]) × \(sizes[2])",
          expected: "\(InputShape.allowedPixels.lowerBound) to \(InputShape.allowedPixels.upperBound) pixels")
      }
      shape = InputShape(width: sizes[2], height: sizes[1], channels: 1)
      labelsPath = labels
      let stream = try ByteStream(path: labels)
      let count = try Self.header(of: stream, dimensions: 1, "labels")[0]
      guard count == sizes[0] else {
        throw stream.failure(
          "the number of labels", at: 4, found: "\(count)",
          expected: "\(sizes[0]), the number of images in \(pair.images)")
      }
      guard count > 0 else { throw stream.failure("the number of labels", at: 4, found: "0", expected: "at least 1") }
      self.labels = try stream.read(count, "the \(count) labels")
      try stream.requireEnd(after: "\(count) labels")
    }

    private static func header(of stream: ByteStream, dimensions: Int, _ what: String) throws(Failure) -> [Int] {
      let magic = try stream.read(4, "the magic number")
      guard magic == [0, 0, 8, UInt8(dimensions)] else {
        throw stream.failure(
          "the magic number of \(what)", at: 0, found: "0x" + magic.map { hexadecimal($0) }.joined(),
          expected: "0x0000080\(dimensions), bytes in \(dimensions) dimension\(dimensions == 1 ? "" : "s")")
      }
      return try (0..<dimensions).map { (_) throws(Failure) in
        try stream.read(4, "the sizes").reduce(0) { $0 << 8 | Int($1) }
      }
    }

    func requireLabels(below classes: Int) throws(Failure) {
      guard let index = labels.firstIndex(where: { $0 >= classes }) else { return }
      throw Failure(
        .badData, "\(labelsPath), byte \(8 + index): the label of image \(index)", found: "\(labels[index])",
        expected: "0 to \(classes - 1)")
    }

    func write(_ file: (Int) -> RecordFile) throws(Failure) {
      for (index, label) in labels.enumerated() {
        try file(index).append(label: label) { (bytes) throws(Failure) in
          try images.read(shape.pixels, into: &bytes, "image \(index)")
        }
      }
      try images.requireEnd(after: "\(labels.count) images")
    }
  }
}

/// "0", "1", … up to the largest label.
func numbered(_ labels: [UInt8]...) -> [String] { (0...(labels.joined().max() ?? 0)).map { "\($0)" } }

/// Sets whose files say nothing of their classes, known by the number and the first of their training labels.
struct KnownSet {
  let name: String
  let classNames: [String]
  private let firstLabels: [UInt8]

  static func of(_ trainingLabels: [UInt8]) -> KnownSet? {
    trainingLabels.count == 60_000 ? all.first { trainingLabels.starts(with: $0.firstLabels) } : nil
  }

  private static let all = [
    KnownSet(
      name: "MNIST", classNames: (0...9).map { "\($0)" }, firstLabels: [5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5, 3, 6, 1, 7]),
    KnownSet(
      name: "Fashion-MNIST",
      classNames: [
        "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
      ], firstLabels: [9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0, 9, 5, 5, 7, 9]),
  ]
}
