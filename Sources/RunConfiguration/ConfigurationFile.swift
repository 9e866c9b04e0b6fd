import Diagnostics
import Glibc
import Yams

/// A configuration file: flat YAML, one `key: value` a line.
///
/// Only what a table of settings needs is accepted. Nested values, lists, anchors, aliases and tags are
/// refused before the YAML reader sees them, so a hostile file cannot make it expand or recurse.
public struct ConfigurationFile: Sendable, Equatable {
  /// One line of the file that sets something.
  public struct Entry: Sendable, Equatable {
    public let key: String
    /// `nil` where nothing stands behind the colon.
    public let value: String?
    /// From 1.
    public let line: Int
  }

  /// The largest file that is read, in bytes.
  public static let sizeLimit = 1_048_576

  public let path: String
  /// In the order of the file; no key occurs twice.
  public let entries: [Entry]

  /// Reads the file at `path`.
  ///
  /// - Throws: `missingInput` if it cannot be read, `badConfiguration` if it is not flat YAML in UTF-8 of
  ///   at most `sizeLimit` bytes.
  public init(readingFrom path: String) throws(Failure) {
    let bytes = try Self.read(path)
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw Failure(.badConfiguration, "configuration file \(path)", expected: "text in UTF-8")
    }
    try self.init(text: text, path: path)
  }

  /// Parses `text`; `path` is only what messages call it.
  public init(text: String, path: String) throws(Failure) {
    guard text.utf8.count <= Self.sizeLimit else { throw Self.tooLarge(path) }
    try Self.requireFlat(text, path: path)
    self.path = path
    self.entries = try Self.entries(of: text, path: path)
  }

  // MARK: - Reading

  private static func read(_ path: String) throws(Failure) -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw unreadable(path) }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = Glibc.read(descriptor, &chunk, chunk.count)
      if count < 0 {
        if errno == EINTR { continue }
        throw unreadable(path)
      }
      if count == 0 { return bytes }
      bytes.append(contentsOf: chunk[..<count])
      guard bytes.count <= sizeLimit else { throw tooLarge(path) }
    }
  }

  private static func unreadable(_ path: String) -> Failure {
    let reason = String(cString: strerror(errno))
    return Failure(.missingInput, "cannot read configuration file \(path): \(reason)")
  }

  private static func tooLarge(_ path: String) -> Failure {
    Failure(
      .badConfiguration, "configuration file \(path)", found: "more than \(sizeLimit) bytes",
      expected: "a file of settings")
  }

  // MARK: - Parsing

  /// Refuses every line that is not blank, a comment, a document marker or `key: value` from the first column.
  private static func requireFlat(_ text: String, path: String) throws(Failure) {
    for (index, line) in lines(of: text).enumerated() {
      let content = line.drop { $0 == " " || $0 == "\t" }
      guard let first = content.first, first != "#", line != "---", line != "..." else { continue }
      guard content.startIndex == line.startIndex else {
        throw notFlat(path, index + 1, found: "an indented line")
      }
      if let found = structure(startingWith: content) { throw notFlat(path, index + 1, found: found) }
      let key = content.prefix { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") }
      let rest = content.dropFirst(key.count)
      guard !key.isEmpty, rest.first == ":", rest.dropFirst().first.map(isBlank) ?? true else {
        throw notFlat(path, index + 1, found: "`\(content.prefix(60))`")
      }
      if let found = structure(startingWith: rest.dropFirst().drop(while: isBlank)) {
        throw notFlat(path, index + 1, found: found)
      }
    }
  }

  private static func lines(of text: String) -> [Substring] {
    text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
  }

  private static func isBlank(_ character: Character) -> Bool { character == " " || character == "\t" }

  /// What kind of YAML that we do not take begins here, or `nil`.
  private static func structure(startingWith text: Substring) -> String? {
    switch text.first {
    case "&": "an anchor"
    case "*": "an alias"
    case "!": "a tag"
    case "[": "a list"
    case "{", "?": "a mapping"
    case "|", ">": "a block of text"
    case "%": "a directive"
    case "-": text.dropFirst().first.map(isBlank) ?? true ? "a list" : nil
    default: nil
    }
  }

  private static func notFlat(_ path: String, _ line: Int, found: String) -> Failure {
    Failure(.badConfiguration, "\(path):\(line)", found: found, expected: "one `key: value` on each line")
  }

  private static func entries(of text: String, path: String) throws(Failure) -> [Entry] {
    let root: Node?
    do {
      root = try Parser(yaml: text, resolver: .basic, encoding: .utf8).singleRoot()
    } catch let error as YamlError {
      throw failure(for: error, text: text, path: path)  // defence: settings-once
    } catch {
      throw Failure(.badConfiguration, "\(path): \(error)")
    }
    guard let root, !isNothing(root) else { return [] }
    guard let mapping = root.mapping else {
      throw notFlat(path, root.mark?.line ?? 1, found: "text without a key")
    }
    var entries: [Entry] = []
    for (key, value) in mapping {
      let line = key.mark?.line ?? 0
      guard let key = key.scalar, let value = value.scalar else {
        throw notFlat(path, line, found: "a nested value")
      }
      entries.append(Entry(key: key.string, value: isNothing(.scalar(value)) ? nil : value.string, line: line))
    }
    return entries
  }

  /// Whether `node` is how YAML writes "nothing": no text at all, `~` or `null`, without quotes.
  private static func isNothing(_ node: Node) -> Bool {
    guard let scalar = node.scalar, scalar.style == .plain else { return false }
    return ["", "~", "null"].contains(scalar.string)
  }

  private static func failure(for error: YamlError, text: String, path: String) -> Failure {
    switch error {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      return Failure(.badConfiguration, "\(path):\(mark.line):\(mark.column) is not YAML: \(problem)")
    case .duplicatedKeysInMapping(let duplicates, _):
      let key = duplicates.first ?? ""
      let lines = lineNumbers(ofKey: key, in: text)
      return Failure(
        .badConfiguration, "\(path):\(lines.dropFirst().first ?? 0)",
        found: "`\(key)` again, after line \(lines.first ?? 0)", expected: "each key once")
    default:
      return Failure(.badConfiguration, "\(path) is not YAML: \(error)")
    }
  }

  private static func lineNumbers(ofKey key: String, in text: String) -> [Int] {
    let lines = lines(of: text)
    return lines.indices.filter { lines[$0].hasPrefix(key + ":") }.map { $0 + 1 }
  }
}
