import Diagnostics
import Files

/// PNG and JPEG files in a folder for each class, as torchvision's `ImageFolder` reads them: classes and files in the order
/// of their names, by code points. `train` and `test` (or `val`, `valid`, `validation`) with such folders are the two parts.
///
/// Pictures become examples as `descent predict` makes them: upright, over white, the middle cut out, scaled. Hidden files
/// and folders are passed over.
struct ImageFolder: Importer {
  let what = "folders of pictures"
  let options: Set<ImportOption> = [.size, .grayscale, .testShare, .seed, .skipBad]

  private let path: String
  private let training: String
  private let test: String?
  /// Other folders of parts, which are not imported.
  private let others: [String]

  private static let testNames = ["test", "testing", "val", "valid", "validation"]

  init?(_ source: ImportSource) {
    guard source.names != nil else { return nil }
    path = source.path
    let folders = Self.folders(in: source.path)
    func holdsClasses(_ folder: String) -> Bool {
      Self.folders(in: "\(source.path)/\(folder)").prefix(16).contains {
        Self.holdsPictures("\(source.path)/\(folder)/\($0)")
      }
    }
    // A class may be called "train" as well: then pictures lie in it.
    if let train = ["train", "training"].first(where: { folders.contains($0) && holdsClasses($0) }) {
      training = "\(path)/\(train)"
      let tests = Self.testNames.filter { folders.contains($0) && holdsClasses($0) }
      test = tests.first.map { "\(source.path)/\($0)" }
      others = folders.filter { $0 != train && $0 != tests.first }
    } else if folders.prefix(64).contains(where: { Self.holdsPictures("\(source.path)/\($0)") }) {
      (training, test, others) = (path, nil, [])
    } else {
      return nil
    }
  }

  /// Names of directories that are not hidden, in order; links are followed.
  private static func folders(in directory: String) -> [String] {
    names(in: directory).filter { FileSystem().kind(of: "\(directory)/\($0)", followingLinks: true) == .directory }
  }

  private static func names(in directory: String) -> [String] {
    let names = (try? FileSystem().entries(of: directory)) ?? []
    // As Python sorts: by code points, which UTF-8 keeps.
    return names.filter { !$0.hasPrefix(".") && $0 != "__MACOSX" }
      .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }

  private static func holdsPictures(_ directory: String) -> Bool {
    names(in: directory).contains(where: ImageFile.hasPictureName)
  }

  // MARK: Reading

  private struct Picture {
    let path: String
    let label: UInt8
    let part: Dataset.Part
  }

  func read(_ options: ImportOptions, into writer: DatasetWriter) throws(Failure) -> ImportedData {
    let size = options.size ?? ImportOptions.defaultSize
    let shape = InputShape(width: size.width, height: size.height, channels: options.grayscale == true ? 1 : 3)
    let classNames = Self.folders(in: training)
    let name = FileSystem.split(path).name
    let description = DatasetDescription(name: name == "." ? "pictures" : name, shape: shape, classNames: classNames)
    if InputShape.allowedPixels.upperBound < shape.pixels {
      throw Failure(
        .usage, "--size must give at most \(InputShape.allowedPixels.upperBound) values, but gives \(shape.pixels)")
    }
    if let problem = description.problem, classNames.count < 2 || classNames.count > 256 {
      throw Failure(
        .badData, "\(training): the \(problem.what)", found: "\(classNames.count) folders", expected: problem.expected)
    }
    var walk = FolderWalk()
    var pictures = try find(in: training, .training, classNames, &walk)
    if let test {
      try options.requireNoSplit()
      let unknown = Self.folders(in: test).filter { !classNames.contains($0) }
      if let folder = unknown.first {
        throw Failure(
          .badData, "\(test): the folder \(printable(folder))", found: "a class of the test set only",
          expected: "folders of the names in \(training)")
      }
      pictures += try find(in: test, .test, classNames, &walk)
    } else {
      let isTest = try TestSplit(options).choose(pictures.map(\.label), classes: classNames.count)
      pictures = zip(pictures, isTest).map { Picture(path: $0.path, label: $0.label, part: $1 ? .test : .training) }
    }
    let remarks = try write(pictures, shape, walk, skipsBad: options.skipBad == true, into: writer)
    return ImportedData(
      description: description,
      remarks: remarks + (others.isEmpty ? [] : ["not imported: " + others.prefix(20).joined(separator: ", ")]))
  }

  private func find(
    in directory: String, _ part: Dataset.Part, _ classNames: [String], _ walk: inout FolderWalk
  ) throws(Failure) -> [Picture] {
    var pictures: [Picture] = []
    for (label, name) in classNames.enumerated() {
      let folder = "\(directory)/\(name)"
      guard part == .training || FileSystem().exists(folder) else { continue }
      let found = try walk.pictures(in: folder)
      guard !found.isEmpty || part == .test else {
        throw Failure(
          .badData, "\(printable(folder)) holds no PNG or JPEG file",
          remedy: "Remove the folder, or put the pictures there")
      }
      pictures += found.map { Picture(path: $0, label: UInt8(label), part: part) }
    }
    return pictures
  }

  /// - Returns: sentences about what was left out.
  private func write(
    _ pictures: [Picture], _ shape: InputShape, _ walk: FolderWalk, skipsBad: Bool, into writer: DatasetWriter
  ) throws(Failure) -> [String] {
    let (trainFile, testFile) = (try writer.records("train.bin", .training), try writer.records("test.bin", .test))
    var (bad, odd) = (walk.oddNames.map { "\($0): its name is not UTF-8" }, [String]())
    for picture in pictures {
      do throws(Failure) {
        let image = try ImageFile.load(path: picture.path) { odd.append($0) }
        let target = picture.part == .training ? trainFile : testFile
        try target.append(label: picture.label, pixels: image.pixels(as: shape))
      } catch {
        // What cannot be written, or a signal, ends the import.
        guard [.badData, .missingInput].contains(error.status) else { throw error }
        bad.append(error.description)
      }
    }
    let list = bad.prefix(10).map(printable).joined(separator: "; ") + (bad.count > 10 ? "; …" : "")
    let count = "\(bad.count) of \(pictures.count + walk.oddNames.count) pictures"
    guard bad.isEmpty || skipsBad else {
      throw Failure(
        .badData, "\(count) cannot be read: \(list)",
        remedy:
          "Repair or remove \(bad.count == 1 ? "it" : "them"), or leave \(bad.count == 1 ? "it" : "them") out with --skip-bad"
      )
    }
    let others = walk.otherCount
    return (bad.isEmpty ? [] : ["\(count) were left out: \(list)"]) + odd.prefix(10)
      + (others == 0 ? [] : ["left out, as they are not called as pictures: \(others) file\(others == 1 ? "" : "s")"])
  }
}

/// Finds the pictures below a folder; links are followed, but not in circles.
private struct FolderWalk {
  /// Files with other names.
  private(set) var otherCount = 0
  /// Pictures whose names cannot be given.
  private(set) var oddNames: [String] = []
  private static let largestDepth = 16

  /// In the order of `os.walk`: the files of a folder, then those of the folders in it.
  mutating func pictures(in folder: String) throws(Failure) -> [String] { try pictures(in: folder, above: []) }

  private mutating func pictures(in folder: String, above: [UInt64]) throws(Failure) -> [String] {
    let fileSystem = FileSystem()
    let inode = fileSystem.status(of: folder)?.inode ?? 0
    guard above.count < Self.largestDepth, !above.contains(inode) else {  // defence: folder-circles
      throw Failure(
        .badData,
        "\(printable(folder)) leads back to a folder above it, or is nested more than \(Self.largestDepth) deep",
        remedy: "Remove the link")
    }
    oddNames += SystemDisk().oddNames(of: folder).map { "\(folder)/\($0)" }
    let names = try fileSystem.entries(of: folder).filter { !$0.hasPrefix(".") && $0 != "__MACOSX" }
      .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    var (found, folders) = ([String](), [String]())
    for name in names {
      let path = "\(folder)/\(name)"
      if fileSystem.kind(of: path, followingLinks: true) == .directory {
        folders.append(path)
      } else if ImageFile.hasPictureName(name) {
        found.append(path)
      } else {
        otherCount += 1
      }
    }
    for path in folders { found += try pictures(in: path, above: above + [inode]) }
    return found
  }
}
