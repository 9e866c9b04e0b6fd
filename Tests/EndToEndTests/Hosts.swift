import Foundation
import TestSupport
import Testing

/// Two network namespaces and the cable between them, for the time of a test.
struct Hosts {
  enum Host: CaseIterable, Sendable { case first, second }

  static let firstAddress = "10.77.0.1"
  static let secondAddress = "10.77.0.2"
  private let name = "descent-\(ProcessInfo.processInfo.processIdentifier)-\(UUID().uuidString.prefix(4))"
  private let tool: String

  private static let tool = find("ip")
  private static let filter = find("nft")

  private static func find(_ name: String) -> String? {
    ["/usr/sbin/", "/sbin/", "/usr/bin/", "/bin/"].map { $0 + name }.first {
      FileManager.default.isExecutableFile(atPath: $0)
    }
  }

  /// Tried rather than guessed: a container may be root and have no right to it.
  static let canBeMade: Bool = {
    guard tool != nil else { return false }
    return (try? with { _, _ in }) != nil
  }()

  /// Whether packets between them can be dropped and slowed down: that takes nftables, and a kernel that has them.
  static let canBeDisturbed: Bool = {
    guard canBeMade, filter != nil else { return false }
    return
      (try? with { hosts, _ in
        try hosts.filter(.first, "numgen random mod 100 < 5 drop")
        try hosts.limit(.first, megabitsPerSecond: 10)
      }) != nil
  }()

  static func with(_ body: (Hosts, URL) throws -> Void) throws {
    let hosts = Hosts(tool: try #require(tool))
    try TemporaryDirectory.with { directory in
      defer { hosts.remove() }
      try hosts.make()
      try body(hosts, directory)
    }
  }

  /// Where the namespace of a host can be entered.
  func path(of host: Host) -> String { "/run/netns/\(namespace(host))" }

  private func namespace(_ host: Host) -> String { "\(name)-\(host)" }

  private func make() throws {
    // Names of links have at most 15 characters.
    let ends = Host.allCases.map(link)
    for host in Host.allCases { try ip(["netns", "add", namespace(host)]) }
    try ip([
      "link", "add", ends[0], "netns", namespace(.first), "type", "veth", "peer", "name", ends[1], "netns",
      namespace(.second),
    ])
    for (host, end, address) in [(Host.first, ends[0], Self.firstAddress), (.second, ends[1], Self.secondAddress)] {
      try ip(["-n", namespace(host), "address", "add", "\(address)/24", "dev", end])
      for link in [end, "lo"] { try ip(["-n", namespace(host), "link", "set", link, "up"]) }
    }
  }

  private func remove() {
    for host in [Host.first, .second] { try? ip(["netns", "delete", namespace(host)]) }
  }

  private func link(_ host: Host) -> String { "d\(name.suffix(4))\(host == .first ? "f" : "s")" }

  // MARK: Disturbances

  /// Pulls the cable out, or puts it in again.
  func setCable(plugged: Bool) throws {
    try ip(["-n", namespace(.first), "link", "set", link(.first), plugged ? "up" : "down"])
  }

  /// Does this to every packet that leaves the host by the cable: `drop`, `numgen random mod 100 < 5 drop`, or
  /// `meta l4proto tcp reject with tcp reset`. Until `unfilter`.
  func filter(_ host: Host, _ rule: String) throws {
    let chain = "add chain inet faults leaving { type filter hook output priority 0; }"
    try run(
      tool,
      ["netns", "exec", namespace(host), #require(Self.filter)]
        + ["add table inet faults; \(chain); add rule inet faults leaving oifname \(link(host)) \(rule)"])
  }

  func unfilter(_ host: Host) throws {
    try run(tool, ["netns", "exec", namespace(host), #require(Self.filter), "delete table inet faults"])
  }

  /// What leaves the host takes its time: beyond a queue of 64 kB, packets are lost.
  func limit(_ host: Host, megabitsPerSecond: Int) throws {
    try run(
      try #require(Self.find("tc")),
      [
        "-n", namespace(host), "qdisc", "add", "dev", link(host), "root", "tbf", "rate", "\(megabitsPerSecond)mbit",
        "burst", "16kb", "limit", "64kb",
      ])
  }

  func unlimit(_ host: Host) throws {
    try run(try #require(Self.find("tc")), ["-n", namespace(host), "qdisc", "delete", "dev", link(host), "root"])
  }

  /// The second host takes the first one's address for its own: whoever listens there can stand between the two.
  func giveAddressOfFirstToSecond() throws {
    try ip(["-n", namespace(.second), "address", "add", "\(Self.firstAddress)/32", "dev", "lo"])
  }

  private struct ToolFailed: Error { let arguments: [String] }

  private func ip(_ arguments: [String]) throws { try run(tool, arguments) }

  private func run(_ tool: String, _ arguments: [String]) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: tool)
    process.arguments = arguments
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw ToolFailed(arguments: arguments) }
  }

  /// Starts a program on one of the hosts.
  func start(_ host: Host, program: String = "descent", _ arguments: [String]) throws -> Program.Running {
    let path = Program.directory.appendingPathComponent(program).path
    return try Program.Running(
      at: URL(fileURLWithPath: tool), ["netns", "exec", namespace(host), path] + arguments, environment: [:])
  }
}
