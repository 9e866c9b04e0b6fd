import Diagnostics
import Testing
import Transport

/// Which address a node listens at and which one it tells others, on hosts that are made up.
@Suite struct NodeAddressTests {
  private static let names: [String: [String]] = [
    "node1": ["127.0.1.1"], "node1.cluster": ["10.0.0.1"], "service": ["10.96.0.7"], "localhost": ["127.0.0.1", "::1"],
  ]

  /// As Debian sets it up: /etc/hosts has 127.0.1.1 for the name of the host.
  private static func host(_ addresses: [(String, String)]) -> HostInterfaces {
    HostInterfaces(addresses.map { ($0.0, HostAddress($0.1)) }) { (name) throws(Failure) in
      let isNumeric = name.allSatisfy { $0.isNumber || $0 == "." } || name.contains(":")
      guard let found = names[name] ?? (isNumeric ? [name] : nil) else {
        throw Failure(.unavailable, "cannot find the address of the host \(name)")
      }
      return found.map { HostAddress($0) }
    }
  }

  private static let debian = host([("lo", "127.0.0.1"), ("eth0", "10.0.0.1"), ("lo", "::1"), ("eth0", "fe80::1%eth0")])
  private static let two = host([("lo", "127.0.0.1"), ("eth0", "10.0.0.1"), ("ib0", "192.168.5.1")])
  private static let lonely = host([("lo", "127.0.0.1")])
  private static let open = ConnectionSecurity.plaintext(beyondThisHost: true)
  private static let closed = ConnectionSecurity.plaintext(beyondThisHost: false)

  private func decided(
    _ bind: String, _ advertise: String? = nil, on host: HostInterfaces = debian, _ security: ConnectionSecurity = open
  ) throws -> String {
    let address = try NodeAddress(bind: bind, advertise: advertise, port: 5555, security: security, interfaces: host)
    return "\(address.listening) \(address.advertised ?? "-")"
  }

  @Test(
    arguments: [
      ("10.0.0.1", nil, "tcp://10.0.0.1:5555 -"), ("eth0", nil, "tcp://10.0.0.1:5555 -"),
      ("node1.cluster", nil, "tcp://10.0.0.1:5555 -"), ("*", nil, "tcp://*:5555 -"),
      ("*", "eth0", "tcp://*:5555 10.0.0.1"), ("0.0.0.0", "node1.cluster", "tcp://0.0.0.0:5555 node1.cluster"),
      ("eth0", "service", "tcp://10.0.0.1:5555 service"),
      ("10.0.0.1", "203.0.113.9", "tcp://10.0.0.1:5555 203.0.113.9"),
      ("127.0.0.1", nil, "tcp://127.0.0.1:5555 -"), ("lo", nil, "tcp://127.0.0.1:5555 -"),
      ("localhost", nil, "tcp://127.0.0.1:5555 -"), ("127.0.0.1", "127.0.0.1", "tcp://127.0.0.1:5555 127.0.0.1"),
    ] as [(String, String?, String)])
  func `an address, a host name and an interface: what is listened at, and what others are told`(
    _ bind: String, _ advertise: String?, _ expected: String
  ) throws {
    #expect(try decided(bind, advertise) == expected)
  }

  @Test func `without keys the name of the host may be loopback, since no other host can connect`() throws {
    #expect(try decided("node1", Self.closed) == "tcp://127.0.1.1:5555 -")
  }

  private func decided(_ bind: String, _ security: ConnectionSecurity) throws -> String {
    try decided(bind, nil, on: Self.debian, security)
  }

  @Test(
    arguments: [("node1", nil), ("*", "node1"), ("eth0", "127.0.0.1"), ("eth0", "lo"), ("10.0.0.1", "localhost")]
      as [(String, String?)])
  func `others would be told loopback: 78, with the addresses of the host and what to pass`(
    _ bind: String, _ advertise: String?
  ) throws {
    let failure = #expect(throws: Failure.self) { try decided(bind, advertise) }
    #expect(failure?.status == .badConfiguration)
    let remedy = failure?.remedy ?? ""
    #expect(remedy.contains("10.0.0.1 (eth0)") && remedy.contains("--advertise"), "\(remedy)")
  }

  @Test func `a host with nothing but loopback tells others nothing`() throws {
    let failure = #expect(throws: Failure.self) { try decided("*", on: Self.lonely) }
    #expect(failure?.message.contains("no other address than loopback") == true, "\(failure?.message ?? "")")
  }

  @Test(arguments: [("127.0.0.1", "10.0.0.1"), ("lo", "service"), ("node1", "eth0")])
  func `what listens on loopback cannot be told as another address`(_ bind: String, _ advertise: String) throws {
    let failure = #expect(throws: Failure.self) { try decided(bind, advertise) }
    #expect(failure?.status == .badConfiguration && failure?.remedy?.contains("--bind") == true)
  }

  @Test func `all addresses of a host with several need one to tell others`() throws {
    let failure = #expect(throws: Failure.self) { try decided("*", on: Self.two) }
    #expect(failure?.remedy?.contains("192.168.5.1 (ib0). Name one with --bind or --advertise") == true)
    #expect(try decided("*", "ib0", on: Self.two) == "tcp://*:5555 192.168.5.1")
  }

  @Test(arguments: ["no-such-name", "eth7"])
  func `a name without an address is refused, with the addresses of the host`(_ name: String) throws {
    for (bind, advertise) in [(name, nil), ("eth0", name)] as [(String, String?)] {
      let failure = #expect(throws: Failure.self) { try decided(bind, advertise) }
      #expect(failure?.status == .badConfiguration && failure?.message.contains(name) == true)
      #expect(failure?.remedy?.contains("10.0.0.1 (eth0)") == true)
    }
  }

  // MARK: Without a choice of the user

  @Test func `the address that a scheduler knows the host by, if it is one of its own`() throws {
    #expect(try Self.two.addressForOthers(["192.168.5.1", "node1"]) == "192.168.5.1")
    #expect(try Self.debian.addressForOthers(["10.9.9.9", "node1"]) == "10.0.0.1")
    #expect(try Self.two.addressForOthers(["node1", "node1.cluster"]) == "10.0.0.1")
  }

  @Test func `several addresses and no name for one of them: refused, with their list`() throws {
    let failure = #expect(throws: Failure.self) { try Self.two.addressForOthers(["node1", "no-such-name"]) }
    #expect(failure?.status == .badConfiguration)
    #expect(failure?.remedy?.contains("10.0.0.1 (eth0), 192.168.5.1 (ib0)") == true, "\(failure?.remedy ?? "")")
  }
}
