import Diagnostics
import Files

/// NumPy's `.npz`: a ZIP archive of arrays (numpy.lib.format, versions 1.0 to 3.0), made by `numpy.savez` or
/// `savez_compressed`.
///
/// Images are bytes [N, height, width], [N, height, width, channels] or [N, channels, height, width], labels integers [N] or
/// [N, 1]. Of four dimensions the last is taken to be that of the channels if it is 1 or 3, otherwise the second, which must
/// then be 1 or 3. [N, D] are points.
struct NPZArchive: Importer {
  let what = "a NumPy archive (.npz)"
  let options: Set<ImportOption> = [.classes, .testShare, .seed]

  private let path: String

  init?(_ source: ImportSource) {
    guard source.names == nil, source.path.lowercased().hasSuffix(".npz") else { return nil }
    path = source.path
  }

  /// Names of the arrays in use: those of Keras, scikit-learn, MedMNIST, and what `numpy.savez` is given.
  private static let names: [(images: String, labels: String, testImages: String, testLabels: String)] = [
    ("x_train", "y_train", "x_test", "y_test"),
    ("X_train", "y_train", "X_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("images", "labels", "test_images", "test_labels"),
    ("x", "y", "", ""), ("X", "y", "", ""), ("data", "labels", "", ""), ("arr_0", "arr_1", "", ""),
  ]

  func read(_ options: ImportOptions, into writer: DatasetWriter) throws(Failure) -> ImportedData {
    let archive = try ZIPArchive(path: path)
    func entry(_ name: String) -> ZIPArchive.Entry? { archive.entries.first { $0.name == name + ".npy" } }
    guard let names = Self.names.first(where: { entry($0.images) != nil && entry($0.labels) != nil }),
      let images = entry(names.images), let labels = entry(names.labels)
    else {
      let found = archive.entries.prefix(20).map { printable($0.name) }.joined(separator: ", ")
      throw Failure(
        .badData, "\(path): the arrays", found: found.isEmpty ? "none" : found,
        expected: "x_train and y_train, with x_test and y_test, or images and labels",
        remedy: "Write them with numpy.savez(\"FILE.npz\", images=..., labels=...)")
    }
    let examples = try Examples(archive.open(images), archive.open(labels))
    var testExamples: Examples?
    if let images = entry(names.testImages), let labels = entry(names.testLabels) {
      let test = try Examples(archive.open(images), archive.open(labels))
      guard test.layout == examples.layout else {
        throw Failure(
          .badData, "\(test.images.path): the images have another shape than those of the training set",
          found: "\(test.layout.shape)", expected: "\(examples.layout.shape)")
      }
      testExamples = test
    }
    let classNames = options.classes ?? numbered(examples.labels, testExamples?.labels ?? [])
    try writer.write(examples, test: testExamples, classes: classNames.count, options)
    let used = [names.images, names.labels] + (testExamples == nil ? [] : [names.testImages, names.testLabels])
    let unused = archive.entries.map(\.name).filter { name in !used.contains { $0 + ".npy" == name } }
    let name = FileSystem.split(path).name.dropLast(".npz".count)
    return ImportedData(
      description: DatasetDescription(
        name: name.isEmpty ? "arrays" : String(name), shape: examples.layout.shape, classNames: classNames),
      remarks: unused.isEmpty ? [] : ["not imported: " + unused.prefix(20).joined(separator: ", ")])
  }

  /// How the bytes of an image lie in its array.
  private struct Layout: Equatable {
    let shape: InputShape
    let isChannelsLast: Bool

    /// - Parameter sizes: those of one image.
    init?(_ sizes: [Int]) {
      // As small as any that counts, so that no product overflows.
      guard sizes.allSatisfy({ $0 >= 1 && $0 <= InputShape.allowedPixels.upperBound }) else { return nil }
      switch sizes.count {
      case 1: (shape, isChannelsLast) = (InputShape(width: 1, height: 1, channels: sizes[0]), false)
      case 2: (shape, isChannelsLast) = (InputShape(width: sizes[1], height: sizes[0], channels: 1), false)
      case 3 where [1, 3].contains(sizes[2]):
        (shape, isChannelsLast) = (InputShape(width: sizes[1], height: sizes[0], channels: sizes[2]), true)
      case 3 where [1, 3].contains(sizes[0]):
        (shape, isChannelsLast) = (InputShape(width: sizes[2], height: sizes[1], channels: sizes[0]), false)
      default: return nil
      }
      guard InputShape.allowedPixels.contains(shape.pixels) else { return nil }
    }
  }

  private struct Examples: LabelledImages {
    let images: ByteStream
    let layout: Layout
    let labels: [UInt8]
    private let labelsPath: String

    init(_ images: ByteStream, _ labels: ByteStream) throws(Failure) {
      self.images = images
      labelsPath = labels.path
      let header = try NPYHeader(images)
      guard header.type == "|u1" || header.type == "<u1" else {
        throw Failure(
          .badData, "\(images.path): the type of the images", found: header.type, expected: "|u1 (uint8)",
          remedy: header.type.contains("f")
            ? "Convert them: (images * 255).round().astype(\"uint8\"), if they are 0 to 1"
            : "Convert them: images.astype(\"uint8\"), if they are 0 to 255")
      }
      guard !header.isFortran else {
        throw Failure(
          .badData, "\(images.path): the order of the images", found: "fortran_order True", expected: "False",
          remedy: "Convert them: numpy.ascontiguousarray(images)")
      }
      guard header.shape.count > 1, let layout = Layout(Array(header.shape.dropFirst())) else {
        throw Failure(
          .badData, "\(images.path): the shape of the images", found: "\(header.shape)",
          expected: "[N, height, width], [N, height, width, 1 or 3], [N, 1 or 3, height, width] or [N, D], with 2 to "
            + "1048576 values each")
      }
      self.layout = layout
      self.labels = try Self.labels(labels, count: header.shape[0])
    }

    private static func labels(_ stream: ByteStream, count: Int) throws(Failure) -> [UInt8] {
      let header = try NPYHeader(stream)
      guard let match = header.type.wholeMatch(of: /[|<]([ui])([1248])/), let size = Int(match.2) else {
        throw Failure(
          .badData, "\(stream.path): the type of the labels", found: header.type,
          expected: "integers, little-endian, such as <i8 (int64) or |u1 (uint8)",
          remedy: "Convert them: labels.astype(\"int64\")")
      }
      guard header.shape == [count] || header.shape == [count, 1], count > 0 else {
        throw Failure(
          .badData, "\(stream.path): the shape of the labels", found: "\(header.shape)",
          expected: "[\(count)], the number of images",
          remedy: header.shape.count == 2 && header.shape[0] == count ? "Convert them: labels.argmax(1)" : nil)
      }
      var labels: [UInt8] = []
      var item: [UInt8] = []
      for index in 0..<count {
        item.removeAll(keepingCapacity: true)
        let offset = stream.position
        try stream.read(size, into: &item, "label \(index)")
        // Little-endian: a label is its first byte, and the others are zero.
        guard item.dropFirst().allSatisfy({ $0 == 0 }), match.1 == "u" || size > 1 || item[0] < 128 else {
          let bits = item.reversed().reduce(match.1 == "i" && item[size - 1] > 127 ? UInt64.max : 0) {
            $0 << 8 | UInt64($1)
          }
          throw stream.failure(
            "label \(index)", at: offset, found: match.1 == "i" ? "\(Int64(bitPattern: bits))" : "\(bits)",
            expected: "0 to 255")
        }
        labels.append(item[0])
      }
      try stream.requireEnd(after: "\(count) labels")
      return labels
    }

    func requireLabels(below classes: Int) throws(Failure) {
      guard let index = labels.firstIndex(where: { $0 >= classes }) else { return }
      throw Failure(
        .badData, "\(labelsPath): label \(index)", found: "\(labels[index])", expected: "0 to \(classes - 1)")
    }

    func write(_ file: (Int) -> RecordFile) throws(Failure) {
      let (channels, pixels) = (layout.shape.channels, layout.shape.pixels)
      var image: [UInt8] = []
      for (index, label) in labels.enumerated() {
        image.removeAll(keepingCapacity: true)
        try images.read(pixels, into: &image, "image \(index)")
        try file(index).append(label: label) { (record) in
          guard layout.isChannelsLast, channels > 1 else { return record.append(contentsOf: image) }
          for channel in 0..<channels {
            for pixel in stride(from: channel, to: pixels, by: channels) { record.append(image[pixel]) }
          }
        }
      }
      try images.requireEnd(after: "\(labels.count) images")
    }
  }
}

/// The header of a NumPy array: "\x93NUMPY", the version, the size of the rest, and a Python dictionary as text, of which
/// only the three values are read.
private struct NPYHeader {
  /// "|u1", "<i8"; a structured type is its list.
  let type: String
  let isFortran: Bool
  let shape: [Int]

  init(_ stream: ByteStream) throws(Failure) {
    let start = try stream.read(8, "the header")
    guard start.starts(with: [0x93] + Array("NUMPY".utf8)), (1...3).contains(start[6]) else {
      throw stream.failure(
        "a NumPy array", at: 0, found: start.map { hexadecimal($0) }.joined(separator: " "),
        expected: "\\x93NUMPY and a version from 1 to 3")
    }
    let size = try stream.read(start[6] == 1 ? 2 : 4, "the header").reversed().reduce(0) { $0 << 8 | Int($1) }
    // NumPy itself takes no more.
    guard size <= 10_000 else {
      throw stream.failure("the size of the header", at: 8, found: "\(size)", expected: "at most 10000")
    }
    let offset = stream.position
    let text = String(decoding: try stream.read(size, "the header"), as: UTF8.self)
    let type = text.firstMatch(of: /['"]descr['"]\s*:\s*(?:['"]([^'"]*)['"]|(\[.*\]))/)
    let order = text.firstMatch(of: /['"]fortran_order['"]\s*:\s*(True|False)/)
    let sizes = text.firstMatch(of: /['"]shape['"]\s*:\s*\(([0-9, L]*)\)/)
    let shape = sizes.map { $0.1.split { ", L".contains($0) }.map { Int($0) } }
    guard let type, let order, let shape, shape.count <= 8, shape.allSatisfy({ $0 != nil }) else {
      throw stream.failure(
        "the header", at: offset, found: printable(String(text.prefix(120))),
        expected: "'descr', 'fortran_order' and 'shape'")
    }
    self.type = String(type.1 ?? type.2 ?? "")
    isFortran = order.1 == "True"
    self.shape = shape.compactMap(\.self)
    guard self.type != "|O" else {
      throw stream.failure(
        "the type of the array", at: offset, found: "|O, objects that only Python can load", expected: "numbers",
        remedy: "Convert them: numpy.stack(images) where all have one size, labels.astype(\"int64\")")
    }
  }
}
