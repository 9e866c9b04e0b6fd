import Diagnostics
import Files
import Glibc

/// The process that holds a file which the file system cannot lock: a line of text in that file. It tells a process that
/// has ended from one that runs, also where its number was given to another one, and a copy of the file from the file.
package struct ProcessRecord: Sendable, Equatable {
  package var process: Int32
  /// In clock ticks since the start of the kernel; nil if it is not known.
  package var started: UInt64?
  /// Of the kernel, from one start to the next.
  package var boot: String
  /// In which the number of the process means something.
  package var namespace: String
  /// Of the file.
  package var inode: UInt64
  package var host: String

  /// Of this process.
  package init(inode: UInt64) {
    process = getpid()
    started = Self.start(of: process)
    (boot, namespace, host) = (Self.boot, Self.namespace, NodeProcess.host)
    self.inode = inode
  }

  package var line: String {
    "\(process) \(started.map(String.init) ?? "-") \(boot) \(namespace) \(inode) \(host)\n"
  }

  /// Nil for anything that is not what `line` gives.
  package init?(line: some StringProtocol) {
    let fields = line.split(separator: "\n").first?.split(separator: " ", maxSplits: 5) ?? []
    guard fields.count == 6, let process = Int32(fields[0]), process > 0, let inode = UInt64(fields[4]) else {
      return nil
    }
    (self.process, started, self.inode) = (process, UInt64(fields[1]), inode)
    (boot, namespace, host) = (String(fields[2]), String(fields[3]), String(fields[5]))
  }

  /// That in the file at `path`; nil where there is none, or that of another file.
  package init?(in path: String) {
    guard let file = try? File(path, for: .reading), let status = try? file.status(),
      let text = try? String(validating: file.read(limit: 4096), as: UTF8.self), let record = ProcessRecord(line: text),
      record.inode == status.inode
    else { return nil }
    self = record
  }

  /// Whether the process runs; nil where that cannot be seen from here, as on another host or in another container.
  package var isRunning: Bool? {
    guard boot == Self.boot else { return host == NodeProcess.host && host != "localhost" ? false : nil }
    guard namespace == Self.namespace else { return nil }
    // Without a signal. Another user's process may be hidden in /proc.
    guard kill(process, 0) == 0 || errno == EPERM else { return false }
    guard let found = Self.start(of: process), let started else { return true }
    return found == started
  }

  /// Of the process with this number; nil if it is hidden, 0 if it has ended and was not waited for.
  private static func start(of process: Int32) -> UInt64? {
    guard let text = text(of: "/proc/\(process)/stat"), let end = text.utf8.lastIndex(of: UInt8(ascii: ")")) else {
      return nil
    }
    // What follows the name, which may contain anything, begins with the state, the third field; the start is the 22nd.
    let fields = text[end...].dropFirst().split(separator: " ")
    guard let state = fields.first, fields.count > 19 else { return nil }
    return ["Z", "X"].contains(state) ? 0 : UInt64(fields[19])
  }

  static var boot: String {
    text(of: "/proc/sys/kernel/random/boot_id")?.split(separator: "\n").first.map(String.init) ?? "-"
  }

  private static var namespace: String { FileSystem().symbolicLinkTarget("/proc/self/ns/pid") ?? "-" }

  /// Files of /proc have no size.
  private static func text(of path: String) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = Glibc.read(descriptor, &bytes, bytes.count)
    return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
  }
}
