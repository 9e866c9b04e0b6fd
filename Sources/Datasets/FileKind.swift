import Diagnostics

/// What the first bytes of a file say that it is, whatever its name: for choosing a decoder, and for errors that say what
/// stands in the place of a picture or of data.
enum FileKind: Equatable {
  case png, jpeg
  /// "a GIF".
  case otherPicture(String)
  /// "a gzip archive".
  case other(String)

  /// Nil for bytes that are not known.
  init?(of bytes: UnsafeRawBufferPointer) {
    if bytes.isEmpty {
      self = .other("an empty file")
    } else if let known = Self.signatures.first(where: { bytes.dropFirst($0.offset).starts(with: $0.bytes) }) {
      self = known.kind
    } else if let text = Self.text(of: bytes) {
      self = text
    } else {
      return nil
    }
  }

  /// With its article, for a message.
  var words: String {
    switch self {
    case .png: "a PNG"
    case .jpeg: "a JPEG"
    case .otherPicture(let words), .other(let words): words
    }
  }

  var isPicture: Bool { if case .other = self { false } else { true } }

  /// For bytes that are not known.
  static func beginning(of bytes: UnsafeRawBufferPointer) -> String {
    "a file that begins with the bytes \(bytes.prefix(8).map { hexadecimal($0) }.joined(separator: " "))"
  }

  private static let signatures: [(offset: Int, bytes: [UInt8], kind: FileKind)] = {
    func text(_ text: String, _ kind: FileKind, at offset: Int = 0) -> (Int, [UInt8], FileKind) {
      (offset, Array(text.utf8), kind)
    }
    let brands = [
      ("heic", "a HEIC"), ("heix", "a HEIC"), ("hevc", "a HEIC"), ("mif1", "a HEIC"), ("msf1", "a HEIC"),
      ("avif", "an AVIF"), ("avis", "an AVIF"), ("crx ", "a raw photograph (CR3)"),
    ].map { text("ftyp" + $0.0, .otherPicture($0.1), at: 4) }
    let videos = ["isom", "iso2", "mp41", "mp42", "M4V ", "qt  "].map { text("ftyp" + $0, .other("a video"), at: 4) }
    return [
      (0, [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a], .png), (0, [0xff, 0xd8, 0xff], .jpeg),
      (
        0, [0x89, 0x50, 0x4e, 0x47],
        .other("a PNG whose line ends were changed on the way: transfer it again as binary")
      ),
      text("GIF8", .otherPicture("a GIF")), text("II*\0", .otherPicture("a TIFF")),
      text("MM\0*", .otherPicture("a TIFF")),
      text("II+\0", .otherPicture("a TIFF")), text("MM\0+", .otherPicture("a TIFF")),
      text("BM", .otherPicture("a BMP")), text("WEBP", .otherPicture("a WebP"), at: 8),
      text("8BPS", .otherPicture("a Photoshop document")), (0, [0, 0, 1, 0], .otherPicture("an icon (ICO)")),
      text("jP  \r\n", .otherPicture("a JPEG 2000"), at: 4),
      (0, [0xff, 0x4f, 0xff, 0x51], .otherPicture("a JPEG 2000")),
      text("JXL \r\n", .otherPicture("a JPEG XL"), at: 4), (0, [0xff, 0x0a], .otherPicture("a JPEG XL")),
      text("%PDF", .otherPicture("a PDF")), (0, [0x1f, 0x8b], .other("a gzip archive")),
      text("PK\u{3}\u{4}", .other("a ZIP archive")), text("BZh", .other("a bzip2 archive")),
      (0, [0xfd] + Array("7zXZ".utf8), .other("an xz archive")),
      (0, [0x28, 0xb5, 0x2f, 0xfd], .other("a zstd archive")),
      (0, [0x93] + Array("NUMPY".utf8), .other("a NumPy array")), (0, [0x80, 0x02], .other("a Python pickle")),
      text("ustar", .other("a tar archive"), at: 257),
      (0, [0, 5, 0x16, 7], .other("what macOS notes of another file (AppleDouble)")),
      text("version https://git-lfs", .other("a pointer of Git LFS: fetch the file itself with `git lfs pull`")),
    ] + brands + videos
  }()

  /// SVG, and what servers send in the place of a file.
  private static func text(of bytes: UnsafeRawBufferPointer) -> FileKind? {
    var beginning = bytes.prefix(1024).drop { $0 <= 0x20 }
    if beginning.starts(with: [0xef, 0xbb, 0xbf]) { beginning = beginning.dropFirst(3).drop { $0 <= 0x20 } }
    guard beginning.first == UInt8(ascii: "<") || beginning.first == UInt8(ascii: "{") else { return nil }
    let text = String(decoding: beginning, as: UTF8.self).lowercased()
    if text.contains("<svg") { return .otherPicture("an SVG") }
    if text.contains("<html") || text.hasPrefix("<!doctype html") {
      return .other("an HTML page, such as a server sends in the place of a file")
    }
    if text.hasPrefix("<?xml") { return .other("an XML document, such as a server sends in the place of a file") }
    return text.hasPrefix("{\"") ? .other("JSON, such as a server sends in the place of a file") : nil
  }
}
