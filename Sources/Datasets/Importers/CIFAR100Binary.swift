import Diagnostics
import Files

/// CIFAR-100's binary version: `train.bin` and `test.bin` with records of the coarse label, the fine label and 3,072 pixel
/// bytes, and the names of either kind of classes, one a line.
struct CIFAR100Binary: Importer {
  let what = "the binary version of CIFAR-100"
  let options: Set<ImportOption> = [.labels]

  private let directory: String
  private static let recordByteCount = 2 + InputShape.cifar10.pixels

  init?(_ source: ImportSource) {
    let place = source.with("cifar-100-binary").first {
      $0.holds("train.bin", "test.bin") && !$0.holds(DatasetDescription.fileName)
    }
    guard let place else { return nil }
    directory = place.path
  }

  func read(_ options: ImportOptions, into writer: DatasetWriter) throws(Failure) -> ImportedData {
    let labels = options.labels ?? .fine
    let namesPath = "\(directory)/\(labels)_label_names.txt"
    let names = CIFAR10Format.lines(of: try FileSystem().text(of: namesPath, limit: 1 << 16))
    let description = CIFAR100.description(labels, names)
    guard names.count == CIFAR100.count(of: labels) else {
      throw Failure(
        .badData, "\(namesPath): the number of names", found: "\(names.count)",
        expected: "\(CIFAR100.count(of: labels))")
    }
    for (name, part) in [("train.bin", Dataset.Part.training), ("test.bin", .test)] {
      try copy("\(directory)/\(name)", labels, to: try writer.records(name, part))
    }
    return ImportedData(description: description)
  }

  private func copy(_ path: String, _ labels: ImportOptions.Labels, to target: RecordFile) throws(Failure) {
    let file = try MappedFile(path: path)
    let (count, rest) = file.bytes.count.quotientAndRemainder(dividingBy: Self.recordByteCount)
    guard rest == 0, count > 0 else {
      throw Failure(
        .badData, "\(path), byte \(count * Self.recordByteCount): the last record", found: "\(rest) bytes",
        expected: "records of \(Self.recordByteCount) bytes: two labels and \(InputShape.cifar10.pixels) pixels",
        remedy: "If it was copied or downloaded, it may be cut short: fetch it again")
    }
    for record in 0..<count {
      let offset = record * Self.recordByteCount
      for (index, kind) in [ImportOptions.Labels.coarse, .fine].enumerated() {
        guard file.bytes[offset + index] < CIFAR100.count(of: kind) else {
          throw Failure(
            .badData, "\(path), byte \(offset + index): the \(kind) label of record \(record)",
            found: "\(file.bytes[offset + index])", expected: "0 to \(CIFAR100.count(of: kind) - 1)")
        }
      }
      try target.append(
        label: file.bytes[offset + (labels == .fine ? 1 : 0)],
        pixels: file.bytes[offset + 2..<offset + Self.recordByteCount])
    }
    try file.requireUnchanged()
  }
}

/// What the versions of CIFAR-100 have in common (Krizhevsky 2009): 100 classes in 20 superclasses.
enum CIFAR100 {
  static func count(of labels: ImportOptions.Labels) -> Int { labels == .fine ? 100 : 20 }

  static func description(_ labels: ImportOptions.Labels, _ names: [String]) -> DatasetDescription {
    DatasetDescription(
      name: labels == .fine ? "CIFAR-100" : "CIFAR-100 (20 superclasses)", shape: .cifar10, classNames: names)
  }
}
