import Diagnostics
import Files

/// Writes a directory of records and its `dataset.json`. The data set appears whole or not at all: everything is written
/// under a hidden name, and gets its own once all of it is on the disk.
package final class DatasetWriter {
  private let fileSystem = FileSystem()
  /// Without slashes at its end.
  private let directory: String
  private let staging: String
  /// Whether the directory was there, empty, before: its files then appear one by one, `dataset.json` last.
  private let isThere: Bool
  private let progress: (Int) throws(Failure) -> Void
  private var names: [String] = []
  private var parts: [(file: RecordFile, part: Dataset.Part)] = []
  private var written = 0

  /// Lets `body` write a data set to `directory`, which must not exist or be empty; directories above it are made. If
  /// `body` throws, nothing stays behind.
  ///
  /// - Parameters:
  ///   - progress: called after each example with their number so far; may throw to end the writing.
  ///   - body: calls `finish` as its last act.
  /// - Throws: `.cannotCreate` if the directory cannot be made or holds something, or the disk is full; `.inputOutput` if
  ///   writing fails otherwise.
  @discardableResult
  package static func write<Result>(
    to directory: String, progress: @escaping (Int) throws(Failure) -> Void = { _ in },
    _ body: (DatasetWriter) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let writer = try DatasetWriter(directory, progress)
    do throws(Failure) {
      let result = try body(writer)
      try writer.publish()
      return result
    } catch {
      // The first failure is the one to report.
      try? writer.fileSystem.removeDirectory(writer.staging)
      throw error
    }
  }

  private init(_ path: String, _ progress: @escaping (Int) throws(Failure) -> Void) throws(Failure) {
    directory = Self.withoutSlashes(path)
    self.progress = progress
    switch fileSystem.kind(of: directory, followingLinks: true) {
    case nil:
      isThere = false
      if let target = fileSystem.symbolicLinkTarget(directory) { throw .danglingLink(directory, target) }
      try fileSystem.makeDirectories(FileSystem.split(directory).directory)
      staging = fileSystem.temporaryPath(for: directory)
    case .directory:
      isThere = true
      let existing = try fileSystem.entries(of: directory)
      if let first = existing.sortedNaturally().first {  // defence: data-replaced
        throw Failure(
          .cannotCreate, "\(directory) already holds \(first): data are never overwritten",
          remedy: "Name another directory, or remove the files first")
      }
      staging = fileSystem.temporaryPath(for: directory + "/staging")
    default:
      throw Failure(.cannotCreate, "\(directory) must be a directory, but is a file", remedy: "Name another one")
    }
    try fileSystem.makeDirectory(staging)
  }

  private static func withoutSlashes(_ path: String) -> String {
    var path = path
    while path.utf8.count > 1, path.hasSuffix("/") { path.removeLast() }
    return path
  }

  /// Writes a whole file.
  package func write(_ text: String, to name: String) throws(Failure) {
    names.append(name)
    let file = try File("\(staging)/\(name)", for: .creating)
    try file.write(Array(text.utf8))
    // Some file systems report a full disk only here.
    try file.synchronize()
  }

  /// A file of records of one part; the files of a part are read in the order of these calls.
  package func records(_ name: String, _ part: Dataset.Part) throws(Failure) -> RecordFile {
    names.append(name)
    let file = RecordFile(try File("\(staging)/\(name)", for: .creating), name, self)
    parts.append((file, part))
    return file
  }

  /// How many examples were written to one part.
  package func count(of part: Dataset.Part) -> Int { counts(of: part).reduce(0, +) }

  /// How many of each label.
  package func counts(of part: Dataset.Part) -> [Int] {
    parts.filter { $0.part == part }.reduce([Int](repeating: 0, count: 256)) { sums, next in
      zip(sums, next.file.counts).map(+)
    }
  }

  /// Writes what is still in memory, and the description with the names of the files.
  ///
  /// - Parameter describe: false for a directory in the format of CIFAR-10, which needs no description.
  /// - Returns: what `dataset.json` says.
  @discardableResult
  package func finish(_ description: DatasetDescription, describe: Bool = true) throws(Failure) -> DatasetDescription {
    var description = description
    description.trainingFiles = parts.filter { $0.part == .training }.map(\.file.name)
    description.testFiles = parts.filter { $0.part == .test }.map(\.file.name)
    if let problem = description.problem {
      throw Failure(
        .badData, "the data set has a wrong \(problem.what)", found: problem.found, expected: problem.expected)
    }
    for (file, part) in parts {
      try file.finish()
      guard file.counts.contains(where: { $0 > 0 }) else {
        throw Failure(.badData, "the \(part) set has no example in \(file.name)")
      }
      precondition(file.counts[description.classes...].allSatisfy { $0 == 0 }, "a label that is no class")
    }
    if describe { try write(description.json, to: DatasetDescription.fileName) }
    return description
  }

  private func publish() throws(Failure) {
    try fileSystem.synchronize(staging)
    if isThere {
      for name in names { try fileSystem.rename("\(staging)/\(name)", to: "\(directory)/\(name)") }
      try? fileSystem.removeDirectory(staging)
      try fileSystem.synchronize(directory)
    } else {
      try fileSystem.rename(staging, to: directory)
      try fileSystem.synchronize(FileSystem.split(directory).directory)
    }
  }

  fileprivate func hasWritten() throws(Failure) {
    written += 1
    try progress(written)
  }
}

/// A file of records that is being written, in pieces that let the system use large pages.
package final class RecordFile {
  let name: String
  /// Of records with each label.
  private(set) var counts = [Int](repeating: 0, count: 256)
  private let file: File
  private unowned let writer: DatasetWriter
  private var piece: [UInt8] = []
  private static let pieceByteCount = 4 * MappedFile.largePageByteCount

  fileprivate init(_ file: File, _ name: String, _ writer: DatasetWriter) {
    (self.file, self.name, self.writer) = (file, name, writer)
  }

  /// - Parameter fill: appends the record's bytes after the label, all planes of it.
  package func append(label: UInt8, _ fill: (inout [UInt8]) throws(Failure) -> Void) throws(Failure) {
    piece.append(label)
    try fill(&piece)
    counts[Int(label)] += 1
    if piece.count >= Self.pieceByteCount {
      try file.write(Array(piece[..<Self.pieceByteCount]))
      piece.removeFirst(Self.pieceByteCount)
    }
    try writer.hasWritten()
  }

  package func append(label: UInt8, pixels: some Sequence<UInt8>) throws(Failure) {
    try append(label: label) { $0.append(contentsOf: pixels) }
  }

  fileprivate func finish() throws(Failure) {
    try file.write(piece)
    piece = []
    // Some file systems report a full disk only here.
    try file.synchronize()
  }
}
