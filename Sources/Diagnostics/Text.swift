/// A key and its value, both text: a setting in the spelling of the configuration file, or a pair of metadata.
public struct KeyValue: Sendable, Equatable {
  public var key: String
  public var value: String

  public init(_ key: String, _ value: String) {
    self.key = key
    self.value = value
  }
}

/// All digits of `value` in lower case, leading zeros included: two for a byte, sixteen for a fingerprint.
package func hexadecimal(_ value: some FixedWidthInteger & UnsignedInteger) -> String {
  let digits = String(value, radix: 16)
  return String(repeating: "0", count: value.bitWidth / 4 - digits.utf8.count) + digits
}

extension String {
  /// With spaces after it, `width` characters or more.
  package func padded(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }

  /// With spaces before it, `width` characters or more.
  package func rightAligned(to width: Int) -> String { String(repeating: " ", count: max(0, width - count)) + self }
}

extension Unicode.Scalar {
  /// Whether it shows nothing, or a blank, and is no space: controls, marks of direction, the spaces of print.
  package var isInvisible: Bool {
    switch properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator: true
    case .spaceSeparator: self != " "
    default: false
    }
  }

  /// "U+00A0 NO-BREAK SPACE".
  package var codePointName: String {
    let digits = String(value, radix: 16, uppercase: true)
    return "U+" + String(repeating: "0", count: max(0, 4 - digits.utf8.count)) + digits + " "
      + (properties.name ?? "control character")
  }
}

extension StringProtocol {
  /// Without such characters at both ends.
  package func trimming(_ isSuperfluous: (Character) -> Bool) -> String {
    let text = drop(while: isSuperfluous)
    return text.lastIndex { !isSuperfluous($0) }.map { String(text[...$0]) } ?? ""
  }

  /// Without the byte order mark that some editors put in front of UTF-8.
  package var withoutByteOrderMark: SubSequence {
    // defence: byte-order-mark
    unicodeScalars.first == "\u{FEFF}" ? self[unicodeScalars.index(after: startIndex)...] : self[...]
  }
}

/// The command line that a shell takes for these words: quoted where it would take a word for something else.
package func shellCommand(_ words: [String]) -> String {
  let plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./,:=@%+".utf8
  let quoted = words.map { word in
    if !word.isEmpty, word.utf8.allSatisfy(plain.contains) { return word }
    return "'" + word.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
  }
  return quoted.joined(separator: " ")
}

/// The text with its control characters, and those that turn the direction of writing, as escapes: a file name that is shown
/// can neither begin a line nor move the cursor.
package func printable(_ text: String) -> String {
  var result = String.UnicodeScalarView()
  for scalar in text.unicodeScalars {
    switch scalar.value {
    case 0..<0x20, 0x7f..<0xa0, 0x200e...0x200f, 0x2028...0x202e, 0x2066...0x2069:
      result.append(contentsOf: "\\u{\(String(scalar.value, radix: 16))}".unicodeScalars)
    default: result.append(scalar)
    }
  }
  return String(result)
}

/// Rows in aligned columns, two spaces apart.
package func table(_ rows: [[String]]) -> String {
  let columns = rows.map(\.count).max() ?? 0
  let widths = (0..<columns).map { column in rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0 }
  return rows.map { row in
    let cells = row.enumerated().map { index, cell in index == row.count - 1 ? cell : cell.padded(to: widths[index]) }
    return cells.joined(separator: "  ") + "\n"
  }.joined()
}

/// "SIGTERM"; "signal 34" for one that does not end a run. The numbers are those of every POSIX system.
package func signalName(_ number: Int32) -> String {
  switch number {
  case 1: "SIGHUP"
  case 2: "SIGINT"
  case 3: "SIGQUIT"
  case 9: "SIGKILL"
  case 10: "SIGUSR1"
  case 12: "SIGUSR2"
  case 15: "SIGTERM"
  case 24: "SIGXCPU"
  default: "signal \(number)"
  }
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo), of `bytes`: against accidents, not against forgery.
package func fnv1a(_ bytes: some Sequence<UInt8>) -> UInt64 {
  bytes.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
}

/// "45,000".
package func grouped(_ number: UInt64) -> String {
  var groups: [Substring] = []
  var rest = Substring(String(number))
  while rest.count > 3 {
    groups.insert(rest.suffix(3), at: 0)
    rest = rest.dropLast(3)
  }
  return ([rest] + groups).joined(separator: ",")
}
