import CZlib
import Datasets

/// Writes PNG (RFC 2083): 8 bits for each of red, green and blue.
package enum PNGFile {
  /// The bytes of a file. The same image gives the same bytes wherever zlib is the same.
  ///
  /// - Parameter pixelsPerMeter: for printing; nil where it does not matter.
  package static func bytes(of image: RGBImage, pixelsPerMeter: UInt32? = nil) -> [UInt8] {
    var file: [UInt8] = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]
    let header = bigEndian(UInt32(image.width)) + bigEndian(UInt32(image.height)) + [8, 2, 0, 0, 0]
    append("IHDR", header, to: &file)
    if let pixelsPerMeter {
      append("pHYs", bigEndian(pixelsPerMeter) + bigEndian(pixelsPerMeter) + [1], to: &file)
    }
    append("IDAT", compressed(filtered(image)), to: &file)
    append("IEND", [], to: &file)
    return file
  }

  /// Each row as the difference to the one above: areas of one colour become zeros.
  private static func filtered(_ image: RGBImage) -> [UInt8] {
    let length = image.width * 3
    var rows: [UInt8] = []
    rows.reserveCapacity((length + 1) * image.height)
    for row in 0..<image.height {
      rows.append(row == 0 ? 0 : 2)
      for byte in row * length..<(row + 1) * length {
        rows.append(row == 0 ? image.pixels[byte] : image.pixels[byte] &- image.pixels[byte - length])
      }
    }
    return rows
  }

  private static func compressed(_ bytes: [UInt8]) -> [UInt8] {
    var count = compressBound(UInt(bytes.count))
    return [UInt8](unsafeUninitializedCapacity: Int(count)) { buffer, filled in
      // Fails only where the bound is too small.
      let status = compress2(buffer.baseAddress, &count, bytes, UInt(bytes.count), Z_BEST_COMPRESSION)
      precondition(status == Z_OK)
      filled = Int(count)
    }
  }

  private static func append(_ name: String, _ data: [UInt8], to file: inout [UInt8]) {
    let chunk = Array(name.utf8) + data
    file += bigEndian(UInt32(data.count)) + chunk
    file += bigEndian(UInt32(crc32(0, chunk, UInt32(chunk.count))))
  }

  private static func bigEndian(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value.bigEndian) { Array($0) } }
}
