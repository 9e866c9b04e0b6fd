import Diagnostics
import Files

/// The entries of a ZIP archive (PKWARE's APPNOTE 6.3.10), ZIP64 included: stored or deflated, not encrypted. Names only
/// choose an entry; nothing is written under them.
struct ZIPArchive {
  struct Entry {
    let name: String
    fileprivate let method: Int
    fileprivate let flags: Int
    fileprivate let checksum: UInt32
    fileprivate let compressedSize: Int
    /// Of its local header.
    fileprivate let offset: Int
  }

  let file: MappedFile
  private(set) var entries: [Entry] = []

  /// - Throws: `.missingInput` if the file cannot be read, `.badData` if it is none or damaged.
  init(path: String) throws(Failure) {
    file = try MappedFile(path: path)
    // The last record stands before a comment of at most 65,535 bytes.
    let first = max(0, file.bytes.count - 22 - 65_535)
    let found = stride(from: file.bytes.count - 22, through: first, by: -1).first { offset in
      signature(at: offset) == 0x0605_4b50 && number(2, at: offset + 20) == file.bytes.count - offset - 22
    }
    guard let end = found else {
      throw Failure(
        .badData, "\(path), byte \(file.bytes.count): the end of a ZIP archive", found: "no list of its entries",
        expected: "one", remedy: "If it was copied or downloaded, it may be cut short: fetch it again")
    }
    var (count, start) = (number(2, at: end + 10), number(4, at: end + 16))
    if end >= 20, signature(at: end - 20) == 0x0706_4b50 {
      let record = number(8, at: end - 12)
      guard signature(at: record) == 0x0606_4b50 else {
        throw failure(
          "the end of a ZIP64 archive", at: end - 12, found: "the offset \(record)", expected: "that of its record")
      }
      (count, start) = (number(8, at: record + 32), number(8, at: record + 48))
    }
    for index in 0..<max(count, 0) {
      let entry = try readEntry(index, at: &start)
      entries.append(entry)
    }
  }

  private func failure(_ what: String, at offset: Int, found: String, expected: String) -> Failure {
    Failure(.badData, "\(file.path), byte \(offset): \(what)", found: found, expected: expected)
  }

  /// Little-endian; −1 beyond the end of the file, and for what no file can have.
  private func number(_ size: Int, at offset: Int) -> Int {
    guard offset >= 0, size <= file.bytes.count, offset <= file.bytes.count - size else { return -1 }
    let value = (0..<size).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64(file.bytes[offset + $1]) }
    return value < 1 << 48 ? Int(value) : -1
  }

  private func signature(at offset: Int) -> Int { number(4, at: offset) }

  private func readEntry(_ index: Int, at offset: inout Int) throws(Failure) -> Entry {
    let header = offset
    let sizes = [28, 30, 32].map { number(2, at: header + $0) }
    guard signature(at: header) == 0x0201_4b50, sizes.allSatisfy({ $0 >= 0 }),
      sizes.reduce(46, +) <= file.bytes.count - header
    else {
      throw failure("entry \(index) of the list", at: header, found: "something else", expected: "an entry")
    }
    offset += sizes.reduce(46, +)
    var fields = [number(4, at: header + 24), number(4, at: header + 20), number(4, at: header + 42)]
    // What does not fit stands in the extra field 1, in this order.
    var extra = header + 46 + sizes[0]
    let extraEnd = extra + sizes[1]
    while extra + 4 <= extraEnd {
      let (kind, size) = (number(2, at: extra), number(2, at: extra + 2))
      if kind == 1 {
        var position = extra + 4
        for field in fields.indices where fields[field] == 0xffff_ffff {
          guard position + 8 <= min(extra + 4 + size, extraEnd) else { break }
          fields[field] = number(8, at: position)
          position += 8
        }
      }
      extra += 4 + size
    }
    let name = String(decoding: file.bytes[header + 46..<header + 46 + sizes[0]], as: UTF8.self)
    return Entry(
      name: name, method: number(2, at: header + 10), flags: number(2, at: header + 8),
      checksum: UInt32(truncatingIfNeeded: number(4, at: header + 16)), compressedSize: fields[1], offset: fields[2])
  }

  /// The bytes of an entry.
  func open(_ entry: Entry) throws(Failure) -> ByteStream {
    let label = "the entry \(printable(entry.name))"
    guard entry.flags & 1 == 0 else {
      throw failure(label, at: entry.offset, found: "encrypted bytes", expected: "bytes that are not encrypted")
    }
    let (nameSize, extraSize) = (number(2, at: entry.offset + 26), number(2, at: entry.offset + 28))
    guard signature(at: entry.offset) == 0x0403_4b50, nameSize >= 0, extraSize >= 0 else {
      throw failure(label, at: entry.offset, found: "something else", expected: "its header")
    }
    let start = entry.offset + 30 + nameSize + extraSize
    guard entry.compressedSize >= 0, start <= file.bytes.count, entry.compressedSize <= file.bytes.count - start else {
      throw failure(
        label, at: start, found: "\(entry.compressedSize) bytes",
        expected: "at most \(max(0, file.bytes.count - start))")
    }
    let coding: ByteStream.Coding
    switch entry.method {
    case 0: coding = .plain(checksum: entry.checksum)
    case 8: coding = .deflate(checksum: entry.checksum)
    default:
      throw failure(
        label, at: entry.offset, found: "the compression method \(entry.method)", expected: "0 (stored) or 8 (deflated)"
      )
    }
    return ByteStream(
      file, start..<start + entry.compressedSize, coding, path: "\(file.path), \(printable(entry.name))")
  }
}
