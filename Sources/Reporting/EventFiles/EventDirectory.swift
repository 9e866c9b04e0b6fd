import Diagnostics
import Files
import Glibc
import Synchronization

/// The event files of a run: one for each start that recorded something. TensorBoard reads them in the order of their names,
/// as one run.
package struct EventDirectory: Sendable {
  package static let prefix = "events.out.tfevents."

  package let path: String

  package init(path: String) { self.path = path }

  /// Paths, in the order in which they are read.
  package var files: [String] {
    let names = (try? FileSystem().entries(of: path)) ?? []
    return names.filter { $0.hasPrefix(Self.prefix) }.map { "\(path)/\($0)" }
  }

  /// Removes the values after `step`, which a run that resumes there records again, and what is torn.
  ///
  /// - Parameter isVoid: whether the values of a tag at a step go as well; a record goes if one of its values does.
  /// - Returns: the last step of each tag that is left.
  /// - Throws: `inputOutput` for a file that cannot be read or replaced.
  package func removeValues(
    after step: UInt64, where isVoid: (_ tag: String, _ step: UInt64) -> Bool = { _, _ in false }
  ) throws(Failure) -> [String: UInt64] {
    var newest: [String: UInt64] = [:]
    let files = files
    FileSystem().removeUnfinished(files)
    for file in files {
      let bytes = try FileSystem().read(file, limit: .max, followingLinks: true)
      var kept: [UInt8] = []
      for (range, data) in EventRecord.all(in: bytes) {
        let (found, tags) = Self.stepAndTags(of: data)
        guard found <= step || tags.isEmpty, !tags.contains(where: { isVoid($0, found) }) else { continue }
        kept += bytes[range]
        for tag in tags { newest[tag] = max(newest[tag] ?? 0, found) }
      }
      if kept.count < bytes.count { try FileSystem().replace(file, with: kept) }
    }
    return newest
  }

  private static func stepAndTags(of data: ArraySlice<UInt8>) -> (step: UInt64, tags: [String]) {
    var (step, tags): (UInt64, [String]) = (0, [])
    for (field, value) in ProtocolBufferFields(data) {
      switch (field, value) {
      case (2, .integer(let number)): step = number
      case (5, .bytes(let summary)):
        for case (1, .bytes(let value)) in ProtocolBufferFields(summary) {
          for case (1, .bytes(let tag)) in ProtocolBufferFields(value) {
            tags.append(String(decoding: tag, as: UTF8.self))
          }
        }
      default: break
      }
    }
    return (step, tags)
  }

  /// Begins a file that is read after all others.
  ///
  /// - Parameters:
  ///   - host: the name of this host.
  ///   - events: its first records, after the version of the format.
  package func begin(at time: UTCTime, host: String, _ events: [Event]) throws(Failure) -> EventFile {
    try FileSystem().makeDirectories(path)
    // A clock may have been set back.
    let newest = files.compactMap { file in
      Int64(FileSystem.split(file).name.dropFirst(Self.prefix.count).prefix { $0.isNumber })
    }.max()
    let seconds = max(time.microseconds / 1_000_000, (newest ?? 0) + 1)
    let digits = String(10_000_000_000 + min(seconds, 9_999_999_999)).dropFirst()
    let safeHost = String(host.map { $0 == "/" ? "_" : $0 })
    return try EventFile(
      "\(path)/\(Self.prefix)\(digits).\(safeHost).\(getpid()).0",
      [Event(at: time, step: 0, .fileVersion)] + events)
  }
}

/// An event file that is being written, by any thread.
package final class EventFile: Sendable {
  private let file: Mutex<File>

  fileprivate init(_ path: String, _ events: [Event]) throws(Failure) {
    let file = try File(path, for: .appending)
    do throws(Failure) {
      try file.append(events.flatMap(\.record))
    } catch {
      // Without its beginning it is no event file.
      try? FileSystem().unlink(path)
      throw error
    }
    self.file = Mutex(file)
  }

  /// Appends an event as a whole or, where it cannot be written, not at all.
  package func append(_ event: Event) throws(Failure) {
    let record = event.record
    try file.withLock { (file) throws(Failure) in try file.append(record) }
  }
}
