import Diagnostics
import Glibc

/// A configuration file: one `key: value` a line, a subset of YAML with the same meaning.
///
/// A line is blank, a comment, or `key: value` from the first column, with a comment behind it or not; `---` may stand
/// before the first of them and `...` behind the last one. A value is plain text, 'single-quoted', or "double-quoted" with
/// the escapes of JSON. Everything else of YAML (nested values, lists, anchors, aliases, tags, blocks, directives) is
/// refused, so that a line means here what it means to every YAML reader; and so are plain values that mislead the eye.
public struct ConfigurationFile: Sendable, Equatable {
  /// One line of the file that sets something.
  public struct Entry: Sendable, Equatable {
    public let key: String
    /// Nil where nothing stands behind the colon.
    public let value: String?
    /// From 1.
    public let line: Int
  }

  /// The largest file that is read, in bytes.
  public static let sizeLimit = 1_048_576

  public let path: String
  /// In the order of the file; no key occurs twice.
  public let entries: [Entry]

  /// The entries with their places.
  public var lines: [SettingLine] { entries.map { ($0.key, $0.value, .file(path: path, line: $0.line)) } }

  /// Reads the file at `path`.
  ///
  /// - Throws: `missingInput` if it cannot be read, `badConfiguration` if it is not such a file, in UTF-8 or, with a byte
  ///   order mark, in UTF-16, of at most `sizeLimit` bytes.
  public init(readingFrom path: String) throws(Failure) {
    try self.init(text: Self.decode(Self.read(path), path), path: path)
  }

  /// Parses `text`; `path` is what messages call it.
  public init(text: String, path: String) throws(Failure) {
    guard text.utf8.count <= Self.sizeLimit else { throw Self.tooLarge(path) }
    var entries: [Entry] = []
    var lines: [String: Int] = [:]
    var hasEnded = false
    // A line ends in LF or CR LF.
    let content = text.withoutByteOrderMark.split(omittingEmptySubsequences: false) { $0 == "\n" || $0 == "\r\n" }
    for (index, line) in content.enumerated() {
      let place = "\(path):\(index + 1)"
      if entries.isEmpty && Self.isMarker(line, "---") { continue }
      if Self.isMarker(line, "...") {
        hasEnded = true
        continue
      }
      guard let (key, value) = try Self.pair(line, at: place) else { continue }
      guard !hasEnded else { throw Failure(.badConfiguration, "\(place) follows the end of the document, `...`") }
      let earlier = lines.updateValue(index + 1, forKey: key)
      guard earlier == nil else {  // defence: settings-once
        throw Failure(.badConfiguration, "\(place): `\(key)` is already set in line \(earlier ?? 0)")
      }
      entries.append(Entry(key: key, value: value, line: index + 1))
    }
    self.path = path
    self.entries = entries
  }

  // MARK: - Reading

  /// All bytes, also of a pipe, such as a shell's `<(…)`.
  private static func read(_ path: String) throws(Failure) -> [UInt8] {
    guard let file = fopen(path, "re") else { throw unreadable(path) }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: sizeLimit + 1)
    bytes.removeLast(bytes.count - fread(&bytes, 1, bytes.count, file))
    guard ferror(file) == 0 else { throw unreadable(path) }
    guard bytes.count <= sizeLimit else { throw tooLarge(path) }
    return bytes
  }

  private static func unreadable(_ path: String) -> Failure {
    let error = errno
    return Failure(
      .missingInput, "cannot read configuration file \(path): \(String(cString: strerror(error)))",
      remedy: error == EISDIR && access("\(path)/config.yaml", R_OK) == 0
        ? "The settings of the run are in \(path)/config.yaml" : nil)
  }

  /// The text of a file: UTF-16 where its first bytes are a byte order mark of it, as editors of Windows write it, otherwise
  /// UTF-8.
  private static func decode(_ bytes: [UInt8], _ path: String) throws(Failure) -> String {
    let isBigEndian = bytes.starts(with: [0xFE, 0xFF])
    if isBigEndian || bytes.starts(with: [0xFF, 0xFE]) {
      let units = stride(from: 0, to: bytes.count - 1, by: 2).map { index in
        let unit = UInt16(bytes[index]) << 8 | UInt16(bytes[index + 1])
        return isBigEndian ? unit : unit.byteSwapped
      }
      if bytes.count % 2 == 0, let text = String(validating: units, as: UTF16.self) { return text }
      throw Failure(
        .badConfiguration, "configuration file \(path) begins as UTF-16, but is not UTF-16 throughout",
        remedy: "Save it as UTF-8")
    }
    if let text = String(validating: bytes, as: UTF8.self) { return text }
    // The first byte that begins no character.
    var (line, column, position) = (1, 1, 0)
    var parser = Unicode.UTF8.ForwardParser()
    var iterator = bytes.makeIterator()
    while case .valid(let character) = parser.parseScalar(from: &iterator) {
      position += character.count
      (line, column) = character.first == UInt8(ascii: "\n") ? (line + 1, 1) : (line, column + 1)
    }
    throw Failure(
      .badConfiguration, "\(path):\(line):\(column) is not UTF-8: found the byte 0x\(hexadecimal(bytes[position]))",
      remedy: "Save the file as UTF-8")
  }

  private static func tooLarge(_ path: String) -> Failure {
    Failure(.badConfiguration, "configuration file \(path) is larger than \(sizeLimit) bytes")
  }

  // MARK: - Parsing

  /// Whether a line is this marker of a document, with a comment behind it or not.
  private static func isMarker(_ line: Substring, _ marker: String) -> Bool {
    guard line.hasPrefix(marker) else { return false }
    let rest = line.dropFirst(marker.count)
    let content = rest.drop { $0 == " " || $0 == "\t" }
    return content.isEmpty || content.first == "#" && rest.first != "#"
  }

  /// What a line sets; nil if it is blank or a comment.
  private static func pair(_ line: Substring, at place: String) throws(Failure) -> (key: String, value: String?)? {
    let content = line.drop { $0 == " " || $0 == "\t" }
    if content.isEmpty || content.first == "#" { return nil }
    // Scalar by scalar, so that no combining mark hides a quote; possessive, so that the time is that of one pass.
    let grammar =
      #/
      (?<key>[A-Za-z0-9_\-]++)[\ \t]*+:
      (?:[\ \t]++(?:
        (?<plain>(?![&*!|>%@`\[\]{}?,"'\#]|-(?:[\ \t]|$)) (?:[^\ \t:]|:(?![\ \t]|$))++
          (?:[\ \t]++(?!\#)(?:[^\ \t:]|:(?![\ \t]|$))++)*+)
        |'(?<single>(?:[^']|'')*+)'
        |(?<double>"(?:[^"\\]|\\.)*+")
      ))?
      (?:[\ \t]++(?:\#.*+)?)?
      /#.matchingSemantics(.unicodeScalar)
    let hasControls = line.unicodeScalars.contains { $0.value < 0x20 && $0 != "\t" || $0.value == 0x7F }
    guard !hasControls, let match = line.wholeMatch(of: grammar)?.output else { throw malformed(line, at: place) }
    let key = String(match.key)
    if let plain = match.plain {
      try requireClear(plain, in: line, at: place)
      return (key, ["~", "null", "Null", "NULL"].contains(plain) ? nil : String(plain))
    }
    if let single = match.single { return (key, String(single.replacing("''", with: "'"))) }
    guard let double = match.double else { return (key, nil) }
    guard case .string(let value)? = try? JSONReader.parse(Array(double.utf8)[...], source: place) else {
      throw malformed(line, at: place)
    }
    return (key, value)
  }

  private static func malformed(_ line: Substring, at place: String) -> Failure {
    // What makes a line that looks right a wrong one; a tab is right but for the beginning.
    let cause = line.unicodeScalars.enumerated().first { $1.isInvisible && ($1 != "\t" || $0 == 0) }
    if let cause { return unclear(cause.element, at: place, column: cause.offset + 1) }
    return Failure(.badConfiguration, "\(place) must be `key: value`, but is `\(line.prefix(60))`")
  }

  /// Refuses a plain value that is not what it looks like: with characters that cannot be seen, in quotation marks of
  /// print, or with a leading zero, which makes it octal to readers of YAML 1.1.
  private static func requireClear(_ plain: Substring, in line: Substring, at place: String) throws(Failure) {
    let column = line.unicodeScalars.distance(from: line.startIndex, to: plain.startIndex) + 1
    let cause = plain.unicodeScalars.enumerated().first { offset, scalar in
      scalar.isInvisible && scalar != "\t" || offset == 0 && quotationMarks.contains(scalar)
    }
    if let cause { throw unclear(cause.element, at: place, column: column + cause.offset) }  // defence: invisible
    guard plain.wholeMatch(of: /[-+]?0[0-9_]+/) == nil else {  // defence: octal
      throw Failure(
        .badConfiguration, "\(place): some readers of YAML take `\(plain)` for an octal number",
        remedy: "Omit the leading zero, or write '\(plain)' in quotes")
    }
  }

  private static let quotationMarks = "\u{2018}\u{2019}\u{201C}\u{201D}".unicodeScalars

  private static func unclear(_ scalar: Unicode.Scalar, at place: String, column: Int) -> Failure {
    Failure(
      .badConfiguration, "\(place):\(column) is \(scalar.codePointName)",
      remedy: "Replace it by plain ASCII, or put the value in 'quotes' if it belongs to it")
  }

  // MARK: - Writing

  /// `text` as a value that every YAML reader takes for this text: plain where that is safe, quoted otherwise.
  static func scalar(_ text: String) -> String {
    if isPlain(text) { return text }
    // What YAML takes for a line break or a control character, and JSON does not.
    return JSONValue.string(text).compactText.unicodeScalars.map { scalar in
      (0x7F...0x9F).contains(scalar.value) || [0x2028, 0x2029].contains(scalar.value)
        ? "\\u" + hexadecimal(UInt16(scalar.value)) : String(scalar)
    }.joined()
  }

  /// Numbers, and words and paths without anything that YAML could take for something else.
  private static func isPlain(_ text: String) -> Bool {
    let reserved = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"]
    guard !reserved.contains(text.lowercased()), text.last != ":" else { return false }
    if let first = text.first, ("0"..."9").contains(first), Double(text) == nil { return false }
    if text.wholeMatch(of: /0[0-9]+/) != nil { return false }
    return text.wholeMatch(of: /(?:[A-Za-z0-9\/]|\.{1,2}\/)[A-Za-z0-9\/._\-+=:]*/) != nil
  }
}
