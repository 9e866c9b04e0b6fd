import Glibc

/// Takes the place of accept4(2) for libzmq, whose listener at a Unix-domain socket ends the process when a connection
/// comes and the process has no descriptor left (EMFILE, in ipc_listener.cpp of 4.3.4); it only waits when the system has
/// none (ENFILE).
///
/// A process has the descriptors that its run needs, or it does not start; this is for more peers than were announced. They
/// wait in the queue of the socket.
@_cdecl("accept4")
public func acceptWithoutAborting(
  _ socket: Int32, _ address: UnsafeMutableRawPointer?, _ length: UnsafeMutableRawPointer?, _ flags: Int32
) -> Int32 {
  let accepted = accept(
    socket, address?.assumingMemoryBound(to: sockaddr.self), length?.assumingMemoryBound(to: socklen_t.self))
  guard accepted >= 0 else {
    if errno == EMFILE {
      // libzmq tries again at once, for as long as the connection waits.
      usleep(10_000)
      errno = ENFILE  // defence: accept
    }
    return -1
  }
  if flags & Int32(SOCK_CLOEXEC.rawValue) != 0 { _ = fcntl(accepted, F_SETFD, FD_CLOEXEC) }
  if flags & Int32(SOCK_NONBLOCK.rawValue) != 0 { _ = fcntl(accepted, F_SETFL, O_NONBLOCK) }
  return accepted
}
