import Diagnostics
import Files
import Glibc

/// A socket that listens for connections to the page.
package struct ListeningSocket {
  package static let loopback = "127.0.0.1"

  let descriptor: Descriptor
  /// "127.0.0.1", "::1".
  package let host: String
  package let port: UInt16

  /// - Parameters:
  ///   - host: a numeric address.
  ///   - port: 0 for any that is free.
  /// - Throws: `badConfiguration` where `host` is no numeric address, or none of this host; `cannotCreate` where the port is
  ///   taken or may not be used.
  package init(host: String, port: UInt16) throws(Failure) {
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE
    var list: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(host, "\(port)", &hints, &list) == 0, let info = list?.pointee else {
      throw Failure(.badConfiguration, "--bind must be a numeric address, but is \(printable(host))")
    }
    defer { freeaddrinfo(list) }
    let descriptor = try Descriptor(
      socket(info.ai_family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0),
      orCannot: "create a socket")
    var isOn: Int32 = 1
    setsockopt(descriptor.number, SOL_SOCKET, SO_REUSEADDR, &isOn, socklen_t(MemoryLayout<Int32>.size))
    guard bind(descriptor.number, info.ai_addr, info.ai_addrlen) == 0, listen(descriptor.number, 511) == 0 else {
      let error = ErrorNumber.last
      let name = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
      if error.code == EADDRNOTAVAIL { throw .cannot("listen on \(name)", error, status: .badConfiguration) }
      let remedy = error.code == EADDRINUSE ? "Another process listens there: choose another --port, or omit it" : nil
      throw .cannot("listen on \(name)", error, status: .cannotCreate, remedy: remedy)
    }
    self.descriptor = descriptor
    self.host = host
    self.port = port == 0 ? try Self.port(of: descriptor, info.ai_family) : port
  }

  private static func port(of descriptor: Descriptor, _ family: Int32) throws(Failure) -> UInt16 {
    var address = sockaddr_in6()
    var size = socklen_t(MemoryLayout<sockaddr_in6>.size)
    let status = withUnsafeMutableBytes(of: &address) { bytes in
      bytes.withMemoryRebound(to: sockaddr.self) { getsockname(descriptor.number, $0.baseAddress, &size) }
    }
    guard status == 0 else { throw .cannot("find the port of a socket", status: .internalError) }
    // At the same place in the addresses of both families.
    return UInt16(bigEndian: address.sin6_port)
  }

  /// "http://127.0.0.1:8231/"
  package var url: String {
    let shown = host == "0.0.0.0" || host == "::" ? Self.loopback : host
    return "http://\(shown.contains(":") ? "[\(shown)]" : shown):\(port)/"
  }
}
