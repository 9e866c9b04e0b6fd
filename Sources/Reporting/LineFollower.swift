import Diagnostics
import Files

/// Follows a file of lines that a process appends to: each update hands over the whole lines that are new.
///
/// A torn last line waits for its end. A file that was cut and continued, as by a run that resumes at an earlier step, or
/// replaced, is read again from its beginning; a file that is gone has no lines.
struct LineFollower: Sendable {
  /// Longer lines are not of this program: they are passed over, so that a foreign file does not fill the memory.
  static let longestLine = 1 << 20
  /// Bytes that are read at once.
  private static let portion = 4 << 20
  /// Of the end of what was read, to compare.
  private static let anchorLength = 512

  let path: String
  /// Of the file when it was read last; nil if there was none.
  private(set) var status: FileStatus?
  /// Behind the last whole line.
  private var offset = 0
  /// The bytes before `offset`: they are others if the file was cut there and continued.
  private var anchor: [UInt8] = []
  /// Behind `offset` stands a part of a line that is too long.
  private var isSkipping = false

  init(path: String) { self.path = path }

  /// Reads what is new.
  ///
  /// - Parameters:
  ///   - restart: called before the lines of a file that is read from its beginning again; those that were handed over are
  ///     void.
  ///   - take: called with each line, without its line feed; a line feed follows in memory.
  /// - Returns: whether anything is new.
  mutating func update(
    restart: () -> Void, take: (UnsafeBufferPointer<UInt8>) -> Void
  ) -> Bool {
    guard let now = FileSystem().status(of: path), now.kind == .file else {
      guard status != nil else { return false }
      self = LineFollower(path: path)
      restart()
      return true
    }
    guard now != status else { return false }
    // What cannot be read now may be readable later: its status is not kept.
    guard let file = try? File(path, for: .reading) else { return false }
    if offset > 0, !continues(file, now) {
      self = LineFollower(path: path)
      restart()
    }
    while let bytes = try? file.read(at: offset, count: Self.portion), !bytes.isEmpty {
      guard handOver(bytes, take), bytes.count == Self.portion else { break }
    }
    status = now
    return true
  }

  /// Whether the file still begins with what was read.
  private func continues(_ file: File, _ now: FileStatus) -> Bool {
    guard now.byteCount >= offset, now.inode == status?.inode ?? now.inode else { return false }
    return (try? file.read(at: offset - anchor.count, count: anchor.count)) == anchor
  }

  /// - Returns: whether it got further.
  private mutating func handOver(_ bytes: [UInt8], _ take: (UnsafeBufferPointer<UInt8>) -> Void) -> Bool {
    let end = bytes.withUnsafeBufferPointer { buffer -> Int in
      var start = 0
      while let feed = buffer.firstLineFeed(from: start) {
        if isSkipping { isSkipping = false } else { take(UnsafeBufferPointer(rebasing: buffer[start..<feed])) }
        start = feed + 1
      }
      if start == 0, buffer.count >= Self.longestLine {
        isSkipping = true
        start = buffer.count
      }
      return start
    }
    guard end > 0 else { return false }
    offset += end
    anchor = Array(bytes[max(0, end - Self.anchorLength)..<end])
    return true
  }
}
