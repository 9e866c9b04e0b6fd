import Diagnostics
import Glibc

/// An open file descriptor, closed with its last holder.
package final class Descriptor: Sendable {
  package let number: Int32

  /// Takes over an open descriptor.
  package init(_ number: Int32) {
    precondition(number >= 0, "not a descriptor")
    self.number = number
  }

  /// Takes over `result`, what the system call that `action` names has returned.
  /// - Throws: `internalError`, with the text of `errno`, when it is negative.
  package init(_ result: Int32, orCannot action: String) throws(Failure) {
    guard result >= 0 else { throw .cannot(action, status: .internalError) }
    number = result
  }

  /// A pipe that child processes do not inherit.
  /// - Throws: `internalError` when the system has no descriptors left.
  package static func pipe() throws(Failure) -> (read: Descriptor, write: Descriptor) {
    var ends: [Int32] = [-1, -1]
    guard Glibc.pipe(&ends) == 0 else { throw .cannot("create a pipe", status: .internalError) }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return (Descriptor(ends[0]), Descriptor(ends[1]))
  }

  deinit { close(number) }

  /// Waits until one of the descriptors can be read; false if that takes longer than `milliseconds`.
  package static func wait(for descriptors: [Descriptor], milliseconds: Int) -> Bool {
    var items = descriptors.map { pollfd(fd: $0.number, events: Int16(POLLIN), revents: 0) }
    return poll(&items, UInt(items.count), Int32(clamping: milliseconds)) > 0
  }

  /// Whether a read would not wait. Allocates nothing: the loop of every node asks at each poll.
  package var isReadable: Bool {
    var item = pollfd(fd: number, events: Int16(POLLIN), revents: 0)
    return poll(&item, 1, 0) > 0
  }
}
