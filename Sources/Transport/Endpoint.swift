import Diagnostics

/// Where a node listens, in the spelling of libzmq: `ipc:///run/user/1000/descent-…/server` or
/// `tcp://127.0.0.1:5555`.
public enum Endpoint: Sendable, Equatable, CustomStringConvertible {
  case ipc(path: String)
  /// `port` nil asks the system for a free one. An IPv6 address stands without its brackets.
  case tcp(host: String, port: UInt16?)

  /// The longest path of a Unix-domain socket: `sun_path` of unix(7) without its terminating zero.
  public static let longestSocketPath = 107

  /// Blanks around it and a slash behind it do not count; without a scheme it is `HOST:PORT` of TCP or the path of a socket.
  ///
  /// - Throws: `badConfiguration` for anything but a usable `ipc://` or `tcp://` address.
  public init(parsing text: String) throws(Failure) {
    let address = text.trimming(\.isWhitespace)  // defence: endpoint-blanks
    let scheme = address.firstRange(of: "://").map { address[..<$0.lowerBound].lowercased() }
    let rest = address.firstRange(of: "://").map { String(address[$0.upperBound...]) } ?? address
    switch scheme {
    case "ipc": try self.init(socketPath: rest)
    case nil where rest.hasPrefix("/"): try self.init(socketPath: rest)
    case "tcp", nil: try self.init(address: rest.hasSuffix("/") ? rest.dropLast() : rest[...], text)
    default: throw Self.failure(text, "\(scheme ?? "") is no scheme of it")
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
    // Not that of an IPv6 address in brackets.
    guard let colon = address.lastIndex(of: ":"), !address[colon...].contains("]") else {
      throw Self.failure(text, "the port is missing")
    }
    var host = address[..<colon]
    if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
    let digits = address[address.index(after: colon)...]
    if host.isEmpty { throw Self.failure(text, "the host is missing") }
    if let wrong = host.unicodeScalars.first(where: { !Self.isOfHost($0) }) {
      throw Self.failure(text, "a host has no \(wrong.codePointName)")
    }
    if digits == "*" {
      self = .tcp(host: String(host), port: nil)
    } else if let port = UInt16(digits), port > 0 {
      self = .tcp(host: String(host), port: port)
    } else {
      throw Self.failure(text, "a port is a number from 1 to 65535")
    }
  }

  /// Of a name, an address, or the interface behind a `%`.
  private static func isOfHost(_ scalar: Unicode.Scalar) -> Bool {
    scalar.isASCII
      && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil
        || "._-:%*".unicodeScalars.contains(scalar))
  }

  private static func failure(_ text: String, _ reason: String? = nil) -> Failure {
    let cause = reason.map { ": \($0)" } ?? ""  // defence: endpoint-reason
    return Failure(
      .badConfiguration,
      "an endpoint must be ipc:///path/of/a/socket or tcp://host:port, but is \"\(text.prefix(200))\"" + cause)
  }

  public var description: String {
    switch self {
    case .ipc(let path): "ipc://\(path)"
    case .tcp(let host, let port):
      "tcp://\(host.contains(":") ? "[\(host)]" : host):\(port.map(String.init) ?? "*")"
    }
  }

  /// Whether processes of other hosts can reach it. The address that a name stands for may change, so a name can: those that
  /// listen or connect resolve it first.
  public var isBeyondThisHost: Bool {
    if case .tcp(let host, _) = self { host != "localhost" && !HostAddress.isLoopback(host) } else { false }
  }

  /// Of TCP.
  package var host: String? { if case .tcp(let host, _) = self { host } else { nil } }

  private static let wildcards = ["*", "0.0.0.0", "::"]

  /// Whether a node listens at all addresses of its host; peers must be given one of them.
  var isWildcard: Bool {
    if case .tcp(let host, _) = self { Self.wildcards.contains(host) } else { false }
  }

  /// The numeric address to listen at for a host name or the name of an interface.
  ///
  /// - Throws: `badConfiguration` for a name that is neither, and for all addresses of a host with several, of which peers
  ///   must be given one.
  public func forListening() throws(Failure) -> Endpoint {
    guard case .tcp(let host, let port) = self else { return self }
    if isWildcard {
      _ = try HostInterfaces.ofThisHost.advertised(withIPv6: needsIPv6)
      return self
    }
    return .tcp(host: try HostInterfaces.ofThisHost.listening(as: host).description, port: port)  // defence: bind-names
  }

  private var loopback: String { needsIPv6 ? "::1" : "127.0.0.1" }

  /// Where this process reaches itself while it listens here, at `actual`.
  func own(_ actual: String) throws(Failure) -> String {
    guard isWildcard, case .tcp(_, let port) = try Endpoint(parsing: actual) else { return actual }
    return Endpoint.tcp(host: loopback, port: port).description
  }

  /// Where peers reach a node that listens here, at `actual`: the host's address in the place of all of them.
  ///
  /// - Throws: what `forListening` does.
  func advertised(as actual: String) throws(Failure) -> String {
    // defence: wildcards
    guard isWildcard, case .tcp(_, let port) = try Endpoint(parsing: actual) else { return actual }
    let host = try HostInterfaces.ofThisHost.advertised(withIPv6: needsIPv6)?.description ?? loopback
    return Endpoint.tcp(host: host, port: port).description
  }

  /// This endpoint as it can be connected to now. A name that stands for this host alone, or for several addresses, is
  /// replaced by an address: the first at which something listens. Any other name stays, so that libzmq looks it up again
  /// when the connection breaks. Nil where nothing listens at any of several addresses.
  ///
  /// - Throws: `unavailable` where the name has no address; what `requireProtection` does.
  func forConnecting(under security: ConnectionSecurity) throws(Failure) -> Endpoint? {
    guard case .tcp(let host, let port?) = self, !HostAddress.isLoopback(host) else { return self }
    let addresses: [HostAddress]
    do throws(Failure) {
      addresses = try HostAddress.resolve(host)
    } catch {
      try requireProtection(by: security)
      throw error
    }
    let isLocal = addresses.allSatisfy(\.isLoopback)
    if !isLocal { try requireProtection(by: security) }
    // defence: pinned-loopback
    guard addresses.count > 1 else { return isLocal ? .tcp(host: addresses[0].description, port: port) : self }
    let reachable = try HostAddress.reachable(host, port: port, milliseconds: 300)  // defence: several-addresses
    return reachable.map { .tcp(host: $0.description, port: port) }
  }

  /// Whether a socket must be told to use IPv6. It uses nothing else for a name then.
  var needsIPv6: Bool {
    guard case .tcp(let host, _) = self else { return false }
    if host.contains(":") || host.allSatisfy({ $0.isNumber || $0 == "." }) || host == "*" { return host.contains(":") }
    return (try? HostAddress.resolve(host))?.allSatisfy(\.isIPv6) ?? false
  }
}
