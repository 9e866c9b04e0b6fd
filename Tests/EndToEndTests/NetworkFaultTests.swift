import Foundation
import Intruders
import TestSupport
import Testing

/// Promises 1 to 3 on a network that fails. Coordinator and one worker are on the first host, another worker or the
/// server on the second.
@Suite(
  "The network", .serialized,
  .enabled(if: Hosts.canBeDisturbed, "network namespaces with packet filters take root, iproute2 and nftables"))
struct NetworkFaultTests {
  private static let settings = [
    "max-steps": "4000", "evaluate-every": "500", "checkpoint-every": "500", "transport": "tcp", "port": "5555",
    "bind": Hosts.firstAddress, "lease-seconds": "1", "heartbeat-seconds": "0.2", "rendezvous-seconds": "12",
  ]
  /// Where nobody has to be told after the fault, fewer steps will do; and with the default lease nobody is evicted.
  private static let shorter = settings.merging(["lease-seconds": "2", "max-steps": "2500"]) { $1 }

  private static let undisturbed = hash(of: settings)
  private static let undisturbedShorter = hash(of: shorter)

  private static func hash(of settings: [String: String]) -> Result<String, any Error> {
    Result {
      try Training(workers: 0, settings.filter { !["transport", "port", "bind"].contains($0.key) }).result().hash
    }
  }

  @Test(arguments: Enumeration.isComplete ? Cut.allCases : [.cable])
  func `a worker's host is cut off beyond its lease: its shards go to others and it ends with 79`(cut: Cut) throws {
    try Hosts.with { hosts, directory in
      let cluster = try KeyedCluster(hosts, in: directory, Self.settings)
      let training = try cluster.train(workers: 1)
      let worker = try cluster.start(.second, "worker")
      let before = try cluster.reaching(step: 100, workers: 2)
      let began = Date()
      try cut.make(hosts)
      let after = try cluster.reaching(step: before.step + 1, workers: 1)
      let seconds = Date().timeIntervalSince(began)
      #expect(seconds < 4)
      try cut.mend(hosts)
      let status = try worker.wait(seconds: 30).status
      #expect(status == 79)
      let output = try training.wait().expect(0)
      #expect(try TrainingResult(output).hash == Self.undisturbed.get())
      #expect(output.standardError.contains(/worker-\d+@\S+ \(pid \d+\) lost at step \d+: no heartbeat for/))
      try Leftovers.expectNone(of: cluster.run)
      try Evidence.add(
        .network, "\(cut.rawValue), lease 1 s",
        observed: "step \(after.step) with \(after.workers.count) worker, it ended with \(status), weights equal",
        recovery: [seconds])
    }
  }

  @Test(arguments: Enumeration.isComplete ? Cut.allCases : [.cable])
  func `the server's host is cut off beyond its lease: noticed within 3 s, another server takes over`(cut: Cut) throws {
    try Hosts.with { hosts, directory in
      let cluster = try KeyedCluster(hosts, in: directory, Self.settings)
      let coordinator = try cluster.coordinate(workers: 1)
      let server = try cluster.start(.second, "server")
      let worker = try cluster.start(.first, "worker")
      _ = try cluster.reaching(step: 600, workers: 1)
      try cut.make(hosts)
      let began = Date()
      try waitUntil("the server is missed") { coordinator.standardError.contains("waiting for another one") }
      let detection = Date().timeIntervalSince(began)
      #expect(detection < 3)
      let step = try #require(try cluster.status()?.step)
      let spare = try cluster.start(.first, "server")
      _ = try cluster.reaching(step: step + 1, workers: 1)
      let seconds = Date().timeIntervalSince(began)
      try cut.mend(hosts)
      // Its key is another's now, so nobody listens to it; but it is told.
      let status = try server.wait(seconds: 30).status
      #expect(status == 79)
      try coordinator.wait().expect(0)
      for process in [spare, worker] { try process.wait().expect(0) }
      #expect(try cluster.hash == Self.undisturbed.get())
      try Leftovers.expectNone(of: cluster.run)
      try Evidence.add(
        .network, "\(cut.rawValue), lease 1 s",
        observed:
          "noticed after \(String(format: "%.2f", detection)) s, the old one ended with \(status), weights equal",
        recovery: [seconds])
    }
  }

  @Test(
    .enabled(if: Enumeration.isComplete, "takes half a minute: Scripts/faults.sh runs it"), arguments: BadCable.allCases
  )
  func `a bad cable between two hosts: no worker is evicted and no bit changes`(cable: BadCable) throws {
    try Hosts.with { hosts, directory in
      let cluster = try KeyedCluster(hosts, in: directory, Self.shorter)
      let training = try cluster.train(workers: 1)
      let worker = try cluster.start(.second, "worker")
      _ = try cluster.reaching(step: 100, workers: 2)
      try cable.disturb(hosts)
      let mended = Date()
      let step = try #require(try cluster.status()?.step)
      let after = try cluster.reaching(step: step + 1, workers: 2)
      let seconds = Date().timeIntervalSince(mended)
      #expect(after.step < 2500, "the run was over before the fault was")
      let output = try training.wait().expect(0)
      try worker.wait().expect(0)
      #expect(try TrainingResult(output).hash == Self.undisturbedShorter.get())
      #expect(!output.standardError.contains("reassigning shards"))
      try Leftovers.expectNone(of: cluster.run)
      try Evidence.add(
        .network, cable.rawValue,
        observed: "step \(after.step) with \(after.workers.count) workers afterwards, weights equal",
        recovery: [seconds])
    }
  }

  /// 123 kB of weights take 50 ms on such a cable, and a step of the other worker takes less than one.
  @Test func `a worker behind 20 Mbit/s: the other one takes over what it is late with, and no bit changes`() throws {
    try Hosts.with { hosts, directory in
      let cluster = try KeyedCluster(hosts, in: directory, Self.shorter)
      for host in Hosts.Host.allCases { try hosts.limit(host, megabitsPerSecond: 20) }
      let training = try cluster.train(workers: 1)
      let worker = try cluster.start(.second, "worker")
      _ = try cluster.reaching(step: 100, workers: 2)
      let result = try TrainingResult(training.wait().expect(0))
      try worker.wait().expect(0)
      #expect(try result.hash == Self.undisturbedShorter.get())
      let taken = try #require(result.object["taken_over_shards"] as? Int)
      #expect(taken > 0)
      #expect(try RunLog(of: cluster.run, role: "coordinator").messages("worker_evicted").isEmpty)
      try Leftovers.expectNone(of: cluster.run)
      try Evidence.add(.network, observed: "\(taken) shards taken over in 2,500 steps, weights equal")
    }
  }

  @Test(arguments: Enumeration.isComplete ? BadProxy.allCases : [.resets])
  func `a proxy delays, cuts, resets and reorders: the worker stays and no bit changes`(kind: BadProxy) throws {
    try Hosts.with { hosts, directory in
      let cluster = try KeyedCluster(hosts, in: directory, Self.shorter)
      // The only worker: another one would take its shards over.
      let coordinator = try cluster.coordinate(workers: 1)
      let server = try cluster.start(.first, "server")
      var port: UInt16?
      try waitUntil("the server listens") {
        port = try cluster.status()?.serverPort
        return port != nil
      }
      let endpoint = try #require(port)
      try hosts.giveAddressOfFirstToSecond()
      let proxy = try #require(
        FaultProxy(
          address: Hosts.firstAddress, ports: [5555, endpoint],
          namespaces: (hosts.path(of: .second), hosts.path(of: .first)), behaviour: kind.behaviour, seed: 7))
      defer { proxy.stop() }
      let worker = try cluster.start(.second, "worker")
      let before = try cluster.reaching(step: 1, workers: 1)
      try waitUntil("it has done enough") { kind.hasDoneEnough(proxy.counters) }
      proxy.calmDown()
      let calm = Date()
      let step = try #require(try cluster.status()?.step)
      let after = try cluster.reaching(step: step + 1, workers: 1)
      let seconds = Date().timeIntervalSince(calm)
      #expect(before.step < after.step && after.step < 2500, "the run was over before the fault was")
      for process in [coordinator, server, worker] { try process.wait().expect(0) }
      #expect(try cluster.hash == Self.undisturbedShorter.get())
      try Leftovers.expectNone(of: cluster.run)
      let done = proxy.counters
      try Evidence.add(
        .network, kind.rawValue, times: max(1, done.cuts),
        observed:
          "\(done.connections) connections, \(done.cuts) cut, \(done.delayedChunks) chunks delayed, weights equal",
        recovery: [seconds])
    }
  }
}
