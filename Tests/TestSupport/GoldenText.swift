import Foundation

/// A text that is compared with a file beside its test, so that a person sees in the file what a change does.
/// With `DESCENT_RECORD_GOLDEN=yes` the file is written instead.
public struct GoldenText: Sendable {
  public let url: URL

  /// - Parameter name: the file, relative to the directory of the test's source.
  public init(_ name: String, beside source: String = #filePath) {
    url = URL(fileURLWithPath: source).deletingLastPathComponent().appendingPathComponent(name)
  }

  public static let isRecording = ProcessInfo.processInfo.environment["DESCENT_RECORD_GOLDEN"] == "yes"

  /// Whether the file is there or about to be written.
  public var canBeCompared: Bool { Self.isRecording || FileManager.default.fileExists(atPath: url.path) }

  public var text: String {
    get throws { try String(contentsOf: url, encoding: .utf8) }
  }

  /// The first line that differs, with what to do; nil if the file holds exactly this text or was written.
  public func difference(from text: String) throws -> String? {
    if Self.isRecording {
      try FileManager.default.createDirectory(
        at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(text.utf8).write(to: url)
      return nil
    }
    let expected = try self.text.split(separator: "\n", omittingEmptySubsequences: false)
    let found = text.split(separator: "\n", omittingEmptySubsequences: false)
    guard expected != found else { return nil }
    let line = zip(expected, found).prefix { $0 == $1 }.count
    func shown(_ lines: [Substring]) -> String { line < lines.count ? "\"\(lines[line])\"" : "the end" }
    return "\(url.lastPathComponent):\(line + 1): found \(shown(found)), expected \(shown(expected)). "
      + "If that is meant, record it with DESCENT_RECORD_GOLDEN=yes"
  }
}
