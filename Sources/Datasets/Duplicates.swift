import CKernels
import Diagnostics
import Files
import Glibc

/// Records that a data set holds more than once: a file under two names (a link or a copy) counts twice in every epoch, and
/// a test record that is also trained on says nothing about other pictures.
public struct Duplicates: Sendable, Equatable {
  /// Records of one file that are those of another, or of the same file again.
  public struct Pair: Sendable, Equatable {
    /// Names of files; the first is read first.
    public var files: [String]
    /// How many of those that were compared.
    public var records: Int
    /// Whether the files are the same byte for byte.
    public var isWhole: Bool
    /// Whether one name is a link to the other.
    public var isLink: Bool
  }

  public private(set) var pairs: [Pair] = []
  private let samples: Bool

  /// - Parameter samples: whether to compare only about an eighth of the records of a large set, chosen by one of their
  ///   bytes, and to leave out files that share less than a hundredth of their records. All of them take about 30 ms for
  ///   CIFAR-10, which has single records twice.
  public init(training: Dataset, test: Dataset, samples: Bool) {
    let files = training.files + test.files
    self.samples = samples && training.count + test.count > 16_384
    let size = training.description.recordByteCount
    // Records so short are equal by chance.
    guard size > 16, size == test.description.recordByteCount else { return }
    let mask: UInt8 = self.samples ? 7 : 0
    let records = files.enumerated().flatMap { file, data in
      data.records.filter { $0[size / 2] & mask == 0 }.map { (file, $0) }
    }
    let compared = files.indices.map { file in records.reduce(0) { $0 + ($1.0 == file ? 1 : 0) } }
    for (pair, count) in Self.counts(records, of: size) {
      let (first, second) = (files[pair[0]], files[pair[1]])
      if samples, count * 100 < min(compared[pair[0]], compared[pair[1]]) { continue }
      let isWhole =
        pair[0] != pair[1] && first.recordCount == second.recordCount && first.checksum == second.checksum
      pairs.append(
        Pair(
          files: [first.name, second.name], records: count, isWhole: isWhole,
          isLink: isWhole && FileSystem().status(of: first.path)?.inode == FileSystem().status(of: second.path)?.inode))
    }
  }

  /// For each pair of files, in their order, how many records of the second are in the first.
  private static func counts(
    _ records: [(file: Int, bytes: UnsafePointer<UInt8>)], of size: Int
  ) -> [([Int], Int)] {
    let keys = records.enumerated().map { index, record in
      UInt64(descent_crc32c(0, record.bytes, size)) << 32 | UInt64(index)
    }.sorted()
    var counts: [[Int]: Int] = [:]
    for (index, key) in keys.enumerated() where index > 0 && keys[index - 1] >> 32 == key >> 32 {
      // Each earlier file counts once.
      var seen: Set<Int> = []
      let (file, bytes) = records[Int(UInt32(truncatingIfNeeded: key))]
      for earlier in keys[max(0, index - 64)..<index] where earlier >> 32 == key >> 32 {
        let (other, itsBytes) = records[Int(UInt32(truncatingIfNeeded: earlier))]
        guard memcmp(bytes, itsBytes, size) == 0, seen.insert(other).inserted else { continue }
        counts[[other, file], default: 0] += 1
      }
    }
    return counts.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map { ($0.key, $0.value) }
  }

  /// One for each pair of files.
  public var sentences: [String] {
    pairs.map { pair in
      let (first, second) = (pair.files[0], pair.files[1])
      if pair.isLink { return "\(second) and \(first) are the same file under two names" }
      if pair.isWhole { return "\(second) is a copy of \(first)" }
      let records = samples ? "records" : pair.records == 1 ? "1 record" : "\(grouped(UInt64(pair.records))) records"
      return first == second ? "\(first) holds \(records) twice" : "\(second) holds \(records) of \(first)"
    }
  }
}
