import Datasets
import Diagnostics
import Foundation
import TestSupport
import Testing

/// Files of a few pixels, and what must be read from them: see Pictures/make.py.
private struct Picture {
  let name: String
  /// "read", "odd" for a file that is read with a warning, or part of the error.
  let expected: String
  let size: String
  let file: [UInt8]
  let pixels: [UInt8]

  var isReadable: Bool { ["read", "odd"].contains(expected) }

  static let all: [String: [Picture]] = {
    let text = try? GoldenText("Pictures/pictures.txt").text
    let lines = (text ?? "").split(separator: "\n").map { $0.components(separatedBy: "\t") }
    return Dictionary(
      grouping: lines.map { line in
        (
          line[0],
          Picture(
            name: line[1], expected: line[2], size: line[3], file: [UInt8](Data(base64Encoded: line[4]) ?? Data()),
            pixels: [UInt8](Data(base64Encoded: line[5]) ?? Data()))
        )
      }, by: \.0
    ).mapValues { $0.map(\.1) }
  }()

  /// The groups with pictures of which `isChosen` is true.
  static func groups(_ isChosen: (Picture) -> Bool) -> [String] {
    all.filter { $0.value.contains(where: isChosen) }.keys.sorted()
  }
}

@Suite struct PictureTests {
  let directory = TemporaryDirectory()

  private func load(_ picture: Picture) throws -> (image: RGBImage, warnings: [String]) {
    var warnings: [String] = []
    let path = try directory.write(picture.file, to: "picture")
    let image = try ImageFile.load(path: path) { warnings.append($0) }
    return (image, warnings)
  }

  @Test(arguments: Picture.groups(\.isReadable))
  func `pictures that browsers show: read as they are shown`(group: String) throws {
    let pictures = try #require(Picture.all[group]).filter(\.isReadable)
    for picture in pictures {
      let (image, warnings) = try load(picture)
      #expect("\(image.width)x\(image.height)" == picture.size, "\(picture.name)")
      // Libraries round a JPEG's colours differently by one or two; PNG is exact.
      let bound = picture.name.hasPrefix("JPEG") ? 2 : 0
      let difference = zip(image.pixels, picture.pixels).map { abs(Int($0) - Int($1)) }.max() ?? 0
      #expect(image.pixels.count == picture.pixels.count && difference <= bound, "\(picture.name): \(difference)")
      #expect(warnings.isEmpty == (picture.expected == "read"), "\(picture.name): \(warnings)")
    }
    try Evidence.add(
      .pictures, group, times: pictures.count,
      observed: "every pixel as Pillow reads it, or as the PNG specification says")
  }

  @Test(arguments: Picture.groups { !$0.isReadable })
  func `files without a whole picture: refused, with what is wrong`(group: String) throws {
    let pictures = try #require(Picture.all[group]).filter { !$0.isReadable }
    for picture in pictures {
      // The first that is not refused ends the test: a header may claim hours of decompression.
      let failure = try #require(throws: Failure.self, "\(picture.name)") { try load(picture) }
      #expect(failure.status == .badData, "\(picture.name)")
      #expect(failure.description.contains(picture.expected), "\(picture.name): \(failure.description)")
    }
    try Evidence.add(.pictures, group, times: pictures.count, observed: "65, with the reason")
  }

  @Test(arguments: ["nothing", "a directory", "a pipe"])
  func `no file in the place of a picture: named, and not waited for`(kind: String) throws {
    let path = directory.path + "/picture.png"
    switch kind {
    case "a directory": try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    case "a pipe": #expect(mkfifo(path, 0o600) == 0)
    default: break
    }
    let failure = #expect(throws: Failure.self) { try ImageFile.load(path: path) }
    #expect(failure?.status == .missingInput)
    #expect(failure?.message.contains(path) == true)
    #expect(kind == "nothing" || failure?.message.contains(kind) == true)
    try Evidence.add(.pictures, kind, observed: failure?.message ?? "")
  }

  @Test func `gigabytes of picture data behind a small PNG: refused before they are decompressed`() throws {
    // Zeros, which deflate shrinks a thousandfold, under a header that claims 8 × 8 pixels.
    var bytes = png([UInt8](repeating: 0, count: 100_000_000), width: 10_000, height: 10_000, format: 0)
    bytes.replaceSubrange(16..<24, with: [0, 0, 0, 8, 0, 0, 0, 8])
    bytes.replaceSubrange(29..<33, with: bigEndianBytes(of: crc32(bytes[12..<29])))
    let path = try directory.write(bytes, to: "bomb.png")
    let failure = #expect(throws: Failure.self) { try ImageFile.load(path: path) }
    #expect(failure?.message.contains("more picture data than the picture needs") == true)
    try Evidence.add(.pictures, observed: "65 after 64 kB of compressed data more than a row needs")
  }

  @Test func `thousands of scans in a small JPEG: refused after a bounded number`() throws {
    let path = try directory.write(manyScans(3000, side: 4000), to: "scans.jpg")
    let failure = #expect(throws: Failure.self) { try ImageFile.load(path: path) }
    #expect(failure?.message.contains("more scans than any picture needs") == true)
    try Evidence.add(.pictures, observed: "65 after scans of 2 thousand million pixels together")
  }
}

/// A grey progressive JPEG whose scans, but for the first, say nothing of any block, in a few bytes each.
private func manyScans(_ count: Int, side: Int) -> [UInt8] {
  func segment(_ marker: UInt8, _ data: [UInt8]) -> [UInt8] {
    [0xff, marker, UInt8((data.count + 2) >> 8), UInt8((data.count + 2) & 255)] + data
  }
  // A table with one symbol, whose code is eight zeros.
  func table(_ kind: UInt8, _ symbol: UInt8) -> [UInt8] {
    segment(0xc4, [kind << 4] + [0, 0, 0, 0, 0, 0, 0, 1] + [UInt8](repeating: 0, count: 8) + [symbol])
  }
  let size = [UInt8(side >> 8), UInt8(side & 255)]
  var rest = (side / 8) * (side / 8)
  var bits = ""
  while rest > 0 {
    // Symbol 0xe0: the ends of 16,384 blocks, and so many more as 14 bits say.
    let run = max(1 << 14, min(rest, 1 << 15 - 1))
    let more = String(run - 1 << 14, radix: 2)
    bits += "00000000" + String(repeating: "0", count: 14 - more.count) + more
    rest -= run
  }
  bits += String(repeating: "1", count: (8 - bits.count % 8) % 8)
  let digits = Array(bits)
  let data = stride(from: 0, to: digits.count, by: 8).flatMap { start -> [UInt8] in
    let byte = UInt8(String(digits[start..<start + 8]), radix: 2) ?? 0
    return byte == 0xff ? [0xff, 0] : [byte]
  }
  let head =
    [0xff, 0xd8] + segment(0xdb, [0] + [UInt8](repeating: 1, count: 64))
    + segment(0xc2, [8] + size + size + [1, 1, 0x11, 0]) + table(0, 0) + table(1, 0xe0)
  let first = segment(0xda, [1, 1, 0, 0, 0, 0]) + [UInt8](repeating: 0, count: (side / 8) * (side / 8))
  let next = segment(0xda, [1, 1, 0, 1, 63, 0]) + data
  return head + first + (0..<count).flatMap { _ in next } + [0xff, 0xd9]
}
