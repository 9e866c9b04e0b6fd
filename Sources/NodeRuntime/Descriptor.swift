import Diagnostics
import Glibc

/// An open file descriptor, closed with its last holder.
final class Descriptor: Sendable {
  let number: Int32

  /// Takes over `number`, the result of the system call that `action` names; negative means that it failed.
  /// - Throws: `status`, with the text of `errno`.
  init(_ number: Int32, _ action: String, status: ExitStatus = .internalError) throws(Failure) {
    guard number >= 0 else { throw Failure(status, "cannot \(action)", found: systemErrorText()) }
    self.number = number
  }

  deinit { close(number) }

  /// Waits until one of the descriptors can be read; false if that takes longer than `milliseconds`.
  static func wait(for descriptors: [Descriptor], milliseconds: Int) -> Bool {
    var items = descriptors.map { pollfd(fd: $0.number, events: Int16(POLLIN), revents: 0) }
    return poll(&items, UInt(items.count), Int32(clamping: milliseconds)) > 0
  }

  /// Whether a read would not wait.
  var isReadable: Bool {
    var item = pollfd(fd: number, events: Int16(POLLIN), revents: 0)
    return poll(&item, 1, 0) > 0
  }
}

/// What `errno` says.
func systemErrorText() -> String { String(cString: strerror(errno)) }
