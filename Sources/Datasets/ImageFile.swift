import CImages
import Diagnostics
import Files

/// Reads pictures from PNG and JPEG files, told apart by their first bytes and not by their names.
///
/// Pixels are those that a browser shows on a white page, with two exceptions: colours are taken as they are stored, so
/// profiles and gamma values change nothing, as in Pillow; and of an animation the first picture counts.
public enum ImageFile {
  /// The largest picture that is decoded: 64 megapixels, which take at most 0.8 GB while they are decoded.
  public static let maximumPixelCount = 64_000_000
  /// The largest width and height. Each row takes time, however short it is.
  public static let maximumSideLength = 100_000
  /// The longest file that is read: the largest picture in 16 bits, without compression.
  public static let maximumByteCount = 600_000_000

  /// Decodes a file to 8-bit RGB: of 16 bits the higher 8; what is transparent is laid over white; printing colours (CMYK)
  /// are mixed; and the picture is turned and mirrored as the orientation in its EXIF data says, so that it is upright.
  ///
  /// - Parameter warn: called with a sentence about a file in which something is wrong that changes no pixel.
  /// - Throws: `.missingInput` if the file cannot be read or is none; `.badData` if it is of another format, longer than
  ///   `maximumByteCount` or larger than `maximumPixelCount` and `maximumSideLength` allow (checked before any memory is
  ///   taken for pixels), or if picture data are damaged or missing.
  public static func load(
    path: String, maximumPixelCount: Int = maximumPixelCount, warn: (String) -> Void = { _ in }
  ) throws(Failure) -> RGBImage {
    let file = try File(path, for: .reading)
    try file.requireRegular()
    let bytes = try file.read(limit: maximumByteCount)
    return try bytes.withUnsafeBufferPointer { (bytes) throws(Failure) in
      let bytes = UnsafeRawBufferPointer(bytes)
      return switch FileKind(of: bytes) {
      case .png: try decode(bytes, path, maximumPixelCount, .png, Orientation(ofPNG: bytes), warn)
      case .jpeg: try decode(bytes, path, maximumPixelCount, .jpeg, Orientation(ofJPEG: bytes), warn)
      case let kind:
        throw Failure(
          .badData, "\(path) must be a PNG or JPEG file, but is \(kind?.words ?? FileKind.beginning(of: bytes))",
          remedy: kind?.isPicture == true ? "Convert it to PNG" : nil)
      }
    }
  }

  /// Whether a file is called as pictures are; what it is, its first bytes say.
  static func hasPictureName(_ name: String) -> Bool {
    [".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"].contains {
      name.lowercased().hasSuffix($0)
    }
  }

  private struct Decoder {
    let name: String
    let open: (UnsafeMutablePointer<descent_picture>?, UnsafePointer<UInt8>?, Int) -> Bool
    let read: (UnsafeMutablePointer<descent_picture>?, UnsafeMutablePointer<UInt8>?) -> Bool
    let close: (UnsafeMutablePointer<descent_picture>?) -> Void

    static var png: Decoder {
      Decoder(name: "PNG", open: descent_png_open, read: descent_png_read, close: descent_png_close)
    }
    static var jpeg: Decoder {
      Decoder(name: "JPEG", open: descent_jpeg_open, read: descent_jpeg_read, close: descent_jpeg_close)
    }
  }

  private static func decode(
    _ bytes: UnsafeRawBufferPointer, _ path: String, _ maximumPixelCount: Int, _ decoder: Decoder,
    _ orientation: Orientation, _ warn: (String) -> Void
  ) throws(Failure) -> RGBImage {
    var picture = descent_picture()
    defer { decoder.close(&picture) }
    guard decoder.open(&picture, bytes.bindMemory(to: UInt8.self).baseAddress, bytes.count) else {
      throw failure(picture, path, decoder)
    }
    let (width, height) = (Int(picture.width), Int(picture.height))
    // defence: picture-size
    guard max(width, height) <= maximumSideLength, width * height <= maximumPixelCount else {
      throw Failure(
        .badData,
        "\(path) must have at most \(maximumPixelCount / 1_000_000) million pixels, and \(grouped(UInt64(maximumSideLength))) "
          + "in a row or column, but has \(width) × \(height)")
    }
    var isDecoded = false
    let pixels = [UInt8](unsafeUninitializedCapacity: width * height * Int(picture.channels)) { buffer, count in
      isDecoded = decoder.read(&picture, buffer.baseAddress)
      count = isDecoded ? width * height * 3 : 0
    }
    guard isDecoded else { throw failure(picture, path, decoder) }
    let warning = text(of: picture.warning)
    if !warning.isEmpty { warn("\(path) is odd, but all of the picture is there: \(warning)") }
    return RGBImage(width: width, height: height, pixels: pixels).upright(from: orientation)
  }

  private static func failure(_ picture: descent_picture, _ path: String, _ decoder: Decoder) -> Failure {
    let reason = text(of: picture.failure)
    if picture.is_unsupported {
      return Failure(
        .badData, "\(path) is a \(decoder.name) of a kind that cannot be read: \(reason)", remedy: "Convert it to PNG")
    }
    return Failure(.badData, "\(path) is damaged or cut short: \(decoder.name) decoder: \(reason)")
  }

  /// Of a C string in an array.
  private static func text<Characters>(of characters: Characters) -> String {
    withUnsafeBytes(of: characters) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
}
