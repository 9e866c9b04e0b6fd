import Diagnostics
import Glibc

/// A configuration file: one `key: value` a line, a subset of YAML with the same meaning.
///
/// A line is blank, a comment, or `key: value` from the first column, with a comment behind it or not. A value is plain
/// text, 'single-quoted', or "double-quoted" with the escapes of JSON. Everything else of YAML (nested values, lists,
/// anchors, aliases, tags, blocks, directives) is refused, so that a line means here what it means to every YAML reader.
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
  /// - Throws: `missingInput` if it cannot be read, `badConfiguration` if it is not such a file in UTF-8 of at most
  ///   `sizeLimit` bytes.
  public init(readingFrom path: String) throws(Failure) {
    let bytes = try Self.read(path)
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw Failure(.badConfiguration, "configuration file \(path) is not UTF-8 text")
    }
    try self.init(text: text, path: path)
  }

  /// Parses `text`; `path` is what messages call it.
  public init(text: String, path: String) throws(Failure) {
    guard text.utf8.count <= Self.sizeLimit else { throw Self.tooLarge(path) }
    var entries: [Entry] = []
    var lines: [String: Int] = [:]
    // A line ends in LF or CR LF.
    let content = text.split(omittingEmptySubsequences: false) { $0 == "\n" || $0 == "\r\n" }
    for (index, line) in content.enumerated() {
      let place = "\(path):\(index + 1)"
      guard let (key, value) = try Self.pair(line, at: place, isFirst: entries.isEmpty) else { continue }
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
    let reason = String(cString: strerror(errno))
    return Failure(.missingInput, "cannot read configuration file \(path): \(reason)")
  }

  private static func tooLarge(_ path: String) -> Failure {
    Failure(.badConfiguration, "configuration file \(path) is larger than \(sizeLimit) bytes")
  }

  // MARK: - Parsing

  /// What a line sets; nil if it is blank, a comment, or the marker before the first setting.
  private static func pair(
    _ line: Substring, at place: String, isFirst: Bool
  ) throws(Failure) -> (key: String, value: String?)? {
    let content = line.drop { $0 == " " || $0 == "\t" }
    if content.isEmpty || content.first == "#" || isFirst && line == "---" { return nil }
    // Scalar by scalar, so that no combining mark hides a quote; possessive, so that the time is that of one pass.
    let grammar =
      #/
      (?<key>[A-Za-z0-9_\-]++):
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
    if let plain = match.plain { return (key, plain == "~" || plain == "null" ? nil : String(plain)) }
    if let single = match.single { return (key, String(single.replacing("''", with: "'"))) }
    guard let double = match.double else { return (key, nil) }
    guard case .string(let value)? = try? JSONReader.parse(Array(double.utf8)[...], source: place) else {
      throw malformed(line, at: place)
    }
    return (key, value)
  }

  private static func malformed(_ line: Substring, at place: String) -> Failure {
    Failure(.badConfiguration, "\(place) must be `key: value`, but is `\(line.prefix(60))`")
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
    return text.wholeMatch(of: /(?:[A-Za-z0-9\/]|\.{1,2}\/)[A-Za-z0-9\/._\-+=:]*/) != nil
  }
}
