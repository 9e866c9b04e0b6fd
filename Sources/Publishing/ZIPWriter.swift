import CZlib
import Diagnostics

/// A ZIP archive of stored entries (PKWARE's APPNOTE 6.3.10) whose bytes depend on nothing but the entries: no time, no
/// owner, no compression. The data of each entry begin at a multiple of 64 bytes, as PyTorch wants them for mapping.
package struct ZIPWriter {
  /// At the end of the archive; by it a later export knows what it may replace.
  package static let comment = "Written by descent export"
  private static let alignment = 64
  /// 1 January 1980, the first day that the format knows.
  private static let date = 0x21

  package private(set) var bytes: [UInt8] = []
  private var directory: [UInt8] = []
  private var count = 0

  /// - Precondition: ASCII names that differ; less than 2³² bytes in all.
  package mutating func add(_ name: String, _ data: [UInt8]) {
    precondition(name.utf8.allSatisfy { $0 < 0x80 } && bytes.count + data.count < 0xffff_0000 && count < 0xffff)
    let offset = bytes.count
    let checksum = data.withUnsafeBufferPointer { CZlib.crc32(0, $0.baseAddress, UInt32($0.count)) }
    // An extra field of padding; its header takes four bytes.
    let start = offset + 30 + name.utf8.count + 4
    let padding = (Self.alignment - start % Self.alignment) % Self.alignment
    let common =
      Self.little(0, 2) + Self.little(0, 2) + Self.little(0, 2) + Self.little(Self.date, 2)
      + Self.little(Int(checksum), 4) + Self.little(data.count, 4) + Self.little(data.count, 4)
      + Self.little(name.utf8.count, 2)
    bytes += Self.little(0x0403_4b50, 4) + Self.little(10, 2) + common + Self.little(4 + padding, 2)
    bytes += Array(name.utf8) + Self.little(0x4246, 2) + Self.little(padding, 2)
    bytes += [UInt8](repeating: UInt8(ascii: "Z"), count: padding)
    bytes += data
    directory += Self.little(0x0201_4b50, 4) + Self.little(20, 2) + Self.little(10, 2) + common
    directory += Self.little(0, 2) + Self.little(0, 2) + Self.little(0, 2) + Self.little(0, 2) + Self.little(0, 4)
    directory += Self.little(offset, 4) + Array(name.utf8)
    count += 1
  }

  /// The whole archive.
  package var archive: [UInt8] {
    let end =
      Self.little(0x0605_4b50, 4) + Self.little(0, 2) + Self.little(0, 2) + Self.little(count, 2)
      + Self.little(count, 2) + Self.little(directory.count, 4) + Self.little(bytes.count, 4)
      + Self.little(Self.comment.utf8.count, 2)
    return bytes + directory + end + Array(Self.comment.utf8)
  }

  private static func little(_ value: Int, _ size: Int) -> [UInt8] {
    (0..<size).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }
}
