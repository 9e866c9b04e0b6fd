import Foundation

/// One row of the table that `Scripts/faults.sh` prints: what was done to a run, and what came of it.
///
/// A test adds its row as its last act, after every expectation; the script leaves out the rows of tests that failed,
/// and fails itself. Without `DESCENT_EVIDENCE`, the file that collects the rows, nothing is written.
public struct Evidence: Codable, Sendable {
  public enum Section: String, Codable, Sendable, CaseIterable {
    case processes, disk, network, waiting, simulation, intruders, bytes, races
    case trees, starts, limits, fileSystems, settings, addresses, data, pictures
  }

  public var section: Section
  /// What was done and what was expected of it: the two parts of the test's name, "DONE: EXPECTED".
  public var done: String
  public var expected: String
  /// Which argument of the test it was; empty where there is one row.
  public var variant: String
  /// How often.
  public var times: Int
  /// With the figures that were seen, not the expectation again.
  public var observed: String
  /// Seconds from each fault to the next step (or to the refusal), where there is such a time.
  public var recovery: [Double]
  /// The suite of the test, as `swift test --filter` finds it.
  public var test: String

  /// - Parameter file, function: those of the test.
  public static func add(
    _ section: Section, _ variant: String = "", times: Int = 1, observed: String, recovery: [Double] = [],
    file: String = #fileID, function: String = #function
  ) throws {
    let name = function.prefix(upTo: function.lastIndex(of: "(") ?? function.endIndex)
    guard let colon = name.firstRange(of: ": ") else { preconditionFailure("\(name) is not \"DONE: EXPECTED\"") }
    guard let path = ProcessInfo.processInfo.environment["DESCENT_EVIDENCE"] else { return }
    let parts = file.split(separator: "/")
    let suite = parts.last?.replacingOccurrences(of: ".swift", with: "") ?? ""
    let row = Evidence(
      section: section, done: String(name[..<colon.lowerBound]), expected: String(name[colon.upperBound...]),
      variant: variant, times: times, observed: observed, recovery: recovery, test: "\(parts.first ?? "").\(suite)")
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // One write to a file opened for appending: tests of several processes do not cut each other's lines.
    try append(try encoder.encode(row) + [UInt8(ascii: "\n")], to: path)
  }

  private static func append(_ line: Data, to path: String) throws {
    let descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw CocoaError(.fileWriteUnknown, userInfo: [NSFilePathErrorKey: path]) }
    defer { close(descriptor) }
    let written = line.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    guard written == line.count else { throw CocoaError(.fileWriteUnknown, userInfo: [NSFilePathErrorKey: path]) }
  }
}
