import CKernels

/// The records of an event file, which are those of TFRecord files: the length in 8 bytes, its checksum, the data, their
/// checksum; numbers are little-endian, and a checksum is a masked CRC-32C.
package enum EventRecord {
  private static let headerCount = 12
  private static let trailerCount = 4

  /// A record with these data.
  package static func framed(_ data: [UInt8]) -> [UInt8] {
    var record: [UInt8] = []
    record.reserveCapacity(headerCount + data.count + trailerCount)
    withUnsafeBytes(of: UInt64(data.count).littleEndian) { record += $0 }
    append(maskedChecksum(of: record[...]), to: &record)
    record += data
    append(maskedChecksum(of: data[...]), to: &record)
    return record
  }

  private static func append(_ checksum: UInt32, to record: inout [UInt8]) {
    withUnsafeBytes(of: checksum.littleEndian) { record += $0 }
  }

  /// Rotated and shifted, so that data which contain their own checksum do not confuse it.
  package static func maskedChecksum(of bytes: ArraySlice<UInt8>) -> UInt32 {
    let checksum = bytes.withUnsafeBytes { descent_crc32c(0, $0.baseAddress, $0.count) }
    return (checksum >> 15 | checksum << 17) &+ 0xA282_EAD8
  }

  /// The whole records at the beginning of a file: where each stands, and its data. What follows a record that is torn or
  /// damaged cannot be told from it.
  package static func all(in file: [UInt8]) -> [(range: Range<Int>, data: ArraySlice<UInt8>)] {
    var records: [(range: Range<Int>, data: ArraySlice<UInt8>)] = []
    var start = 0
    while let data = data(in: file, at: start) {
      let end = data.endIndex + trailerCount
      records.append((start..<end, data))
      start = end
    }
    return records
  }

  private static func data(in file: [UInt8], at start: Int) -> ArraySlice<UInt8>? {
    guard file.count - start >= headerCount + trailerCount,
      number(in: file, at: start + 8) == maskedChecksum(of: file[start..<start + 8])
    else { return nil }
    let length = UInt64(number(in: file, at: start)) | UInt64(number(in: file, at: start + 4)) << 32
    let first = start + headerCount
    guard length <= UInt64(file.count - first - trailerCount) else { return nil }
    let data = file[first..<first + Int(length)]
    return number(in: file, at: data.endIndex) == maskedChecksum(of: data) ? data : nil
  }

  private static func number(in file: [UInt8], at place: Int) -> UInt32 {
    file[place..<place + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) }
  }
}
