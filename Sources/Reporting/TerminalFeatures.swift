/// What a terminal can show, as the environment of its user says.
public struct TerminalFeatures: Sendable, Equatable {
  /// Bars and courses of block characters, where the locale is one of UTF-8; of ASCII elsewhere. Every character that is
  /// drawn fills one column.
  public var hasBlocks = false
  public var hasColor = false

  /// Plain ASCII without colours.
  public init() {}

  /// - Parameter environment: colours are used unless `NO_COLOR` has a value (no-color.org). The first of `LC_ALL`,
  ///   `LC_CTYPE` and `LANG` that has a value names the locale.
  public init(environment: [String: String]) {
    func value(_ name: String) -> String { environment[name] ?? "" }
    hasColor = value("NO_COLOR").isEmpty
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(value).first { !$0.isEmpty } ?? ""
    let isUTF8 = ["utf-8", "utf8"].contains { locale.lowercased().contains($0) }
    // The fonts of the Linux console have no such characters.
    hasBlocks = isUTF8 && value("TERM") != "linux"
  }
}

/// A line of a terminal that is drawn again and again in its place.
///
/// The cursor rests in its first column. When the terminal becomes narrower than the line, some terminals break the line and
/// others cut it; the cursor stays where the line begins, so the next drawing erases all of it either way.
package enum RedrawnLine {
  /// Erases the line, for text that takes its place.
  package static let clear = "\r\u{1B}[J"

  /// - Parameter text: at most one column less than the width, without control characters other than those of colours. Where
  ///   the width is not known or has just become smaller, what is too much is cut: lines do not wrap while it is written.
  package static func drawing(_ text: String) -> String {
    // Written before the rest of the line is erased, so that it does not flicker.
    "\r\u{1B}[?7l" + text + "\u{1B}[J\u{1B}[?7h\r"
  }
}
