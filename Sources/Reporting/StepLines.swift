import Diagnostics
import Files

/// A file of JSON objects, a line each, of which each has a `step`, steps strictly increasing.
///
/// One owner; not for use by two threads at once.
final class StepLines {
  private let file: File
  private var lastStep: UInt64?
  /// Why the first of the missing lines was not written.
  private var gap: Failure?

  /// Opens the file at `path`, or creates it.
  ///
  /// - Parameter step: where the run starts or resumes; nil for a file without later lines.
  init(path: String, startingAt step: UInt64?) throws(Failure) {
    file = try File(path, for: .appending)
    if let step { try truncate(after: step) }
  }

  /// Appends a line, unless there is one of this step or a later one: a run that resumes at its last step evaluates that
  /// step again.
  func record(_ line: JSONValue, of step: UInt64) throws(Failure) {
    guard lastStep.map({ step > $0 }) ?? true else { return }
    do throws(Failure) {
      try append(line, of: step)
    } catch {
      gap = gap ?? error
      throw error
    }
  }

  /// - Throws: why the first of the missing lines was not written.
  func requireAll() throws(Failure) {
    if let gap { throw gap }
  }

  /// Appends a line, whose step must be later than that of the one before.
  func append(_ line: JSONValue, of step: UInt64) throws(Failure) {
    if let lastStep, step <= lastStep {
      throw Failure(.internalError, "cannot record step \(step) in \(file.path) after step \(lastStep)")
    }
    try file.append(line: line.compactBytes)
    lastStep = step
  }

  /// Removes the lines after `step`, which a run that resumes there writes again. What stays is the longest beginning of
  /// whole lines with increasing steps up to `step`; a torn last line is removed too.
  func truncate(after step: UInt64) throws(Failure) {
    let bytes = try FileSystem().read(file.path, limit: .max, followingLinks: true)
    var size = 0
    lastStep = nil
    while let end = bytes[size...].firstIndex(of: UInt8(ascii: "\n")),
      let found: UInt64 = try? JSONFields(parsing: Array(bytes[size..<end]), source: file.path)["step"],
      found <= step, lastStep.map({ found > $0 }) ?? true
    {
      (size, lastStep) = (end + 1, found)
    }
    try file.truncate(to: size)
  }

  /// The objects of such a file. A last line that is not whole, because it is being written or its writer was killed, is left
  /// out.
  ///
  /// - Parameter make: what a line becomes.
  /// - Throws: `missingInput` when there is no file; `badData` for a whole line that is something else.
  static func read<Record>(
    _ path: String, _ make: (JSONFields) throws(Failure) -> Record
  ) throws(Failure) -> [Record] {
    let bytes = try FileSystem().read(path, limit: .max, followingLinks: true)
    var records: [Record] = []
    var start = 0
    while let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
      let source = "\(path), line \(records.count + 1)"
      records.append(try make(JSONFields(parsing: Array(bytes[start..<end]), source: source)))
      start = end + 1
    }
    return records
  }
}
