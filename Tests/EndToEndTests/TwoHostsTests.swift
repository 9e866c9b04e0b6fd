import Foundation
import Testing

/// A run on two hosts: network namespaces, with nothing between them but a cable.
@Suite("Two hosts", .serialized, .enabled(if: Hosts.canBeMade, "network namespaces take root and iproute2"))
struct TwoHostsTests {
  @Test("a worker on another host takes part by its key, and the bits stay the same")
  func keyed() throws {
    try Hosts.with { hosts, directory in
      let keys = directory.appendingPathComponent("keys")
      let away = directory.appendingPathComponent("away")
      let run = directory.appendingPathComponent("run")
      try Program.run(
        "descent", ["keygen", "--output", keys.path, "--names", "coordinator,server,worker-0,worker-1,observer"])
      try FileManager.default.createDirectory(at: away, withIntermediateDirectories: true)
      for name in ["allow-list", "worker-1.key", "observer.key"] {
        try FileManager.default.copyItem(at: keys.appendingPathComponent(name), to: away.appendingPathComponent(name))
      }
      let training = try hosts.start(
        .first,
        Training(
          workers: 1,
          FaultTests.long.merging([
            "transport": "tcp", "bind": Hosts.firstAddress, "port": "5555", "keys": keys.path,
          ]) { $1 }
        ).arguments(in: run))
      let data = try SharedData.directory.get()
      let location = ["--coordinator", "tcp://\(Hosts.firstAddress):5555", "--keys", away.path]
      let worker = try hosts.start(.second, program: "descent-worker", location + ["--data", data])
      try waitUntil("both workers take part") {
        let status = try hosts.start(.second, ["status"] + location).wait()
        return status.standardOutput.components(separatedBy: "worker ").count > 2
      }
      let output = try training.wait().expect(0)
      #expect(try TrainingResult(output).hash == FaultTests.undisturbed.get())
      #expect(try worker.wait().status == 0)
    }
  }

  @Test("without keys nobody talks between hosts, unless somebody insists and is told so")
  func exposed() throws {
    try Hosts.with { hosts, directory in
      let run = directory.appendingPathComponent("run")
      let insists = "--insecure-plaintext-beyond-this-host"
      let arguments = try Training(workers: 1, ["transport": "tcp", "bind": Hosts.firstAddress]).arguments(in: run)
      try hosts.start(.first, arguments).wait().expect(78)
      let output = try hosts.start(.first, arguments + [insists]).wait().expect(0)
      #expect(output.standardError.contains("without keys"), "\(output.standardError)")
      #expect(try TrainingResult(output).hash == Training(workers: 0).result().hash)
    }
  }
}

/// Two network namespaces and the cable between them, for the time of a test.
private struct Hosts {
  enum Host { case first, second }

  static let firstAddress = "10.77.0.1"
  private static let secondAddress = "10.77.0.2"
  private let name = "descent-\(ProcessInfo.processInfo.processIdentifier)-\(UUID().uuidString.prefix(4))"
  private let tool: String

  private static let tool = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"].first {
    FileManager.default.isExecutableFile(atPath: $0)
  }

  /// Tried rather than guessed: a container may be root and have no right to it.
  static let canBeMade: Bool = {
    guard tool != nil else { return false }
    return (try? with { _, _ in }) != nil
  }()

  static func with(_ body: (Hosts, URL) throws -> Void) throws {
    let hosts = Hosts(tool: try #require(tool))
    try TemporaryDirectory.with { directory in
      defer { hosts.remove() }
      try hosts.make()
      try body(hosts, directory)
    }
  }

  private func namespace(_ host: Host) -> String { "\(name)-\(host)" }

  private func make() throws {
    // Names of links have at most 15 characters.
    let ends = ["first", "second"].map { "d\(name.suffix(4))\($0.prefix(1))" }
    for host in [Host.first, .second] { try ip(["netns", "add", namespace(host)]) }
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

  private struct ToolFailed: Error { let arguments: [String] }

  private func ip(_ arguments: [String]) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: tool)
    process.arguments = arguments
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
