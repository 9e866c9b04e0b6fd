import Foundation
import Intruders
import TestSupport
import Testing

/// How a host is cut off from the other.
enum Cut: String, CaseIterable, Sendable {
  case cable = "the cable is out"
  case arriving = "nothing arrives there"
  case leaving = "nothing comes from there"

  func make(_ hosts: Hosts) throws {
    switch self {
    case .cable: try hosts.setCable(plugged: false)
    case .arriving: try hosts.filter(.first, "drop")
    case .leaving: try hosts.filter(.second, "drop")
    }
  }

  func mend(_ hosts: Hosts) throws {
    switch self {
    case .cable: try hosts.setCable(plugged: true)
    case .arriving: try hosts.unfilter(.first)
    case .leaving: try hosts.unfilter(.second)
    }
  }
}

/// What a cable does to what goes through it, for a while.
enum BadCable: String, CaseIterable, Sendable {
  case out = "the cable is out for 0.6 of a lease of 2 s"
  case resets = "connections are reset, five times"
  case loss = "5 % of the packets are lost, both ways, for 2 s"
  case slow = "10 Mbit/s and a queue of 64 kB, for 3 s"

  func disturb(_ hosts: Hosts) throws {
    switch self {
    case .out:
      try hosts.setCable(plugged: false)
      usleep(1_200_000)
      try hosts.setCable(plugged: true)
    case .resets:
      for _ in 0..<5 {
        try hosts.filter(.first, "meta l4proto tcp reject with tcp reset")
        usleep(50_000)
        try hosts.unfilter(.first)
        usleep(300_000)
      }
    case .loss:
      for host in Hosts.Host.allCases { try hosts.filter(host, "numgen random mod 100 < 5 drop") }
      usleep(2_000_000)
      for host in Hosts.Host.allCases { try hosts.unfilter(host) }
    case .slow:
      for host in Hosts.Host.allCases { try hosts.limit(host, megabitsPerSecond: 10) }
      usleep(3_000_000)
      for host in Hosts.Host.allCases { try hosts.unlimit(host) }
    }
  }
}

/// What a proxy does to the connections of a worker.
enum BadProxy: String, CaseIterable, Sendable {
  case delays = "it holds each chunk back for 0 to 20 ms"
  case halves = "it closes connections in the middle of a frame"
  case resets = "it resets connections in the middle of a frame"
  case reorders = "it holds each connection back for a time of its own, up to 300 ms, and cuts some"

  var behaviour: FaultProxy.Behaviour {
    var behaviour = FaultProxy.Behaviour()
    switch self {
    case .delays: behaviour.delay = 0...20
    case .halves, .resets:
      behaviour.bytesUntilCut = 2_000...3_000_000
      behaviour.resets = self == .resets
      behaviour.cutLimit = 6
    case .reorders:
      behaviour.skew = 0...300
      behaviour.bytesUntilCut = 100_000...1_000_000
      behaviour.cutLimit = 4
    }
    return behaviour
  }

  func hasDoneEnough(_ counters: FaultProxy.Counters) -> Bool {
    switch self {
    case .delays: counters.delayedChunks >= 300
    case .halves, .resets: counters.cuts >= 6
    case .reorders: counters.cuts >= 4
    }
  }
}

/// A run with keys between two hosts, its coordinator on the first.
struct KeyedCluster {
  let hosts: Hosts
  let run: URL
  private let keys: URL
  private let settings: [String: String]

  init(_ hosts: Hosts, in directory: URL, _ settings: [String: String]) throws {
    self.hosts = hosts
    self.settings = settings
    run = directory.appendingPathComponent("run")
    keys = directory.appendingPathComponent("keys")
    try Program.run(
      "descent",
      ["keygen", "--output", keys.path, "--names", "coordinator,server,worker-0,worker-1,observer"])
    // The other host has files of its own: a key that is in use on one host is not for a second process there.
    try FileManager.default.copyItem(at: keys, to: directory.appendingPathComponent("keys-second"))
  }

  private func arguments(workers: Int) throws -> [String] {
    try Training(workers: workers, settings.merging(["keys": keys.path]) { $1 }).arguments(in: run)
  }

  /// `descent train` on the first host.
  func train(workers: Int) throws -> Program.Running { try hosts.start(.first, arguments(workers: workers)) }

  /// The coordinator alone.
  func coordinate(workers: Int) throws -> Program.Running {
    try hosts.start(
      .first, program: "descent-coordinator",
      arguments(workers: workers).filter { !["train", "--json"].contains($0) })
  }

  /// A server or worker, which finds the coordinator by its address.
  func start(_ host: Hosts.Host, _ role: String) throws
    -> Program.Running
  {
    var flags = [
      "--coordinator", "tcp://\(Hosts.firstAddress):5555", "--keys", keys.path + (host == .first ? "" : "-second"),
    ]
    for name in ["lease-seconds", "heartbeat-seconds", "rendezvous-seconds"] {
      flags += try ["--\(name)", #require(settings[name])]
    }
    // Nor does it know which keys are in use on the first one.
    if host == .second, role == "worker" { flags += ["--key", "worker-1"] }
    if role == "server" { flags += ["--bind", host == .first ? Hosts.firstAddress : Hosts.secondAddress] }
    if role == "worker" { flags += ["--data", try SharedData.directory.get()] }
    return try hosts.start(host, program: "descent-\(role)", flags)
  }

  /// Of the weights that the run came to.
  var hash: String {
    get throws {
      let data = try Data(contentsOf: run.appendingPathComponent("result.json"))
      let object = try JSONSerialization.jsonObject(with: data) as? [String: Any]
      return try #require(object?["weights_sha256"] as? String)
    }
  }

  /// Nil until the coordinator answers.
  func status() throws -> RunStatus? {
    let output = try hosts.start(
      .first,
      ["status", "--run-dir", run.path, "--keys", keys.path, "--rendezvous-seconds", "1", "--timeout", "1"]
    ).wait()
    return output.status == 0 ? RunStatus(text: output.standardOutput) : nil
  }

  func reaching(step: Int, workers: Int) throws -> RunStatus {
    var found: RunStatus?
    try waitUntil("step \(step) with \(workers) workers", seconds: 20) {
      found = try status()
      return found.map { $0.step >= step && $0.workers.count == workers } ?? false
    }
    return try #require(found)
  }
}
