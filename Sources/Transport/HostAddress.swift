import Diagnostics
import Glibc

/// A numeric address of a host, as libzmq and getaddrinfo spell it: "10.0.0.1", "fd00::1", "fe80::1%eth0".
package struct HostAddress: Hashable, CustomStringConvertible, Sendable {
  package let description: String

  /// A numeric address as it is written.
  package init(_ text: String) { description = text }

  var isIPv6: Bool { description.contains(":") }
  /// Reached by processes of this host alone.
  var isLoopback: Bool { Self.isLoopback(description) }
  /// Means something only together with an interface of this host.
  var isLinkLocal: Bool { description.hasPrefix("fe80:") || description.hasPrefix("169.254.") }

  /// Of a numeric address; a name is none.
  static func isLoopback(_ text: String) -> Bool {
    let text = text.hasPrefix("::ffff:") ? String(text.dropFirst("::ffff:".count)) : text
    if text == "::1" { return true }
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
  }

  private init?(_ address: UnsafePointer<sockaddr>) {
    let family = Int32(address.pointee.sa_family)
    guard family == AF_INET || family == AF_INET6 else { return nil }
    let size = family == AF_INET ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size
    var buffer = [CChar](repeating: 0, count: Int(NI_MAXHOST))
    guard getnameinfo(address, socklen_t(size), &buffer, socklen_t(buffer.count), nil, 0, NI_NUMERICHOST) == 0 else {
      return nil
    }
    description = String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  // MARK: Names

  /// The addresses of a host name or numeric address, those of IPv4 first, as most listeners have one.
  ///
  /// - Throws: `unavailable` where the name has none, with the resolver's reason.
  static func resolve(_ host: String) throws(Failure) -> [HostAddress] {
    try withAddresses(of: host) { $0.map(\.address) }
  }

  /// The first address of `host` at which `port` accepts a connection, each tried for `milliseconds`; nil if none does.
  static func reachable(_ host: String, port: UInt16, milliseconds: Int32) throws(Failure) -> HostAddress? {
    try withAddresses(of: host, port: port) { candidates in
      candidates.first { candidate in
        let number = socket(
          candidate.info.ai_family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard number >= 0 else { return false }
        defer { close(number) }
        if connect(number, candidate.info.ai_addr, candidate.info.ai_addrlen) == 0 { return true }
        var item = pollfd(fd: number, events: Int16(POLLOUT), revents: 0)
        guard errno == EINPROGRESS, poll(&item, 1, milliseconds) > 0 else { return false }
        var (error, size) = (Int32(0), socklen_t(MemoryLayout<Int32>.size))
        return getsockopt(number, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0
      }?.address
    }
  }

  private static func withAddresses<Result>(
    of host: String, port: UInt16 = 0, _ body: ([(address: HostAddress, info: addrinfo)]) -> Result
  ) throws(Failure) -> Result {
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var list: UnsafeMutablePointer<addrinfo>?
    var status = getaddrinfo(host, "\(port)", &hints, &list)
    // In /etc/hosts no name ends with the dot of the root.
    if status != 0, host.hasSuffix(".") { status = getaddrinfo(String(host.dropLast()), "\(port)", &hints, &list) }
    // RFC 6761: the name means the loopback even where no file and no server says so, as in a bare container.
    if status != 0, ["localhost", "localhost."].contains(host.lowercased()) {
      status = getaddrinfo("127.0.0.1", "\(port)", &hints, &list)
    }
    guard status == 0 else {
      let reason = status == EAI_SYSTEM ? String(cString: strerror(errno)) : String(cString: gai_strerror(status))
      throw Failure(.unavailable, "cannot find the address of the host \(host): \(reason)")
    }
    defer { freeaddrinfo(list) }
    var found: [(address: HostAddress, info: addrinfo)] = []
    let entries = sequence(state: list) { next in
      defer { next = next?.pointee.ai_next }
      return next?.pointee
    }
    for info in entries {
      guard let address = info.ai_addr.flatMap({ HostAddress($0) }) else { continue }
      if !found.contains(where: { $0.address == address }) { found.append((address, info)) }
    }
    return body(found.filter { !$0.address.isIPv6 } + found.filter(\.address.isIPv6))
  }

  // MARK: This host

  /// The addresses of the interfaces of this host that are up, in the system's order.
  static var interfaces: [(name: String, address: HostAddress)] {
    var list: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&list) == 0 else { return [] }
    defer { freeifaddrs(list) }
    let entries = sequence(state: list) { next in
      defer { next = next?.pointee.ifa_next }
      return next?.pointee
    }
    return entries.compactMap { entry in
      guard entry.ifa_flags & UInt32(IFF_UP) != 0,
        let address = entry.ifa_addr.flatMap({ HostAddress($0) })
      else { return nil }
      return (String(cString: entry.ifa_name), address)
    }
  }
}
