import Diagnostics
import Files
import Optimization

/// The training or the test part of CIFAR-10 in its binary version, memory-mapped: pixels stay bytes, and the
/// processes of one host share them.
///
/// Example `i` is the `i`-th record when the files are read one after the other in natural order. The files must
/// not be rewritten in place while a dataset is open.
public final class CIFAR10Dataset: Sendable {
  public enum Part: String, Sendable, CaseIterable, CustomStringConvertible {
    /// Every `data_batch_*.bin`: 1, 2, …, 10.
    case training
    /// `test_batch.bin`.
    case test

    public var description: String { rawValue }
  }

  /// The directory that holds the files: the one that was named, or `cifar-10-batches-bin` inside it.
  public let directory: String
  public let part: Part
  public let files: [DataFile]
  /// The records in order, without a copy of them.
  public let examples: ExampleTable
  /// Ten names in label order.
  public let classNames: [String]
  /// Whether the files were made by `SyntheticDataset`, going by the marker that it leaves beside them.
  public let isSynthetic: Bool
  /// A number that tells one set of bytes from another: the record count and CRC-32C of every file, in order.
  /// The same wherever the files lie. Against accidents, not against forgery.
  public let fingerprint: UInt64

  /// Number of examples.
  public var count: Int { examples.count }

  /// Finds, maps and checks the files of one part. `directory` may also be the parent of `cifar-10-batches-bin`.
  ///
  /// - Throws: `Failure` that names the file, and the byte offset where there is one. `.missingInput`: a directory
  ///   or file is missing or cannot be read. `.badData`: a size is not a positive multiple of 3,073, a label is
  ///   above 9, or `batches.meta.txt` does not hold ten names.
  public init(directory: String, part: Part) throws(Failure) {
    let found = try CIFAR10Directory(searching: directory)
    var files: [DataFile] = []
    for path in try found.files(of: part) {
      files.append(try DataFile(path: path))
    }
    var records: [UnsafePointer<UInt8>] = []
    records.reserveCapacity(files.reduce(0) { $0 + $1.recordCount })
    for file in files {
      file.appendRecords(to: &records)
    }
    self.directory = found.path
    self.part = part
    self.files = files
    self.classNames = try found.classNames()
    self.isSynthetic = found.isSynthetic
    self.fingerprint = Self.fingerprint(of: files)
    self.examples = ExampleTable(records: records, owner: MappingOwner(mappings: files.map(\.mapping)))
  }

  /// How many examples each of the ten classes has.
  public func classHistogram() -> [Int] {
    var histogram = [Int](repeating: 0, count: CIFAR10Format.classCount)
    for index in 0..<count {
      histogram[Int(examples.label(at: index))] += 1
    }
    return histogram
  }

  /// FNV-1a of the number of files and each file's count and checksum, as little-endian words of eight bytes.
  private static func fingerprint(of files: [DataFile]) -> UInt64 {
    let words = [UInt64(files.count)] + files.flatMap { [UInt64($0.recordCount), UInt64($0.checksum)] }
    return fnv1a(words.flatMap { word in withUnsafeBytes(of: word.littleEndian) { Array($0) } })
  }
}

/// Keeps the mappings alive as long as the table that points into them.
private final class MappingOwner: Sendable {
  let mappings: [MappedFile]

  init(mappings: [MappedFile]) {
    self.mappings = mappings
  }
}
