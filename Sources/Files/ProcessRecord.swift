import Diagnostics
import Glibc

/// The process that a file names as its holder, where no lock can be trusted: a line of text in that file. It tells a process
/// that has ended from one that runs, also where its number was given to another one, and a copy of the file from the file.
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
    (boot, namespace, host) = (Self.boot, Self.namespace, Self.thisHost)
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

  /// Whether the process runs; nil where that cannot be seen from here, as on another host or in another container.
  package var isRunning: Bool? {
    // Where /proc is hidden, two kernels look like one.
    guard boot != "-" else { return nil }
    guard boot == Self.boot else { return host == Self.thisHost && host != "localhost" ? false : nil }
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

  /// The name of this host.
  package static var thisHost: String {
    var buffer = [CChar](repeating: 0, count: 256)
    guard gethostname(&buffer, buffer.count - 1) == 0 else { return "unknown" }
    return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  /// Whether the process runs, or ran, on the kernel of this one, in whatever container.
  package var isOfThisKernel: Bool { boot != "-" && boot == Self.boot }

  package static var boot: String {
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
