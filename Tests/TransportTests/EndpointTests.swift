import Diagnostics
import Glibc
import Messaging
import TestSupport
import Testing
import Transport

@Suite struct EndpointTests {
  @Test(arguments: [
    "ipc:///run/user/1000/descent-x/server", "tcp://127.0.0.1:5555", "tcp://127.0.0.1:*", "tcp://[::1]:5555",
  ])
  func `reads back as it was written`(text: String) throws {
    #expect(try Endpoint(parsing: text).description == text)
  }

  @Test(arguments: [
    "", "ipc://", "tcp://", "tcp://host", "tcp://:5555", "tcp://host:0", "tcp://host:65536", "udp://h:1",
  ])
  func `refuses what is no address`(text: String) {
    #expect { try Endpoint(parsing: text) } throws: { ($0 as? Failure)?.status == .badConfiguration }
  }

  @Test func `refuses a socket path that the kernel would cut off`() throws {
    let longest = "/" + String(repeating: "x", count: 106)
    #expect(try Endpoint(socketPath: longest) == .ipc(path: longest))
    #expect { try Endpoint(socketPath: longest + "x") } throws: { error in
      guard let failure = error as? Failure else { return false }
      return failure.status == .badConfiguration && failure.message.hasSuffix("at most 107 bytes, but has 108")
    }
  }

  // MARK: Addresses as people write them

  @Test(arguments: [
    ("127.0.0.1:5555", "tcp://127.0.0.1:5555"), ("TCP://localhost:5555", "tcp://localhost:5555"),
    (" tcp://127.0.0.1:5555\n", "tcp://127.0.0.1:5555"), ("tcp://host.example.:5555/", "tcp://host.example.:5555"),
    ("/run/descent/coordinator", "ipc:///run/descent/coordinator"), ("[fd00::1]:5555", "tcp://[fd00::1]:5555"),
    ("tcp://[fe80::1%eth0]:5555", "tcp://[fe80::1%eth0]:5555"), ("tcp://descent_server:1", "tcp://descent_server:1"),
    ("ipc:///tmp/a b", "ipc:///tmp/a b"),
  ])
  func `an address as people write it: read`(_ text: String, _ meant: String) throws {
    #expect(try Endpoint(parsing: text).description == meant)
    try Evidence.add(.addresses, text.trimming(\.isWhitespace), observed: meant)
  }

  @Test(arguments: [
    ("tcp://10.0.0.1", "the port is missing"), ("localhost", "the port is missing"),
    ("tcp://[::1]", "the port is missing"), ("tcp://host:0", "a port is a number from 1 to 65535"),
    ("tcp://host:65536", "a port is a number from 1 to 65535"), ("tcp://host:http", "a port is a number"),
    ("http://host:5555", "http is no scheme of it"), ("tcp://:5555", "the host is missing"),
    ("tcp://my host:5555", "a host has no U+0020 SPACE"), ("tcp://me@host:5555", "a host has no U+0040 COMMERCIAL AT"),
    ("tcp://host\u{A0}:5555", "a host has no U+00A0 NO-BREAK SPACE"),
  ])
  func `an address that is none: refused with the reason`(_ text: String, _ reason: String) throws {
    let failure = #expect(throws: Failure.self) { try Endpoint(parsing: text) }
    #expect(failure?.status == .badConfiguration)
    #expect(failure?.message.contains(": \(reason)") == true, "\(failure?.message ?? "")")
    try Evidence.add(.addresses, text, observed: reason)
  }

  // MARK: Names

  private func listens(as host: String) throws -> String {
    let node = NodeTransport(role: .server, incarnation: Incarnation(1), context: try MessagingContext())
    defer { node.close() }
    let endpoint = try node.listen(at: .tcp(host: host, port: nil))
    #expect(!node.isExposed)
    guard case .tcp(let address, _) = try Endpoint(parsing: endpoint) else { return endpoint }
    return address
  }

  @Test(arguments: [
    ("localhost", ["127.0.0.1", "::1"]), ("localhost.", ["127.0.0.1", "::1"]), ("lo", ["127.0.0.1", "::1"]),
    ("127.0.0.1", ["127.0.0.1"]), ("127.0.1.1", ["127.0.1.1"]), ("127.1", ["127.0.0.1"]),
  ])
  func `a node listens as a name of loopback: no keys are needed, and peers are given the address`(
    _ host: String, _ addresses: [String]
  ) throws {
    let address = try listens(as: host)
    #expect(addresses.contains(address))
    try Evidence.add(.addresses, host, observed: "listens at \(address)")
  }

  @Test(arguments: ["no-such-host.invalid", "no-such-interface0", "192.0.2.77"])
  func `a node listens as what this host is not: refused, with the addresses that it has`(_ host: String) throws {
    let context = try MessagingContext(security: .plaintext(beyondThisHost: true))
    let node = NodeTransport(role: .server, incarnation: Incarnation(1), context: context)
    let failure = #expect(throws: Failure.self) { try node.listen(at: .tcp(host: host, port: nil)) }
    #expect(failure?.message.contains(host) == true)
    #expect(failure?.remedy?.hasPrefix("This host has ") == true, "\(failure?.description ?? "")")
    #expect(failure?.remedy?.contains("127.0.0.1 (lo)") == true)
    try Evidence.add(.addresses, host, observed: failure?.message ?? "")
  }

  @Test func `a name of loopback without keys: connected to by its address`() throws {
    let listener = NodeTransport(role: .server, incarnation: Incarnation(1), context: try MessagingContext())
    defer { listener.close() }
    let actual = try Endpoint(parsing: try listener.listen(at: .tcp(host: "localhost", port: nil)))
    guard case .tcp(let address, let port) = actual else { return }
    let node = NodeTransport(role: .worker, incarnation: Incarnation(2), context: try MessagingContext())
    let found = try node.reachable(.tcp(host: "localhost", port: port))
    #expect(found == .tcp(host: address, port: port))
    try Evidence.add(.addresses, observed: "localhost is \(address)")
  }
}
