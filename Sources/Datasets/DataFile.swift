import CKernels
import Diagnostics
import Files

/// One file of CIFAR-10 records, mapped and checked: a whole number of records, every label 0 to 9.
public struct DataFile: Sendable {
  public let path: String
  public let recordCount: Int
  /// CRC-32C of all bytes of the file.
  public let checksum: UInt32
  let mapping: MappedFile

  /// The last component of the path.
  public var name: String {
    path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path
  }
  /// The bytes of the file, valid as long as the dataset.
  public var bytes: UnsafeRawBufferPointer { mapping.bytes }

  /// - Throws: `.missingInput` if the file cannot be read; `.badData` with the byte offset if its size is not
  ///   a positive multiple of 3,073 or a label is above 9.
  package init(path: String) throws(Failure) {
    self.path = path
    mapping = try MappedFile(path: path)
    recordCount = try Self.checkedRecordCount(mapping)
    // One pass over all bytes, which also brings every page in before the first step needs it.
    checksum = descent_crc32c(0, mapping.bytes.baseAddress, mapping.bytes.count)
    try checkLabels()
  }

  private static func checkedRecordCount(_ file: MappedFile) throws(Failure) -> Int {
    let recordBytes = CIFAR10Format.recordByteCount
    let (records, rest) = file.bytes.count.quotientAndRemainder(dividingBy: recordBytes)
    let remedy = "Is this a partial download, or the Python version of the set? \(CIFAR10Directory.remedy)"
    guard records > 0 || rest > 0 else {
      throw Failure(
        .badData, "\(file.path) is empty at byte offset 0", found: "0 bytes",
        expected: "at least one record of \(recordBytes) bytes", remedy: remedy)
    }
    guard rest == 0 else {
      throw Failure(
        .badData,
        "\(file.path) has \(file.bytes.count) bytes and ends inside the record at byte offset \(records * recordBytes)",
        found: "\(rest) bytes of it", expected: "\(recordBytes)", remedy: remedy)
    }
    return records
  }

  private func checkLabels() throws(Failure) {
    for offset in stride(from: 0, to: bytes.count, by: CIFAR10Format.recordByteCount) {
      let label = bytes[offset]
      guard label < CIFAR10Format.classCount else {  // defence: labels
        throw Failure(
          .badData, "\(path) has a label out of range at byte offset \(offset)", found: "\(label)",
          expected: "0 to \(CIFAR10Format.classCount - 1)", remedy: CIFAR10Directory.remedy)
      }
    }
  }

  /// Appends the address of every record, in file order.
  package func appendRecords(to records: inout [UnsafePointer<UInt8>]) {
    guard let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
    for index in 0..<recordCount {
      records.append(base + index * CIFAR10Format.recordByteCount)
    }
  }
}
