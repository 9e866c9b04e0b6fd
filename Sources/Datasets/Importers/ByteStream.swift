import CZlib
import Diagnostics
import Files

/// The bytes of a file, or of what is compressed in it, in order. Errors name the file and the offset among these bytes.
final class ByteStream {
  enum Coding {
    /// With the CRC-32 of the bytes, if it is known.
    case plain(checksum: UInt32? = nil)
    /// RFC 1952, any number of members.
    case gzip
    /// RFC 1951, with the CRC-32 of the result.
    case deflate(checksum: UInt32)
  }

  /// For errors; a part of a file has its name too.
  let path: String
  /// How many bytes have been read.
  private(set) var position = 0
  private var rest: UnsafeRawBufferPointer.SubSequence
  private let byteCount: Int
  private let owner: MappedFile
  private let inflater: Inflater?
  private var checksum: UInt32 = 0
  private let expectedChecksum: UInt32?

  /// - Parameter range: of the bytes of `file`.
  init(_ file: MappedFile, _ range: Range<Int>, _ coding: Coding, path: String) {
    (owner, self.path) = (file, path)
    rest = file.bytes[range]
    byteCount = range.count
    switch coding {
    case .plain(let checksum): (inflater, expectedChecksum) = (nil, checksum)
    case .gzip: (inflater, expectedChecksum) = (Inflater(isGzip: true), nil)
    case .deflate(let checksum): (inflater, expectedChecksum) = (Inflater(isGzip: false), checksum)
    }
  }

  /// Opens a file; one that begins as a gzip archive is read as that, whatever its name.
  convenience init(path: String) throws(Failure) {
    let file = try MappedFile(path: path)
    let isGzip = file.bytes.starts(with: [0x1f, 0x8b])
    self.init(file, 0..<file.bytes.count, isGzip ? .gzip : .plain(), path: path)
  }

  /// "FILE, byte 16: …".
  func failure(_ what: String, at offset: Int, found: String, expected: String, remedy: String? = nil) -> Failure {
    Failure(.badData, "\(path), byte \(offset): \(what)", found: found, expected: expected, remedy: remedy)
  }

  /// The next `count` bytes, a number that is known to be small.
  func read(_ count: Int, _ what: String) throws(Failure) -> [UInt8] {
    var bytes: [UInt8] = []
    try read(count, into: &bytes, what)
    return bytes
  }

  /// Appends the next `count` bytes. Memory is taken for those that are there.
  /// - Parameter what: for the error where they are not: "the image 3".
  func read(_ count: Int, into target: inout [UInt8], _ what: @autoclosure () -> String) throws(Failure) {
    let start = position
    var missing = count
    while missing > 0 {
      let part = try next(atMost: min(missing, 1 << 16), into: &target)
      guard part > 0 else {
        throw Failure(
          .badData, "\(path), byte \(start): the file ends inside of \(what())", found: "\(count - missing) bytes",
          expected: "\(count)", remedy: "If it was copied or downloaded, it may be cut short: fetch it again")
      }
      missing -= part
    }
  }

  /// - Throws: `.badData` where more follows, or where the checksum of a compressed file is wrong.
  func requireEnd(after what: String) throws(Failure) {
    var more: [UInt8] = []
    let end = position
    guard try next(atMost: 1, into: &more) == 0 else {
      throw failure("more bytes than its header says", at: end, found: "another one", expected: "the end after \(what)")
    }
    if let expectedChecksum, expectedChecksum != checksum {
      throw Failure(
        .badData, "\(path): the bytes have the wrong checksum", found: hexadecimal(checksum),
        expected: hexadecimal(expectedChecksum), remedy: "The file is damaged: fetch it again")
    }
    try owner.requireUnchanged()
  }

  private func addToChecksum(_ bytes: UnsafeRawBufferPointer) {
    guard expectedChecksum != nil else { return }
    let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
    // Of no bytes zlib gives the checksum to begin with.
    if !bytes.isEmpty { checksum = UInt32(crc32(UInt(checksum), base, UInt32(bytes.count))) }
  }

  /// Appends up to `count` bytes; 0 at the end.
  private func next(atMost count: Int, into target: inout [UInt8]) throws(Failure) -> Int {
    guard let inflater else {
      let part = rest.prefix(count)
      target.append(contentsOf: part)
      addToChecksum(UnsafeRawBufferPointer(rebasing: part))
      rest = rest.dropFirst(part.count)
      position += part.count
      return part.count
    }
    let start = target.count
    target.append(contentsOf: repeatElement(0, count: count))
    var result: Inflater.Outcome = .failed("")
    target.withUnsafeMutableBytes { target in
      result = inflater.inflate(&rest, into: UnsafeMutableRawBufferPointer(rebasing: target[start...]))
      if case .made(let made) = result { addToChecksum(UnsafeRawBufferPointer(rebasing: target[start..<start + made])) }
    }
    guard case .made(let made) = result else {
      let offset = byteCount - rest.count
      guard case .failed(let reason) = result else { return 0 }
      throw Failure(
        .badData, "\(path): the compressed data are damaged or cut short at byte \(offset) of \(byteCount)",
        found: reason, remedy: "Fetch it again")
    }
    target.removeLast(count - made)
    position += made
    // Pictures compress to a third or, if they are mostly blank, a twentieth. Such a sum of zeros is a bomb.
    if position > 1 << 26, position / 200 > byteCount - rest.count {  // defence: bombs
      throw Failure(
        .badData, "\(path) unpacks to more than 200 times its size", found: "over \(grouped(UInt64(position))) bytes",
        expected: "data of pictures", remedy: "Unpack it yourself if it is genuine, and import the result")
    }
    return made
  }
}

extension MappedFile {
  /// - Throws: `.badData` if the file was written to, or cut short, while it was read.
  func requireUnchanged() throws(Failure) {
    do throws(Failure) {
      try verify(thoroughly: false) { _ in false }
    } catch {
      throw Failure(error.status, error.message, remedy: "Import it again")
    }
  }
}

/// zlib's decoder, fed from memory.
private final class Inflater {
  enum Outcome {
    /// So many bytes; 0 at the end.
    case made(Int)
    case failed(String)
  }

  /// At a fixed address: zlib keeps it.
  private let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
  private let isGzip: Bool
  private var hasEnded = false

  init(isGzip: Bool) {
    self.isGzip = isGzip
    stream.initialize(to: z_stream())
    // 15 is the largest window; 16 more is the gzip format, negative none.
    let status = inflateInit2_(stream, isGzip ? 15 + 16 : -15, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    precondition(status == Z_OK, "zlib has no memory")
  }

  deinit {
    inflateEnd(stream)
    stream.deallocate()
  }

  /// Fills `target`, unless the data end before. Takes what it has read off the beginning of `source`.
  func inflate(_ source: inout UnsafeRawBufferPointer.SubSequence, into target: UnsafeMutableRawBufferPointer)
    -> Outcome
  {
    var made = 0
    while made < target.count, !hasEnded {
      let input = UnsafeRawBufferPointer(rebasing: source.prefix(1 << 30))
      stream.pointee.next_in = input.baseAddress.map {
        UnsafeMutableRawPointer(mutating: $0).assumingMemoryBound(to: UInt8.self)
      }
      stream.pointee.avail_in = UInt32(input.count)
      stream.pointee.next_out = target.baseAddress.map { ($0 + made).assumingMemoryBound(to: UInt8.self) }
      stream.pointee.avail_out = UInt32(target.count - made)
      let status = CZlib.inflate(stream, Z_NO_FLUSH)
      source = source.dropFirst(input.count - Int(stream.pointee.avail_in))
      let before = made
      made = target.count - Int(stream.pointee.avail_out)
      switch status {
      case Z_STREAM_END:
        // Another member may follow; padding of zeros is none.
        if isGzip { source = source.drop { $0 == 0 } }
        if isGzip, !source.isEmpty { inflateReset(stream) } else { hasEnded = true }
      case Z_OK where made > before || Int(stream.pointee.avail_in) < input.count: break
      case Z_OK, Z_BUF_ERROR: return .failed("the end of the file")
      default: return .failed(stream.pointee.msg.map { String(cString: $0) } ?? "error \(status) of zlib")
      }
    }
    return .made(made)
  }
}
