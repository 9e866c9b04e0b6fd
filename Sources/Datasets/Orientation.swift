/// How the stored rows and columns of a picture lie on the screen: the value of the EXIF tag 0x0112, from 1 (as stored) to
/// 8 (Exif 2.32, section 4.6.4).
package struct Orientation: Equatable {
  /// 1 to 8.
  package let value: Int

  static let asStored = Orientation(value: 1)

  private init(value: Int) { self.value = value }

  /// Reads the tag from the EXIF segment of a JPEG file; `asStored` where there is none, or none that can be read.
  package init(ofJPEG bytes: UnsafeRawBufferPointer) {
    self = Self.exif(in: bytes).flatMap(Self.read) ?? .asStored
  }

  /// Reads the tag from the eXIf chunk of a PNG file, before or after the picture.
  package init(ofPNG bytes: UnsafeRawBufferPointer) {
    self = Self.exifChunk(in: bytes).flatMap(Self.read) ?? .asStored
  }

  private static func exifChunk(in bytes: UnsafeRawBufferPointer) -> Slice<UnsafeRawBufferPointer>? {
    // Chunks follow the signature: length, name, data and checksum.
    var position = 8
    while position + 12 <= bytes.count {
      let length = Int(bytes.loadUnaligned(fromByteOffset: position, as: UInt32.self).bigEndian)
      guard length <= bytes.count - position - 12 else { return nil }
      let data = bytes[position + 8..<position + 8 + length]
      if bytes[position + 4..<position + 8].elementsEqual("eXIf".utf8) {
        return data.starts(with: "Exif\0\0".utf8) ? data.dropFirst(6) : data
      }
      position += length + 12
    }
    return nil
  }

  /// The TIFF structure in the first APP1 segment that holds EXIF data.
  private static func exif(in bytes: UnsafeRawBufferPointer) -> Slice<UnsafeRawBufferPointer>? {
    // Segments follow the start of the image: FF, a marker, and the length of the rest in two bytes, itself included.
    var position = 2
    while position + 4 <= bytes.count, bytes[position] == 0xff {
      let (marker, length) = (bytes[position + 1], Int(bytes[position + 2]) << 8 | Int(bytes[position + 3]))
      let end = position + 2 + length
      // The compressed picture begins: EXIF data stand before it.
      guard marker != 0xda, marker != 0xd9, length >= 2, end <= bytes.count else { return nil }
      let payload = bytes[position + 4..<end]
      if marker == 0xe1, payload.starts(with: "Exif\0\0".utf8) { return payload.dropFirst(6) }
      position = end
    }
    return nil
  }

  /// Looks for the tag in the first directory of a TIFF structure.
  private static func read(_ tiff: Slice<UnsafeRawBufferPointer>) -> Orientation? {
    let isBigEndian = tiff.starts(with: "MM".utf8)
    guard isBigEndian || tiff.starts(with: "II".utf8) else { return nil }
    func number(at offset: Int, bytes count: Int) -> Int? {
      guard offset >= 0, offset + count <= tiff.count else { return nil }
      let digits = tiff.dropFirst(offset).prefix(count)
      return isBigEndian
        ? digits.reduce(0) { $0 << 8 | Int($1) } : digits.reversed().reduce(0) { $0 << 8 | Int($1) }
    }
    guard let directory = number(at: 4, bytes: 4), let count = number(at: directory, bytes: 2) else { return nil }
    for index in 0..<count {
      // Tag, type, number of values, and the value itself, which is 16 bits wide here.
      let entry = directory + 2 + index * 12
      guard let tag = number(at: entry, bytes: 2), let value = number(at: entry + 8, bytes: 2) else { return nil }
      if tag == 0x0112 { return (1...8).contains(value) ? Orientation(value: value) : nil }
    }
    return nil
  }
}

extension RGBImage {
  /// The picture as viewers show it, when it was stored in `orientation`.
  func upright(from orientation: Orientation) -> RGBImage {
    if orientation == .asStored { return self }
    let swapsAxes = orientation.value >= 5
    let (newWidth, newHeight) = swapsAxes ? (height, width) : (width, height)
    // Whether the stored column, and the stored row, are counted from the far end.
    let mirrorsColumns = [2, 3, 7, 8].contains(orientation.value)
    let mirrorsRows = [3, 4, 6, 7].contains(orientation.value)
    let turned = [UInt8](unsafeUninitializedCapacity: pixels.count) { buffer, count in
      var target = 0
      for row in 0..<newHeight {
        for column in 0..<newWidth {
          let (across, down) = swapsAxes ? (row, column) : (column, row)
          let storedColumn = mirrorsColumns ? width - 1 - across : across
          let storedRow = mirrorsRows ? height - 1 - down : down
          let source = (storedRow * width + storedColumn) * 3
          for value in 0..<3 { buffer[target + value] = pixels[source + value] }
          target += 3
        }
      }
      count = target
    }
    return RGBImage(width: newWidth, height: newHeight, pixels: turned)
  }

  /// The largest part around the centre with the proportions of `width` to `height`.
  func middle(width newWidth: Int, height newHeight: Int) -> RGBImage {
    // At least a pixel of each side, whatever the proportions are.
    let columns = min(width, max(1, height * newWidth / newHeight))
    let rows = min(height, max(1, width * newHeight / newWidth))
    if columns == width, rows == height { return self }
    let (left, top) = ((width - columns) / 2, (height - rows) / 2)
    let lines = (top..<top + rows).map { pixels[($0 * width + left) * 3..<($0 * width + left + columns) * 3] }
    return RGBImage(width: columns, height: rows, pixels: Array(lines.joined()))
  }
}
