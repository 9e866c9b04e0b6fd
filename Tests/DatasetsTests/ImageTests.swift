import CImages
import Datasets
import Diagnostics
import Foundation
import TestSupport
import Testing

@Suite struct `Picture files` {
  let directory: TemporaryDirectory
  /// Smooth, so that JPEG keeps it nearly as it is; red, green and blue differ, so that a mix-up shows.
  let gradient = picture(width: 48, height: 40) { column, row in
    (column * 5, row * 6, 250 - column * 2 - row * 3)
  }

  init() throws {
    directory = TemporaryDirectory()
  }

  @Test func `a PNG is read exactly, whatever its name`() throws {
    let path = try directory.write(png(gradient.pixels, width: 48, height: 40), to: "picture.jpg")
    #expect(try ImageFile.load(path: path) == gradient)
  }

  @Test func `a grey PNG becomes red, green and blue of the same value`() throws {
    let bytes = png([0, 100, 200, 255], width: 2, height: 2, format: 0)
    let image = try ImageFile.load(path: directory.write(bytes, to: "grey.png"))
    #expect(image.pixels == [0, 0, 0, 100, 100, 100, 200, 200, 200, 255, 255, 255])
  }

  @Test func `what is transparent in a PNG is white`() throws {
    let rgba = png_uint_32(PNG_FORMAT_FLAG_COLOR | PNG_FORMAT_FLAG_ALPHA)
    let bytes = png([10, 20, 30, 255, 10, 20, 30, 0], width: 2, height: 1, format: rgba)
    let image = try ImageFile.load(path: directory.write(bytes, to: "alpha.png"))
    #expect(image.pixels == [10, 20, 30, 255, 255, 255])
  }

  @Test func `a JPEG is read to within its loss`() throws {
    let image = try ImageFile.load(path: directory.write(jpeg(gradient), to: "picture.png"))
    #expect(image.width == 48)
    #expect(image.height == 40)
    let errors = zip(image.pixels, gradient.pixels).map { abs(Int($0) - Int($1)) }
    #expect(errors.allSatisfy { $0 <= 8 })
  }

  @Test func `a file cut short anywhere is an error, not half a picture`() throws {
    for (name, bytes) in [("a.png", png(gradient.pixels, width: 48, height: 40)), ("a.jpg", jpeg(gradient))] {
      for count in stride(from: 12, to: bytes.count - 12, by: 7) {
        let path = try directory.write(bytes.prefix(count), to: name)
        let failure = #expect(throws: Failure.self) { try ImageFile.load(path: path) }
        #expect(failure?.status == .badData)
        #expect(failure?.message.hasPrefix("\(path) is damaged or cut short: ") == true)
      }
    }
  }

  @Test func `a damaged PNG is refused by its checksum`() throws {
    var bytes = png(gradient.pixels, width: 48, height: 40)
    bytes[bytes.count / 2] ^= 0x10
    let path = try directory.write(bytes, to: "damaged.png")
    let failure = #expect(throws: Failure.self) { try ImageFile.load(path: path) }
    #expect(failure?.status == .badData)
  }

  @Test func `a picture above the limit is refused before memory is taken`() throws {
    // A PNG header that claims 60,000 × 60,000: 10.8 GB of pixels.
    var bytes = png(gradient.pixels, width: 48, height: 40)
    let side: [UInt8] = [0x00, 0x00, 0xea, 0x60]
    bytes.replaceSubrange(16..<20, with: side)
    bytes.replaceSubrange(20..<24, with: side)
    bytes.replaceSubrange(29..<33, with: bigEndianBytes(of: crc32(bytes[12..<29])))
    let path = try directory.write(bytes, to: "huge.png")
    let failure = #expect(throws: Failure.self) { try ImageFile.load(path: path) }
    #expect(failure?.status == .badData)
    #expect(
      failure?.message
        == "\(path) must have at most 64 million pixels, and 100,000 in a row or column, but has 60000 × 60000")
  }

  @Test(arguments: [
    ("GIF89a", "a GIF"), ("RIFF0000WEBPVP8 ", "a WebP"), ("\0\0\0\u{18}ftypheic", "a HEIC"), ("", "an empty file"),
    ("hello", "a file that begins with the bytes 68 65 6c 6c 6f"),
  ])
  func `another format is named`(content: String, found: String) throws {
    let path = try directory.write(content.utf8, to: "picture.png")
    let failure = #expect(throws: Failure.self) { try ImageFile.load(path: path) }
    #expect(failure?.status == .badData)
    #expect(failure?.message == "\(path) must be a PNG or JPEG file, but is \(found)")
  }

  /// Where the stored corners (top left, top right, bottom left, bottom right) are shown, clockwise from the top left, for
  /// each value of the tag.
  @Test(
    arguments: [
      (1, [0, 1, 3, 2]), (2, [1, 0, 2, 3]), (3, [3, 2, 0, 1]), (4, [2, 3, 1, 0]), (5, [0, 2, 3, 1]), (6, [2, 0, 1, 3]),
      (7, [3, 1, 0, 2]), (8, [1, 3, 2, 0]),
    ], [true, false])
  func `a JPEG is turned and mirrored as its EXIF orientation says`(
    orientation: (tag: Int, corners: [Int]), isBigEndian: Bool
  ) throws {
    let colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)]
    let stored = picture(width: 48, height: 32) { column, row in colours[(column < 24 ? 0 : 1) + (row < 16 ? 0 : 2)] }
    let bytes = addingEXIF(to: jpeg(stored), orientation: orientation.tag, isBigEndian: isBigEndian)
    let shown = try ImageFile.load(path: directory.write(bytes, to: "turned.jpg"))
    #expect((shown.width, shown.height) == (orientation.tag < 5 ? (48, 32) : (32, 48)))
    let corners = [
      (0, 0), (shown.width - 1, 0), (shown.width - 1, shown.height - 1), (0, shown.height - 1),
    ].map { column, row in
      let pixel = shown.pixels[(row * shown.width + column) * 3..<(row * shown.width + column) * 3 + 3].map(Int.init)
      return colours.firstIndex { abs($0.0 - pixel[0]) < 40 && abs($0.1 - pixel[1]) < 40 && abs($0.2 - pixel[2]) < 40 }
    }
    #expect(corners == orientation.corners)
  }

  @Test func `EXIF data that are cut short, out of range or absurd leave a JPEG as it is stored`() throws {
    let plain = jpeg(gradient)
    let expected = try ImageFile.load(path: directory.write(plain, to: "plain.jpg"))
    for orientation in [0, 9, 65_535] {
      let bytes = addingEXIF(to: plain, orientation: orientation, isBigEndian: true)
      #expect(try ImageFile.load(path: directory.write(bytes, to: "odd.jpg")) == expected)
    }
    for isBigEndian in [true, false] {
      let bytes = addingEXIF(to: plain, orientation: 6, isBigEndian: isBigEndian)
      let end = bytes.count - plain.count + 4
      for count in 0..<end { #expect((1...8).contains(orientation(of: Array(bytes[..<count])))) }
      for position in 0..<end {
        for value in 0...255 {
          var changed = bytes
          changed[position] = UInt8(value)
          #expect((1...8).contains(orientation(of: changed)))
        }
      }
    }
  }

  @Test func `a missing picture is a failure that names it`() throws {
    let failure = #expect(throws: Failure.self) { try ImageFile.load(path: directory.path + "/none.png") }
    #expect(failure?.status == .missingInput)
  }
}

@Suite struct `Scaling a picture` {
  @Test func `to its own size changes nothing`() {
    let image = picture(width: 5, height: 3) { column, row in (column, row, column * row) }
    #expect(image.resized(width: 5, height: 3) == image)
  }

  @Test func `down averages the area that a pixel covers`() {
    // Grey 3 × 2 to 2 × 1: the middle column counts half on either side.
    let image = grey([0, 90, 30, 60, 30, 90], width: 3)
    // Left: (0 + 60 + (90 + 30) / 2) / 3 = 40; right: (30 + 90 + (90 + 30) / 2) / 3 = 60.
    #expect(image.resized(width: 2, height: 1) == grey([40, 60], width: 2))
  }

  @Test func `up interpolates linearly between pixel centres`() {
    // New centres lie at −0.25, 0.25, 0.75 and 1.25 of the old ones; beyond the outer centres the edge goes on.
    #expect(grey([0, 100], width: 2).resized(width: 4, height: 1) == grey([0, 25, 75, 100], width: 4))
    #expect(grey([0, 100], width: 1).resized(width: 1, height: 4) == grey([0, 25, 75, 100], width: 1))
    #expect(grey([77], width: 1).resized(width: 3, height: 2) == grey([Int](repeating: 77, count: 6), width: 3))
  }

  @Test func `treats each axis on its own`() {
    let image = grey([0, 100, 50, 150, 10, 110, 60, 160], width: 2)  // 2 × 4, to 4 × 2
    #expect(image.resized(width: 4, height: 2) == grey([25, 50, 100, 125, 35, 60, 110, 135], width: 4))
  }

  @Test(arguments: [(1, 1), (7, 300), (640, 480), (31, 33), (2000, 3)])
  func `keeps one colour one colour`(width: Int, height: Int) {
    let image = picture(width: width, height: height) { _, _ in (255, 1, 128) }
    #expect(image.resized(width: 32, height: 32) == picture(width: 32, height: 32) { _, _ in (255, 1, 128) })
  }

  @Test func `an example is the red, the green and the blue plane`() {
    let image = picture(width: 32, height: 32) { column, row in (column, row, 255 - column - row) }
    let planes = image.pixels(as: .cifar10)
    #expect(planes.count == 3072)
    for (column, row) in [(0, 0), (31, 0), (0, 31), (5, 17)] {
      let pixel = row * 32 + column
      #expect(Int(planes[pixel]) == column)
      #expect(Int(planes[pixel + 1024]) == row)
      #expect(Int(planes[pixel + 2048]) == 255 - column - row)
    }
  }

  @Test func `a grey example is the luma of ITU-R BT.601, as Pillow rounds it`() {
    let colours = [
      (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (1, 2, 3), (200, 100, 50), (77, 77, 77),
    ]
    let image = picture(width: 8, height: 1) { column, _ in colours[column] }
    // Image.new("RGB", (1, 1), colour).convert("L") of Pillow 11
    #expect(
      image.pixels(as: InputShape(width: 8, height: 1, channels: 1)) == [76, 150, 29, 255, 0, 2, 124, 77])
  }

  @Test func `the middle with the proportions of the example is cut out`() {
    let image = picture(width: 40, height: 30) { column, row in (column * 6, row * 8, 0) }
    let wide = image.pixels(as: InputShape(width: 40, height: 10, channels: 3))
    let across: [UInt8] = (0..<40).map { UInt8($0 * 6) }
    #expect(Array(wide[..<40]) == across)
    #expect(wide[400..<440].allSatisfy { $0 == 80 })
    let high = image.pixels(as: InputShape(width: 10, height: 30, channels: 3))
    #expect(Set(stride(from: 0, to: 300, by: 10).map { high[$0] }) == [90])
    let (column, down): ([UInt8], [UInt8]) = (
      stride(from: 300, to: 600, by: 10).map { high[$0] }, (0..<30).map { UInt8($0 * 8) }
    )
    #expect(column == down)
    // However narrow.
    #expect(image.pixels(as: InputShape(width: 1000, height: 1, channels: 1)).count == 1000)
  }

  @Test func `the middle of a picture that is no square becomes the example`() {
    let wide = picture(width: 64, height: 32) { column, _ in column < 16 || column >= 48 ? (0, 0, 0) : (200, 100, 50) }
    let high = picture(width: 32, height: 65) { _, row in row < 16 || row >= 48 ? (0, 0, 0) : (200, 100, 50) }
    for image in [wide, high] {
      #expect(image.pixels(as: .cifar10)[..<1024].allSatisfy { $0 == 200 })
      #expect(image.pixels(as: .cifar10)[2048...].allSatisfy { $0 == 50 })
    }
  }

  private func grey(_ values: [Int], width: Int) -> RGBImage {
    RGBImage(
      width: width, height: values.count / width, pixels: values.flatMap { [UInt8($0), UInt8($0), UInt8($0)] })
  }
}

/// A picture whose red, green and blue are functions of the column and the row.
func picture(width: Int, height: Int, colour: (Int, Int) -> (Int, Int, Int)) -> RGBImage {
  var pixels: [UInt8] = []
  for row in 0..<height {
    for column in 0..<width {
      let (red, green, blue) = colour(column, row)
      pixels += [UInt8(red), UInt8(green), UInt8(blue)]
    }
  }
  return RGBImage(width: width, height: height, pixels: pixels)
}

/// A PNG file as libpng writes it.
func png(
  _ pixels: [UInt8], width: Int, height: Int, format: png_uint_32 = png_uint_32(PNG_FORMAT_FLAG_COLOR)
) -> [UInt8] {
  var image = png_image()
  image.version = png_uint_32(PNG_IMAGE_VERSION)
  image.width = png_uint_32(width)
  image.height = png_uint_32(height)
  image.format = format
  var byteCount = 0
  png_image_write_to_memory(&image, nil, &byteCount, 0, pixels, 0, nil)
  var bytes = [UInt8](repeating: 0, count: byteCount)
  png_image_write_to_memory(&image, &bytes, &byteCount, 0, pixels, 0, nil)
  return Array(bytes.prefix(byteCount))
}

/// A JPEG file of quality 95 without chroma subsampling, as libjpeg writes it.
private func jpeg(_ image: RGBImage) -> [UInt8] {
  let encoder = UnsafeMutablePointer<jpeg_compress_struct>.allocate(capacity: 1)
  let errors = UnsafeMutablePointer<jpeg_error_mgr>.allocate(capacity: 1)
  defer {
    encoder.deallocate()
    errors.deallocate()
  }
  encoder.pointee.err = jpeg_std_error(errors)
  jpeg_CreateCompress(encoder, JPEG_LIB_VERSION, MemoryLayout<jpeg_compress_struct>.size)
  defer { jpeg_destroy_compress(encoder) }
  var output: UnsafeMutablePointer<UInt8>?
  var byteCount: UInt = 0
  defer { free(output) }
  jpeg_mem_dest(encoder, &output, &byteCount)
  encoder.pointee.image_width = JDIMENSION(image.width)
  encoder.pointee.image_height = JDIMENSION(image.height)
  encoder.pointee.input_components = 3
  encoder.pointee.in_color_space = JCS_RGB
  jpeg_set_defaults(encoder)
  jpeg_set_quality(encoder, 95, 1)
  encoder.pointee.comp_info.pointee.h_samp_factor = 1
  encoder.pointee.comp_info.pointee.v_samp_factor = 1
  jpeg_start_compress(encoder, 1)
  var pixels = image.pixels
  for row in 0..<image.height {
    pixels.withUnsafeMutableBufferPointer { pixels in
      var line: UnsafeMutablePointer<UInt8>? = pixels.baseAddress.map { $0 + row * image.width * 3 }
      jpeg_write_scanlines(encoder, &line, 1)
    }
  }
  jpeg_finish_compress(encoder)
  return Array(UnsafeBufferPointer(start: output, count: Int(byteCount)))
}

private func orientation(of jpeg: [UInt8]) -> Int { jpeg.withUnsafeBytes { Orientation(ofJPEG: $0).value } }

/// Puts an EXIF segment with an orientation behind the first marker of a JPEG file.
private func addingEXIF(to jpeg: [UInt8], orientation: Int, isBigEndian: Bool) -> [UInt8] {
  func number(_ value: Int, _ count: Int) -> [UInt8] {
    let bytes = (0..<count).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
    return isBigEndian ? bytes.reversed() : bytes
  }
  // Byte order, 42, offset of the directory; two entries: the width, then the orientation (a 16-bit number).
  let width = number(0x0100, 2) + number(4, 2) + number(1, 4) + number(48, 4)
  let entry = number(0x0112, 2) + number(3, 2) + number(1, 4) + number(orientation, 2) + [0, 0]
  let header = Array((isBigEndian ? "MM" : "II").utf8) + number(42, 2) + number(8, 4)
  let tiff = header + number(2, 2) + width + entry + number(0, 4)
  let payload = Array("Exif\0\0".utf8) + tiff
  let length = payload.count + 2
  return jpeg[..<2] + [0xff, 0xe1, UInt8(length >> 8), UInt8(length & 255)] + payload + jpeg[2...]
}

/// CRC-32 as PNG uses it (ISO 3309), bit by bit.
func crc32(_ bytes: some Sequence<UInt8>) -> UInt32 {
  ~bytes.reduce(~UInt32(0)) { crc, byte in
    (0..<8).reduce(crc ^ UInt32(byte)) { value, _ in value >> 1 ^ (value & 1 == 1 ? 0xedb8_8320 : 0) }
  }
}

func bigEndianBytes(of value: UInt32) -> [UInt8] {
  withUnsafeBytes(of: value.bigEndian) { Array($0) }
}
