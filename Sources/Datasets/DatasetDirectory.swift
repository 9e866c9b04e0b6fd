import Diagnostics
import Files

/// A directory that holds files of records, found and listed but not yet read.
struct DatasetDirectory {
  /// The directory that holds the files: the one that was named, or `cifar-10-batches-bin` inside it.
  private(set) var path: String
  private var names: [String]

  static let remedy =
    "Fetch CIFAR-10 with Scripts/fetch-cifar10.sh, make a data set of your own files with `descent data import SOURCE "
    + "DIR`, or a synthetic one with `descent data synthesize DIR`"

  /// - Throws: `.missingInput` if there is no such directory, it cannot be read, or no data set is in it.
  init(searching directory: String) throws(Failure) {
    let nested = directory + "/" + CIFAR10Format.archiveDirectoryName
    (path, names) = (directory, try Self.fileNames(in: directory))
    if !hasData, FileSystem().exists(nested) { (path, names) = (nested, try Self.fileNames(in: nested)) }
    guard hasData else {
      guard let foreign = ForeignData(in: path, names: names) else {
        let what =
          names.isEmpty
          ? "is empty" : "holds neither \(DatasetDescription.fileName) nor data_batch_*.bin and test_batch.bin"
        throw Failure(.missingInput, "\(path) \(what)", remedy: Self.remedy)
      }
      throw Failure(
        .missingInput,
        "\(path) must hold a data set of Descent or the binary version of CIFAR-10, but holds "
          + foreign.what, remedy: foreign.remedy)
    }
  }

  private var isDescribed: Bool { names.contains(DatasetDescription.fileName) }

  private var hasData: Bool {
    isDescribed || Dataset.Part.allCases.contains { !cifar10Files(of: $0).isEmpty }
  }

  var isSynthetic: Bool { names.contains(CIFAR10Format.syntheticMarkerFileName) }

  /// In the order that numbers the examples: `data_batch_2.bin` before `data_batch_10.bin`.
  private func cifar10Files(of part: Dataset.Part) -> [String] {
    switch part {
    case .training: names.filter(CIFAR10Format.isTrainingFileName).sortedNaturally()
    case .test: names.filter { $0 == CIFAR10Format.testFileName }
    }
  }

  /// What `dataset.json` says, or CIFAR-10 with the files that are there.
  func description() throws(Failure) -> DatasetDescription {
    if isDescribed { return try DatasetDescription(path: path + "/" + DatasetDescription.fileName) }
    var description = DatasetDescription(name: "CIFAR-10", shape: .cifar10, classNames: try cifar10ClassNames())
    description.trainingFiles = cifar10Files(of: .training)
    description.testFiles = cifar10Files(of: .test)
    return description
  }

  /// Names of files that are not read, hidden ones aside.
  func unreadFiles(_ description: DatasetDescription) -> [String] {
    let known =
      [
        DatasetDescription.fileName, CIFAR10Format.classNamesFileName, CIFAR10Format.syntheticMarkerFileName,
        "readme.html",
      ] + description.trainingFiles + description.testFiles
    return names.filter { !known.contains($0) && !$0.hasPrefix(".") }
  }

  /// Sentences about names that may be a mistake: numbers that are missing, and files that nearly have the name of one that
  /// is read. There are none where `dataset.json` lists the files.
  var remarks: [String] {
    if isDescribed { return [] }
    let numbers = Set(
      cifar10Files(of: .training).compactMap { Int($0.dropFirst("data_batch_".count).dropLast(".bin".count)) })
    let missing = (1..<max(1, numbers.max() ?? 1)).lazy.filter { !numbers.contains($0) }.prefix(10)
    let similar = names.filter {
      ($0.hasPrefix("data_batch") || $0.hasPrefix("test_batch")) && !CIFAR10Format.isTrainingFileName($0)
        && $0 != CIFAR10Format.testFileName
    }.prefix(10)
    return missing.map { "there is no \(CIFAR10Format.trainingFileName($0)), although there are later ones" }
      + similar.map { "\($0) is not read: the names are data_batch_1.bin, data_batch_2.bin, … and test_batch.bin" }
  }

  /// The paths of the files of one part, in the order that numbers the examples.
  func files(of part: Dataset.Part, _ description: DatasetDescription) throws(Failure) -> [String] {
    let names = description.files(of: part)
    guard !names.isEmpty else {
      let pattern =
        isDescribed
        ? "file of the \(part) set: \(DatasetDescription.fileName) lists none"
        : "\(part == .training ? "data_batch_*.bin" : CIFAR10Format.testFileName), the \(part) set"
      throw Failure(.missingInput, "\(path) holds no \(pattern)", remedy: isDescribed ? nil : Self.remedy)
    }
    return names.map { path + "/" + $0 }
  }

  /// The names in `batches.meta.txt`, one a line in label order, or the official ones without that file.
  private func cifar10ClassNames() throws(Failure) -> [String] {
    guard names.contains(CIFAR10Format.classNamesFileName) else { return CIFAR10Format.classNames }
    let file = path + "/" + CIFAR10Format.classNamesFileName
    let names = CIFAR10Format.lines(of: try FileSystem().text(of: file, limit: 4096))
    guard names.count == CIFAR10Format.classCount else {
      throw Failure(
        .badData,
        "\(file) must name \(CIFAR10Format.classCount) classes, one a line, but names \(names.count)")
    }
    return names
  }

  static func fileNames(in directory: String) throws(Failure) -> [String] {
    let fileSystem = FileSystem()
    switch fileSystem.kind(of: directory, followingLinks: true) {
    case .directory, nil: return try fileSystem.entries(of: directory, remedy: remedy)
    default:
      let foreign = ForeignData(file: directory)
      throw Failure(
        .missingInput, "the data set must be a directory, but \(directory) is " + (foreign?.what ?? "a file"),
        remedy: foreign?.remedy ?? "Give the directory that holds it")
    }
  }
}

extension [String] {
  /// File names in the order in which people count: numbers in them are compared by their value.
  func sortedNaturally() -> [String] {
    // A file name has at most 255 bytes.
    let keyed = map { name in
      (name.replacing(/0*([0-9]+)/) { String(repeating: "0", count: 255 - $0.1.count) + $0.1 }, name)
    }
    return keyed.sorted { $0 < $1 }.map(\.1)
  }
}
