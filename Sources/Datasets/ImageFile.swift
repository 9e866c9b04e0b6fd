import CImages
import Diagnostics
import Files

/// Reads pictures from PNG and JPEG files, told apart by their first bytes and not by their names.
public enum ImageFile {
  /// The largest picture that is decoded: 64 megapixels, 192 MB in memory.
  public static let maximumPixelCount = 64_000_000

  /// Decodes a file to 8-bit RGB. Transparent parts of a PNG are laid over white; a JPEG is turned and mirrored as the
  /// orientation in its EXIF data says, so that it is upright.
  ///
  /// - Throws: `.missingInput` if the file cannot be read; `.badData` if it is of another format, has more than
  ///   `maximumPixelCount` pixels (checked before any memory is taken for them), or is damaged or cut short.
  public static func load(path: String) throws(Failure) -> RGBImage {
    let file = try MappedFile(path: path)
    switch kind(of: file.bytes) {
    case "PNG": return try decodePNG(file)
    case "JPEG": return try decodeJPEG(file)
    case let kind: throw Failure(.badData, "\(path) must be a PNG or JPEG file, but is \(kind)")
    }
  }

  private static func decodePNG(_ file: MappedFile) throws(Failure) -> RGBImage {
    var image = png_image()
    image.version = png_uint_32(PNG_IMAGE_VERSION)
    defer { png_image_free(&image) }
    guard png_image_begin_read_from_memory(&image, file.bytes.baseAddress, file.bytes.count) != 0 else {
      throw damaged(file, "PNG", pngMessage(image))
    }
    let (width, height) = (Int(image.width), Int(image.height))
    try checkSize(file, width: width, height: height)

    image.format = png_uint_32(PNG_FORMAT_FLAG_COLOR)
    var white = png_color(red: 255, green: 255, blue: 255)
    var isDecoded = false
    let pixels = [UInt8](unsafeUninitializedCapacity: width * height * 3) { buffer, count in
      isDecoded = png_image_finish_read(&image, &white, buffer.baseAddress, 0, nil) != 0
      count = isDecoded ? buffer.count : 0
    }
    guard isDecoded else { throw damaged(file, "PNG", pngMessage(image)) }
    return RGBImage(width: width, height: height, pixels: pixels)
  }

  private static func decodeJPEG(_ file: MappedFile) throws(Failure) -> RGBImage {
    guard let decoder = tjInitDecompress() else {
      throw Failure(.internalError, "the JPEG decoder could not be started: \(jpegMessage(nil))")
    }
    defer { tjDestroy(decoder) }
    let bytes = file.bytes.bindMemory(to: UInt8.self)
    var (width, height, subsampling, colourSpace): (Int32, Int32, Int32, Int32) = (0, 0, 0, 0)
    guard
      tjDecompressHeader3(
        decoder, bytes.baseAddress, UInt(bytes.count), &width, &height, &subsampling, &colourSpace) == 0
    else { throw damaged(file, "JPEG", jpegMessage(decoder)) }
    // A file that ends before its picture begins is a valid set of tables to the decoder.
    guard width > 0, height > 0 else { throw damaged(file, "JPEG", "no picture in the file") }
    guard colourSpace != TJCS_CMYK.rawValue && colourSpace != TJCS_YCCK.rawValue else {
      throw Failure(
        .badData, "\(file.path) must be in colour (RGB) or grey, but is a JPEG in printing colours (CMYK)",
        remedy: "Convert it to RGB")
    }
    try checkSize(file, width: Int(width), height: Int(height))

    // Stopping on warnings turns a file that is cut short into an error instead of a half grey picture, and the
    // limit on scans keeps a small hostile file from taking minutes.
    let flags = TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS
    var isDecoded = false
    let pixels = [UInt8](unsafeUninitializedCapacity: Int(width) * Int(height) * 3) { buffer, count in
      isDecoded =
        tjDecompress2(
          decoder, bytes.baseAddress, UInt(bytes.count), buffer.baseAddress, width, 0, height,
          Int32(TJPF_RGB.rawValue), flags) == 0
      count = isDecoded ? buffer.count : 0
    }
    guard isDecoded else { throw damaged(file, "JPEG", jpegMessage(decoder)) }
    let stored = RGBImage(width: Int(width), height: Int(height), pixels: pixels)
    return stored.upright(from: Orientation(ofJPEG: file.bytes))
  }

  private static func checkSize(_ file: MappedFile, width: Int, height: Int) throws(Failure) {
    guard width > 0, height > 0, width <= maximumPixelCount / height else {
      throw Failure(
        .badData,
        "\(file.path) must have at most \(maximumPixelCount / 1_000_000) million pixels, but has \(width) × \(height)")
    }
  }

  private static func damaged(_ file: MappedFile, _ format: String, _ reason: String) -> Failure {
    Failure(.badData, "\(file.path) is damaged or cut short: \(format) decoder: \(reason)")
  }

  private static func pngMessage(_ image: png_image) -> String {
    withUnsafeBytes(of: image.message) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }

  private static func jpegMessage(_ decoder: tjhandle?) -> String {
    tjGetErrorStr2(decoder).map { String(cString: $0) } ?? "unknown"
  }

  /// What the first bytes of a file say that it is, in words for a message.
  private static func kind(of bytes: UnsafeRawBufferPointer) -> String {
    let beginnings: [([UInt8], String)] = [
      ([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a], "PNG"), ([0xff, 0xd8, 0xff], "JPEG"),
      (Array("GIF8".utf8), "a GIF"), ([0x49, 0x49, 0x2a, 0x00], "a TIFF"), ([0x4d, 0x4d, 0x00, 0x2a], "a TIFF"),
      (Array("BM".utf8), "a BMP"),
    ]
    if let known = beginnings.first(where: { bytes.starts(with: $0.0) }) { return known.1 }
    if bytes.isEmpty { return "an empty file" }
    if bytes.starts(with: "RIFF".utf8), bytes.dropFirst(8).starts(with: "WEBP".utf8) { return "a WebP" }
    if bytes.dropFirst(4).starts(with: "ftyphei".utf8) || bytes.dropFirst(4).starts(with: "ftypmif1".utf8) {
      return "a HEIC"
    }
    return "a file that begins with the bytes \(bytes.prefix(8).map { hexadecimal($0) }.joined(separator: " "))"
  }
}
