import CKernels
import Diagnostics
import Files
import Optimization

/// The training or the test part of a data set, memory-mapped: pixels stay bytes, and the processes of one host share
/// them. A directory holds files of records and a `dataset.json` that describes them (`DatasetDescription`); one with the
/// files of CIFAR-10's binary version needs no description.
///
/// Example `i` is the `i`-th record when the files are read one after the other in natural order. Other processes may
/// change the files while a dataset is open: what was computed from it counts once `verify` has returned.
public final class Dataset: Sendable {
  public enum Part: String, Sendable, CaseIterable {
    /// Those that `dataset.json` lists as "train", or every `data_batch_*.bin`: 1, 2, …, 10.
    case training
    /// Those that `dataset.json` lists as "test", or `test_batch.bin`.
    case test
  }

  /// The directory that holds the files: the one that was named, or `cifar-10-batches-bin` inside it.
  public let directory: String
  public let part: Part
  public let description: DatasetDescription
  public let files: [DataFile]
  /// The records in order, without a copy of them.
  public let examples: ExampleTable
  /// Whether the files were made by `SyntheticDataset`, going by the marker that it leaves beside them.
  public let isSynthetic: Bool
  /// Sentences about names in the directory that may be a mistake.
  public let remarks: [String]
  /// Names of files in the directory that are not read, hidden ones aside.
  public let unreadFiles: [String]
  /// A number that tells one set of examples from another: the record count and CRC-32C of every file, in order, and the
  /// shape and the number of classes where they are not those of CIFAR-10. The same wherever the files lie, and whatever
  /// the classes are called. Against accidents, not against forgery.
  public let fingerprint: UInt64

  /// Number of examples.
  public var count: Int { examples.count }

  /// Whether this process holds a copy of the files, because their file system cannot map them.
  public var isCopied: Bool { files.contains { $0.mapping.isCopied } }

  /// In label order.
  public var classNames: [String] { description.classNames }

  /// Whether files, sizes and classes are those of CIFAR-10; `DatasetReport` compares the bytes as well.
  public var looksOfficial: Bool {
    !isSynthetic && classNames == CIFAR10Format.classNames && description.shape == .cifar10
      && files.count == (part == .training ? 5 : 1)
      && files.allSatisfy {
        CIFAR10Format.officialDigests[$0.name] != nil && $0.recordCount == CIFAR10Format.officialRecordCount
      }
  }

  /// Finds, maps and checks the files of one part. `directory` may also be the parent of `cifar-10-batches-bin`.
  ///
  /// - Throws: `Failure` that names the file, and the byte offset where there is one. `.missingInput`: a directory
  ///   or file is missing or cannot be read. `.badData`: `dataset.json` is wrong, a size is not a positive multiple of
  ///   a record, a label is no class, or `batches.meta.txt` does not hold ten names.
  public init(directory: String, part: Part) throws(Failure) {
    let found = try DatasetDirectory(searching: directory)
    let description = try found.description()
    let files = try found.files(of: part, description).map { (path) throws(Failure) in
      try DataFile(path: path, description)
    }
    self.directory = found.path
    self.part = part
    self.description = description
    self.files = files
    self.isSynthetic = found.isSynthetic
    self.remarks = found.remarks
    self.unreadFiles = found.unreadFiles(description)
    self.fingerprint = Self.fingerprint(of: files, description)
    self.examples = ExampleTable(
      records: files.flatMap(\.records), classes: description.classes, owner: files.map(\.mapping))
  }

  /// Returns if all files still have the bytes that were checked when they were opened. As a rule that takes one system
  /// call for each file.
  ///
  /// - Parameter thoroughly: whether to read all bytes even if the system says that no file has changed: a disk may have
  ///   failed.
  /// - Throws: `.badData` that names a file that was cut short or rewritten, `.inputOutput` for one that cannot be read.
  public func verify(thoroughly: Bool = false) throws(Failure) {
    for file in files { try file.verify(thoroughly: thoroughly) }
  }

  /// How many examples each class has.
  public func classHistogram() -> [Int] {
    let classes = description.classes
    return (0..<count).reduce(into: [Int](repeating: 0, count: classes)) { histogram, index in
      // A label that was changed since it was checked counts as one that is there.
      histogram[min(Int(examples.record(at: index).pointee), classes - 1)] += 1
    }
  }

  /// FNV-1a of little-endian words of eight bytes: the number of files, each file's count and checksum, and what differs
  /// from CIFAR-10.
  private static func fingerprint(of files: [DataFile], _ description: DatasetDescription) -> UInt64 {
    let shape = description.shape
    let isUsual = shape == .cifar10 && description.classes == CIFAR10Format.classCount
    let sizes = isUsual ? [] : [shape.width, shape.height, shape.channels, description.classes].map(UInt64.init)
    let words = [UInt64(files.count)] + files.flatMap { [UInt64($0.recordCount), UInt64($0.checksum)] } + sizes
    return fnv1a(words.flatMap { word in withUnsafeBytes(of: word.littleEndian) { Array($0) } })
  }
}

/// One file of records, mapped and checked: a whole number of them, every label a class.
public struct DataFile: Sendable {
  /// CRC-32C of all bytes of the file.
  public let checksum: UInt32
  let mapping: MappedFile
  private let recordByteCount: Int

  public var path: String { mapping.path }
  public var recordCount: Int { bytes.count / recordByteCount }
  /// The last component of the path.
  public var name: String { FileSystem.split(path).name }
  /// The bytes of the file, valid as long as the dataset.
  public var bytes: UnsafeRawBufferPointer { mapping.bytes }

  /// - Throws: `.missingInput` if the file cannot be read; `.badData` with the byte offset if its size is not
  ///   a positive multiple of the record's or a label is none of the classes.
  package init(path: String, _ description: DatasetDescription) throws(Failure) {
    mapping = try MappedFile(path: path)
    recordByteCount = description.recordByteCount
    let (records, rest) = mapping.bytes.count.quotientAndRemainder(dividingBy: recordByteCount)
    let remedy = "If it was downloaded, it may be cut short: fetch it again"
    guard records > 0 || rest > 0 else { throw Failure(.badData, "\(path) is empty", remedy: remedy) }
    // defence: data-kind
    if let kind = FileKind(of: mapping.bytes), rest != 0 || mapping.bytes[0] >= description.classes {
      throw Failure(
        .badData, "\(path) must hold records of \(description.name), but is \(kind.words)",
        remedy: kind == .other("a gzip archive")
          ? "Unpack it: gunzip < FILE > \(FileSystem.split(path).name)" : "Fetch it again")
    }
    guard rest == 0 else {
      throw Failure(
        .badData,
        "\(path) must be a whole number of records of \(recordByteCount) bytes, but has \(mapping.bytes.count) bytes: "
          + "the record at byte offset \(records * recordByteCount) has only \(rest)", remedy: remedy)
    }
    // One pass over all bytes, which also brings every page in before the first step needs it.
    checksum = descent_crc32c(0, mapping.bytes.baseAddress, mapping.bytes.count)
    for offset in stride(from: 0, to: bytes.count, by: recordByteCount) {
      let label = bytes[offset]
      guard label < description.classes else {  // defence: labels
        throw Failure(
          .badData,
          "\(path): the label at byte offset \(offset) (record \(offset / recordByteCount), counted from 0) must be 0 to "
            + "\(description.classes - 1), but is \(label)")
      }
    }
    // What was cut short meanwhile reads as zeros.
    try verify(thoroughly: false)
  }

  func verify(thoroughly: Bool) throws(Failure) {
    try mapping.verify(thoroughly: thoroughly) { descent_crc32c(0, $0.baseAddress, $0.count) == checksum }
  }

  /// The address of every record, in file order.
  package var records: [UnsafePointer<UInt8>] {
    guard let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return [] }
    return (0..<recordCount).map { base + $0 * recordByteCount }
  }
}
