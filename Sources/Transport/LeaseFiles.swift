import Diagnostics
import Files
import Messaging

/// The files of one lease.
package struct LeaseFiles: Sendable {
  private let directory: String
  private let prefix: String
  /// Whether the locks of the file system exclude every other process, and its pages are seen by all.
  package let isLocal: Bool

  /// - Parameter name: "runs/x/lease".
  package init(name: String) {
    let parts = FileSystem.split(name)
    (directory, prefix) = (parts.directory, parts.name + "-")
    isLocal = FileSystem().isLocal(directory)
  }

  package func path(_ epoch: UInt64) -> String { "\(directory)/\(prefix)\(epoch)" }

  /// The epochs that have a file, in no particular order.
  private func epochs() throws(Failure) -> [UInt64] {
    try FileSystem().entries(of: directory).compactMap { name in
      guard name.hasPrefix(prefix), let epoch = UInt64(name.dropFirst(prefix.count)), epoch < UInt64.max / 2,
        name == "\(prefix)\(epoch)"
      else { return nil }
      return epoch
    }
  }

  /// The paths of all files.
  package var paths: [String] { ((try? epochs()) ?? []).map(path) }

  func newest() throws(Failure) -> UInt64? { try epochs().max() }

  /// Whether an epoch that was just created counts. What its creator saw before may be long ago: the epoch may have been
  /// claimed, and its file removed by a later holder. It is removed again then.
  func isNewest(_ epoch: UInt64) throws(Failure) -> Bool {
    if try newest() == epoch { return true }
    try? FileSystem().unlink(path(epoch))
    return false
  }

  func removeEarlier(than epoch: UInt64) {
    for earlier in (try? epochs()) ?? [] where earlier < epoch { try? FileSystem().unlink(path(earlier)) }
  }

  /// Creates the file of an epoch; false if it is there.
  func create(_ epoch: UInt64, _ text: (File) throws(Failure) -> [UInt8]) throws(Failure) -> Bool {
    let file: File
    do throws(Failure) {
      file = try File(path(epoch), for: .creating)
    } catch {
      guard FileSystem().exists(path(epoch)) else { throw error }
      return false
    }
    do throws(Failure) {
      try file.overwrite(text(file))
      if !isLocal { try file.synchronize() }
    } catch {
      try? FileSystem().unlink(path(epoch))
      throw error
    }
    return true
  }

  /// Of the process that holds an epoch; nil where its file does not say.
  func incarnation(of epoch: UInt64) -> UInt64? {
    (try? FileSystem().read(path(epoch), limit: LeaseText.byteCount)).flatMap { LeaseText($0).incarnation }
  }

  /// The newest epoch, and the process that holds it if its file names one; nil where none was ever claimed.
  ///
  /// - Parameters:
  ///   - length: of a lease whose file does not say.
  ///   - hasLock: whether this process holds the lock that stands beside the lease.
  package func look(
    length: Interval, hasLock: Bool
  ) throws(Failure) -> (sighting: LeaseSighting, record: ProcessRecord?, changed: Int64)? {
    var attempts = 0
    while let epoch = try newest() {
      attempts += 1
      do throws(Failure) {
        let file = try File(path(epoch), for: .reading)
        let (status, bytes) = (try file.status(), try file.read(limit: LeaseText.byteCount))
        let text = LeaseText(bytes)
        let sighting = LeaseSighting(
          epoch: epoch, holder: holder(text, inode: status.inode, hasLock: hasLock), renewal: bytes,
          length: text.length ?? length)
        return (sighting, text.record, status.changed)
      } catch {
        // A later holder has removed it meanwhile.
        guard attempts < 8, !FileSystem().exists(path(epoch)) else { throw error }
      }
    }
    return nil
  }

  private func holder(_ text: LeaseText, inode: UInt64, hasLock: Bool) -> LeaseHolder {
    if text.isReleased { return .none }  // defence: lock-record holds
    guard let record = text.record else { return .unseen }
    if isLocal {
      // A copy of the file is of no process. Elsewhere each mount may number files as it likes.
      if record.inode != inode { return .none }  // defence: lease-copy
      switch record.isRunning {
      case false?: return .none
      case true?: return .running
      case nil:
        let isNear = record.isOfThisKernel || record.boot == "-"
        return hasLock && text.isLocked && isNear ? .none : .unseen
      }
    }
    // Two hosts may have one name.
    guard record.isOfThisKernel else { return .unseen }
    switch record.isRunning {
    case false?: return .none
    case true?: return record.inode == inode ? .running : .unseen
    case nil: return .unseen
    }
  }
}

/// The text of a lease's file: the process, then its incarnation, how often it has renewed the lease, and how long that
/// lasts. Always of the same length, so that it is overwritten in one piece.
struct LeaseText {
  static let byteCount = 1024
  static let released = padded("released\n")

  let record: ProcessRecord?
  private(set) var incarnation: UInt64?
  private(set) var length: Interval?
  let isReleased: Bool
  /// Whether its holder had a lock as well.
  private(set) var isLocked = false

  /// No lease that anything holds lasts longer, in milliseconds.
  private static let longest: UInt64 = 3_600_000

  init(_ bytes: [UInt8]) {
    let lines = (String(validating: bytes, as: UTF8.self) ?? "").split(separator: "\n")
    isReleased = lines.first == "released"
    record = lines.first.flatMap { ProcessRecord(line: $0) }
    let fields = lines.count > 1 ? lines[1].split(separator: " ") : []
    guard fields.count == 4, let number = UInt64(fields[0], radix: 16), let milliseconds = UInt64(fields[2]) else {
      return
    }
    (incarnation, length) = (number, .milliseconds(min(milliseconds, Self.longest)))
    isLocked = fields[3] == "locked"
  }

  static func bytes(
    of file: File, _ incarnation: UInt64, _ renewals: UInt64, _ length: Interval, isLocked: Bool
  ) throws(Failure) -> [UInt8] {
    let record = ProcessRecord(inode: try file.status().inode)
    let milliseconds = length.nanoseconds / 1_000_000
    return padded(
      "\(record.line)\(hexadecimal(incarnation)) \(renewals) \(milliseconds) \(isLocked ? "locked" : "unlocked")\n")
  }

  private static func padded(_ text: String) -> [UInt8] {
    let bytes = Array(text.utf8.prefix(byteCount))
    return bytes + [UInt8](repeating: UInt8(ascii: " "), count: byteCount - bytes.count)
  }
}
