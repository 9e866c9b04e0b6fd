import Diagnostics

/// Where a node listens, in the spelling of libzmq: `ipc:///run/user/1000/descent-…/server` or
/// `tcp://127.0.0.1:5555`.
public enum Endpoint: Sendable, Equatable, CustomStringConvertible {
  case ipc(path: String)
  /// `port` nil asks the system for a free one. An IPv6 address stands without its brackets.
  case tcp(host: String, port: UInt16?)

  /// The longest path of a Unix-domain socket: `sun_path` of unix(7) without its terminating zero.
  public static let longestSocketPath = 107

  /// - Throws: `badConfiguration` for anything but a usable `ipc://` or `tcp://` address.
  public init(parsing text: String) throws(Failure) {
    if text.hasPrefix("ipc://") {
      try self.init(socketPath: String(text.dropFirst("ipc://".count)))
    } else if text.hasPrefix("tcp://") {
      try self.init(address: text.dropFirst("tcp://".count), text)
    } else {
      throw Self.failure(text)
    }
  }

  /// - Throws: `badConfiguration` when the path does not fit into a socket address.
  public init(socketPath path: String) throws(Failure) {
    guard !path.isEmpty else { throw Self.failure("ipc://") }
    guard path.utf8.count <= Self.longestSocketPath else {
      throw Failure(
        .badConfiguration,
        "the socket path \(path) must have at most \(Self.longestSocketPath) bytes, but has \(path.utf8.count)",
        remedy: "Point XDG_RUNTIME_DIR to a directory with a shorter name, or use --transport tcp")
    }
    self = .ipc(path: path)
  }

  private init(address: Substring, _ text: String) throws(Failure) {
    guard let colon = address.lastIndex(of: ":") else { throw Self.failure(text) }
    var host = address[..<colon]
    if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
    let digits = address[address.index(after: colon)...]
    guard !host.isEmpty else { throw Self.failure(text) }
    if digits == "*" {
      self = .tcp(host: String(host), port: nil)
    } else if let port = UInt16(digits), port > 0 {
      self = .tcp(host: String(host), port: port)
    } else {
      throw Self.failure(text)
    }
  }

  private static func failure(_ text: String) -> Failure {
    Failure(
      .badConfiguration,
      "an endpoint must be ipc:///path/of/a/socket or tcp://host:port, but is \"\(text.prefix(200))\"")
  }

  public var description: String {
    switch self {
    case .ipc(let path): "ipc://\(path)"
    case .tcp(let host, let port):
      "tcp://\(host.contains(":") ? "[\(host)]" : host):\(port.map(String.init) ?? "*")"
    }
  }

  /// Whether processes of other hosts can reach it.
  public var isBeyondThisHost: Bool {
    if case .tcp(let host, _) = self { !Self.isLoopback(host) } else { false }
  }

  /// Refuses a wildcard address, because the address that a node listens at is sent to its peers.
  func requireName() throws(Failure) {
    guard case .tcp(let host, _) = self, ["*", "0.0.0.0", "::", "0", "[::]"].contains(host) else { return }
    throw Failure(
      .badConfiguration, "peers cannot connect to \(self): \(host) is no address",
      remedy: "Give the address or the interface of this host that peers reach")
  }

  private static func isLoopback(_ host: String) -> Bool {
    if host == "localhost" || host == "::1" { return true }
    let parts = host.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
  }

  /// What libzmq's bind understands: it takes numbers and interface names only.
  var bindable: String {
    guard case .tcp("localhost", let port) = self else { return description }
    return Endpoint.tcp(host: "127.0.0.1", port: port).description
  }

  var needsIPv6: Bool {
    if case .tcp(let host, _) = self { host.contains(":") } else { false }
  }
}
