import Diagnostics
import Files

/// A format of other programs that `descent data import` reads. Each is one file and one line of `DatasetImport.importers`.
///
/// Its input is not to be trusted: whatever the bytes are, an importer writes whole examples or throws a `.badData` that
/// names the file, the offset, what stands there and what is expected. It takes memory for what was read, never for what a
/// header claims.
protocol Importer: Sendable {
  /// For messages: "the Python version of CIFAR-10".
  var what: String { get }
  /// The options that act on this format, besides `name`.
  var options: Set<ImportOption> { get }
  /// Nil for a source of another format. Looks at names and first bytes only.
  init?(_ source: ImportSource)
  /// Writes all examples.
  /// - Returns: what they are; the names of the record files are not looked at.
  func read(_ options: ImportOptions, into writer: DatasetWriter) throws(Failure) -> ImportedData
}

/// What an importer says of the examples that it has written.
struct ImportedData {
  var description: DatasetDescription
  /// Sentences about what was left out.
  var remarks: [String] = []
}

/// Images and their labels, which are read in order.
protocol LabelledImages {
  var labels: [UInt8] { get }
  /// - Throws: `.badData` with the place of a label that is no class.
  func requireLabels(below classes: Int) throws(Failure)
  /// - Parameter file: of the image with this number.
  func write(_ file: (Int) -> RecordFile) throws(Failure)
}

extension DatasetWriter {
  /// Writes a training set and a test set; where a source has none, those of its examples that `TestSplit` chooses.
  func write<Images: LabelledImages>(
    _ training: Images, test: Images?, classes: Int, _ options: ImportOptions
  ) throws(Failure) {
    try training.requireLabels(below: classes)
    try test?.requireLabels(below: classes)
    let (trainFile, testFile) = (try records("train.bin", .training), try records("test.bin", .test))
    if let test {
      try options.requireNoSplit()
      try training.write { _ in trainFile }
      try test.write { _ in testFile }
    } else {
      let isTest = try TestSplit(options).choose(training.labels, classes: classes)
      try training.write { isTest[$0] ? testFile : trainFile }
    }
  }
}

/// What some formats leave open.
public enum ImportOption: String, Sendable {
  case labels, classes, size, grayscale
  case testShare = "test-share"
  case seed
  case skipBad = "skip-bad"
}

/// Nil stands for the default of the format.
public struct ImportOptions: Sendable {
  /// Which labels of CIFAR-100.
  public enum Labels: String, Sendable, CaseIterable {
    case fine, coarse
  }

  /// Of the data set.
  public var name: String?
  public var labels: Labels?
  /// In label order, where the format has numbers only.
  public var classes: [String]?
  /// Width and height that pictures are scaled to.
  public var size: PictureSize?
  /// Whether pictures become grey; false for colour.
  public var grayscale: Bool?
  /// The share of the examples of each class that becomes the test set, where the source has none.
  public var testShare: Double?
  /// Of the choice of these.
  public var seed: UInt64?
  /// Whether a picture that cannot be read is left out; otherwise it ends the import.
  public var skipBad: Bool?

  public init() {}

  static let defaultSize = PictureSize(width: 32, height: 32)

  /// - Throws: `.usage` for options of a split where the source has a test set.
  func requireNoSplit() throws(Failure) {
    guard testShare != nil || seed != nil else { return }
    throw Failure(
      .usage,
      "--\((testShare == nil ? ImportOption.seed : .testShare).rawValue) has no meaning: the source has a test set",
      remedy: "Omit it")
  }

  /// Those that are not nil.
  var given: [ImportOption] {
    let all: [(ImportOption, Any?)] = [
      (.labels, labels), (.classes, classes), (.size, size), (.grayscale, grayscale), (.testShare, testShare),
      (.seed, seed), (.skipBad, skipBad),
    ]
    return all.filter { $0.1 != nil }.map(\.0)
  }
}

/// In pixels.
public struct PictureSize: Sendable, Equatable {
  public var width: Int
  public var height: Int

  public init(width: Int, height: Int) { (self.width, self.height) = (width, height) }

  /// "32" for a square, or "40x30".
  public init?(_ text: String) {
    let sides = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
    guard (1...2).contains(sides.count), let width = sides[0], let height = sides[sides.count - 1],
      [width, height].allSatisfy({ (1...16_384).contains($0) }), width > 1 || height > 1
    else { return nil }
    self.init(width: width, height: height)
  }
}

/// Where the data to be imported are.
struct ImportSource {
  /// Without slashes at its end.
  let path: String
  /// Of the entries of a directory, sorted; nil for a file.
  let names: [String]?

  /// - Throws: `.missingInput` where nothing can be read.
  init(_ path: String) throws(Failure) {
    var path = path
    while path.utf8.count > 1, path.hasSuffix("/") { path.removeLast() }
    self.path = path
    let fileSystem = FileSystem()
    switch fileSystem.kind(of: path, followingLinks: true) {
    case .directory, nil: names = try fileSystem.entries(of: path)
    default: names = nil
    }
  }

  init(path: String, names: [String]?) { (self.path, self.names) = (path, names) }

  func holds(_ wanted: String...) -> Bool { wanted.allSatisfy { names?.contains($0) ?? false } }

  /// The source itself, then the directories in it that are there.
  func with(_ directories: String...) -> [ImportSource] {
    [self]
      + directories.compactMap { name in
        let inner = path + "/" + name
        guard let first = name.split(separator: "/").first, holds(String(first)),
          let names = try? FileSystem().entries(of: inner)
        else { return nil }
        return ImportSource(path: inner, names: names)
      }
  }
}

/// `descent data import`: makes a data set of Descent from files in a format of others.
public enum DatasetImport {
  /// In the order in which they are tried.
  static let importers: [any Importer.Type] = [
    CIFARPython.self, CIFAR100Binary.self, IDXFiles.self, NPZArchive.self, ImageFolder.self,
  ]

  /// The first importer that takes a source; nil if none does.
  static func importer(of source: ImportSource) -> (any Importer)? {
    for type in importers {
      if let importer = type.init(source) { return importer }
    }
    return nil
  }

  /// What was imported.
  public struct Summary: Sendable {
    /// "the Python version of CIFAR-10".
    public var format: String
    public var description: DatasetDescription
    public var trainingExamples: Int
    public var testExamples: Int
    /// Sentences about what was left out.
    public var remarks: [String]
  }

  /// Recognizes the format of `source`, a file or directory, and writes what it holds to `directory`, which must not exist
  /// or be empty, and which appears whole or not at all.
  ///
  /// - Parameter progress: called after each example with their number so far; may throw to stop.
  /// - Throws: `.missingInput` for a source that cannot be read or is of no known format; `.usage` for an option that does
  ///   not act on its format; `.badData` with file and offset for a wrong one; `.cannotCreate` and `.inputOutput` for what
  ///   cannot be written.
  public static func run(
    _ source: String, to directory: String, options: ImportOptions = ImportOptions(),
    progress: @escaping (Int) throws(Failure) -> Void = { _ in }
  ) throws(Failure) -> Summary {
    let found = try ImportSource(source)
    guard let importer = importer(of: found) else { throw unknown(found) }
    for option in options.given where !importer.options.contains(option) {
      throw Failure(.usage, "--\(option.rawValue) has no meaning for \(importer.what)", remedy: "Omit it")
    }
    if let share = options.testShare, !(share > 0 && share < 1) {
      throw Failure(.usage, "--test-share must be above 0 and below 1, but is \(share)")
    }
    return try DatasetWriter.write(to: directory, progress: progress) { (writer) throws(Failure) in
      var imported = try importer.read(options, into: writer)
      if let name = options.name { imported.description.name = name }
      // Labels that begin at 1 leave a class 0 without examples.
      let counts = writer.counts(of: .training)
      let empty = imported.description.classNames.indices.filter { $0 < counts.count && counts[$0] == 0 }
      if !empty.isEmpty {
        let names = empty.prefix(10).map { "\($0) (\(imported.description.classNames[$0]))" }.joined(separator: ", ")
        imported.remarks.append("no training example has the label \(names)")
      }
      return Summary(
        format: importer.what, description: try writer.finish(imported.description),
        trainingExamples: writer.count(of: .training), testExamples: writer.count(of: .test),
        remarks: imported.remarks)
    }
  }

  private static func unknown(_ source: ImportSource) -> Failure {
    let foreign = source.names.map { ForeignData(in: source.path, names: $0) } ?? ForeignData(file: source.path)
    return Failure(
      .missingInput, "\(source.path) is of no known format" + (foreign.map { ": it is, or holds, \($0.what)" } ?? ""),
      remedy: foreign?.remedy ?? "See `descent data import --help`")
  }
}
