import Diagnostics
import Glibc

/// The network interfaces of a host with their addresses, and what its resolver says: all that the choice of an address
/// depends on.
package struct HostInterfaces: Sendable {
  package typealias Resolver = @Sendable (String) throws(Failure) -> [HostAddress]

  /// Those that are up, in the system's order.
  let all: [(name: String, address: HostAddress)]
  /// The addresses of a host name or numeric address.
  let resolve: Resolver

  package init(_ all: [(name: String, address: HostAddress)], resolve: @escaping Resolver) {
    (self.all, self.resolve) = (all, resolve)
  }

  /// Of this host, now.
  package static var ofThisHost: HostInterfaces {
    HostInterfaces(HostAddress.interfaces) { (host) throws(Failure) in try HostAddress.resolve(host) }
  }

  /// "This host has 10.0.0.1 (eth0), fe80::1%eth0 (eth0), 127.0.0.1 (lo)".
  var choices: String {
    // defence: address-choices
    "This host has " + all.map { "\($0.address) (\($0.name))" }.joined(separator: ", ")
  }

  /// The address of an interface; nil for a name that is none.
  func address(ofInterface name: String) -> HostAddress? {
    let own = all.filter { $0.name == name }.map(\.address)
    return own.first { !$0.isLinkLocal && !$0.isIPv6 } ?? own.first { !$0.isLinkLocal } ?? own.first
  }

  /// Where to listen as `host`: the address of the interface of that name, or that of the host name that this host has.
  ///
  /// - Throws: `badConfiguration` for a name that is neither.
  func listening(as host: String) throws(Failure) -> HostAddress {
    if let address = address(ofInterface: host) { return address }
    do throws(Failure) {
      let addresses = try resolve(host)
      let here = addresses.first { address in address.isLoopback || all.contains { $0.address == address } }
      if let address = here ?? addresses.first { return address }
      throw Failure(.unavailable, "the host \(host) has no address")
    } catch {
      throw Failure(.badConfiguration, "cannot listen on \(host): \(error.message)", remedy: choices)
    }
  }

  /// By which others can reach processes of this host.
  private var reachable: [HostAddress] { all.map(\.address).filter { !$0.isLoopback && !$0.isLinkLocal } }

  /// By which others reach a process of this host that listens on all addresses, if there is no choice.
  ///
  /// - Parameter withIPv6: whether it listens on those of IPv6 as well.
  /// - Throws: `badConfiguration` if there are several.
  func advertised(withIPv6: Bool) throws(Failure) -> HostAddress? {
    let (older, newer) = (reachable.filter { !$0.isIPv6 }, reachable.filter { withIPv6 && $0.isIPv6 })
    let candidates = older.isEmpty ? newer : older
    guard candidates.count <= 1 else {
      throw Failure(
        .badConfiguration, "cannot listen on all addresses: peers must be given one, and this host has several",
        remedy: choices + ". Name one with --bind or --advertise")
    }
    return candidates.first
  }

  /// The address of this host that the hosts of a job reach it by: the first of `names`, host names and addresses in the
  /// order of trust, that is one of this host's beyond loopback; otherwise the only such address that it has.
  ///
  /// - Throws: `badConfiguration` where neither decides.
  package func addressForOthers(_ names: [String]) throws(Failure) -> String {
    for name in names {
      let found = (try? resolve(name))?.first { reachable.contains($0) }
      if let found { return found.description }
    }
    let older = reachable.filter { !$0.isIPv6 }
    let candidates = older.isEmpty ? reachable : older
    guard candidates.count == 1 else {
      let found = candidates.isEmpty ? "no address that others can reach" : "several addresses"
      throw Failure(
        .badConfiguration, "cannot tell which address the other hosts reach this one by: it has \(found)",
        remedy: choices + ". Name an address or an interface with --bind")
    }
    return candidates[0].description
  }
}

/// Where a node listens on TCP, and what its peers connect to. Decided once, before anything is created.
package struct NodeAddress: Sendable, Equatable {
  /// A numeric address, or all addresses.
  package let listening: Endpoint
  /// The host that peers are given: a name stays one, so that each host looks it up itself. Nil for that of `listening`, or
  /// the only one of this host.
  package let advertised: String?

  /// - Parameters:
  ///   - bind: an address, a host name or an interface of this host, or all addresses.
  ///   - advertise: what the others connect to, an address, a host name or an interface of this host; nil for where the node
  ///     listens.
  ///   - security: with keys, or where it is insisted on, the run is meant to span hosts unless `bind` is loopback.
  /// - Throws: `badConfiguration` for names without an address, and for addresses that others cannot reach.
  package init(
    bind: String, advertise: String?, port: UInt16?, security: ConnectionSecurity,
    interfaces: HostInterfaces = .ofThisHost
  ) throws(Failure) {
    let named = Endpoint.tcp(host: bind, port: port)
    var listening = named
    var host: HostAddress?
    if !named.isWildcard {
      let address = try interfaces.listening(as: bind)
      listening = .tcp(host: address.description, port: port)
      host = address
    } else if advertise == nil {
      host = try interfaces.advertised(withIPv6: named.needsIPv6)
    }
    try listening.requireProtection(by: security)
    self.listening = listening
    guard let advertise else {
      advertised = nil
      let isMeantForOthers = named.isBeyondThisHost && interfaces.address(ofInterface: bind) == nil
      guard isMeantForOthers, security.allowsOtherHosts, host?.isLoopback ?? true else { return }
      let found = host.map { "\(bind) is \($0) on this host" } ?? "this host has no other address than loopback"
      throw Self.unreachable("cannot tell others where to connect: \(found)", interfaces)
    }
    let isLoopback: Bool
    if let address = interfaces.address(ofInterface: advertise) {
      (advertised, isLoopback) = (address.description, address.isLoopback)
    } else {
      do throws(Failure) {
        isLoopback = try interfaces.resolve(advertise).allSatisfy(\.isLoopback)
      } catch {
        throw Failure(.badConfiguration, "cannot advertise \(advertise): \(error.message)", remedy: interfaces.choices)
      }
      advertised = advertise
    }
    if !isLoopback, host?.isLoopback == true {
      throw Failure(
        .badConfiguration, "others cannot connect to --advertise \(advertise): \(bind) is \(listening) on this host",
        remedy: interfaces.choices + ". Name an address, an interface or * with --bind")
    }
    if isLoopback, security.allowsOtherHosts, host?.isLoopback != true {
      throw Self.unreachable("others cannot connect to --advertise \(advertise), which is loopback here", interfaces)
    }
  }

  private static func unreachable(_ problem: String, _ interfaces: HostInterfaces) -> Failure {
    Failure(
      .badConfiguration, problem,
      remedy: interfaces.choices + ". Pass the one that the other hosts reach: --bind ADDRESS, or --bind '*' "
        + "--advertise ADDRESS")
  }
}

extension ConnectionSecurity {
  /// Whether connections from other hosts are accepted.
  var allowsOtherHosts: Bool {
    switch self {
    case .plaintext(let beyondThisHost): beyondThisHost
    case .keys: true
    }
  }
}
