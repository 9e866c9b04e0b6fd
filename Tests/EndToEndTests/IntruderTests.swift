import Foundation
import Intruders
import Messaging
import NodeRuntime
import TestSupport
import Testing

/// Promise 4: nobody unknown gets in, and who is kept out costs nobody anything.
@Suite("Keys and intruders", .serialized)
struct IntruderTests {
  /// Keys for a run with two workers, and one that is allowed and wicked.
  private static let names = "coordinator,server,worker-0,worker-1,worker-wicked,observer"

  private func makeKeys(in directory: URL, _ names: String = names) throws -> URL {
    let keys = directory.appendingPathComponent("keys")
    try Program.run("descent", ["keygen", "--output", keys.path, "--names", names])
    return keys
  }

  @Test(arguments: ["tcp", "memory"])
  func `keys change no bit, on any transport, and descent train makes those that are not there`(transport: String)
    throws
  {
    try TemporaryDirectory.with { directory in
      let keys = directory.appendingPathComponent("keys")
      let result = try Training(workers: 3, ["transport": transport, "keys": keys.path]).result()
      #expect(try result.hash == Training(workers: 0).result().hash)
      let names = try FileManager.default.contentsOfDirectory(atPath: keys.path)
      #expect(names.filter { $0.hasSuffix(".key") }.count == 6)
      // They are used again, and a fourth worker has none.
      _ = try Training(workers: 3, ["keys": keys.path]).result()
      let output = try Training(workers: 4, ["keys": keys.path]).start(in: directory.appendingPathComponent("run"))
        .wait()
      #expect(output.status == 78)
      #expect(output.standardError.contains("--names worker-3"), "\(output.standardError)")
    }
  }

  @Test func `every intrusion at once on a live run: it ends with the bits of the undisturbed one`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let keys = try makeKeys(in: directory)
      let training = try Training(
        workers: 2, FaultTests.long.merging(["transport": "tcp", "keys": keys.path]) { $1 }, isVerbose: true
      ).start(in: run)
      _ = try RunStatus.reaching(step: 200, workers: 2, of: run, keys: keys)
      var attack = try Attack(on: run, keys: keys.path, listing: training.standardError)
      for target in attack.targets { try attack.begin(on: target) }
      let wicked = Set(attack.targets.map { attack.misuseKey(at: $0) })
      #expect(wicked == [true])
      let after = try RunStatus.reaching(step: 201, workers: 2, of: run, keys: keys)
      #expect(after.step < 6000, "the run was over before the attack was")
      let output = try training.wait()
      #expect(output.status == 0, "\(output.standardError)")
      #expect(try TrainingResult(output).hash == FaultTests.undisturbed.get())
      let counted = try expectCounted(in: run)
      #expect(processes(of: run).isEmpty)
      try Evidence.add(
        .intruders, "no and wrong keys, old protocols, silence, random bytes, huge and many frames, forged roles",
        times: attack.count, observed: counted)
    }
  }

  /// What the logs of coordinator and server say of it.
  private func expectCounted(in run: URL) throws -> String {
    var texts = ["same weights"]
    let logs = run.appendingPathComponent("logs")
    for role in ["coordinator", "server"] {
      let name = try #require(
        FileManager.default.contentsOfDirectory(atPath: logs.path).first {
          $0.hasPrefix("\(role)") && $0.hasSuffix(".jsonl")
        })
      let text = try String(contentsOf: logs.appendingPathComponent(name), encoding: .utf8)
      let events = try text.split(separator: "\n").map { line in
        try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
      }
      #expect(events.contains { $0["event"] as? String == "keys_refused" }, "\(role)")
      let counters = try #require(events.last { $0["event"] as? String == "transport" })
      #expect(counters["rejected-frame-count"] as? Int == 1, "\(role): \(counters)")
      let forged = try #require(counters["rejected-identity"] as? Int)
      #expect(forged >= 2, "\(role): \(counters)")
      let refused = events.filter { $0["event"] as? String == "keys_refused" }.count
      texts.append("\(role): \(forged) forged messages dropped, keys refused in \(refused) log lines")
    }
    return texts.joined(separator: "; ")
  }

  @Test
  func `a process that may not take part is told so, by message and exit status`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let keys = try makeKeys(in: directory)
      let training = try Training(workers: 2, ["max-steps": "1000000", "transport": "tcp", "keys": keys.path]).start(
        in: run)
      _ = try RunStatus.reaching(step: 1, workers: 2, of: run, keys: keys)
      let data = try SharedData.directory.get()
      func worker(_ arguments: [String]) throws -> Program.Output {
        try Program.run(
          "descent-worker", ["--run-dir", run.path, "--data", data, "--rendezvous-seconds", "1"] + arguments,
          expecting: nil)
      }
      // A key of a directory of its own, which takes nobody for the coordinator.
      let other = directory.appendingPathComponent("other")
      try Program.run("descent", ["keygen", "--output", other.path, "--names", "worker-0"])
      #expect(try worker(["--keys", other.path]).expect(78).standardError.contains("coordinator.pub"))
      // It knows the coordinator now, and is not known.
      let line = try String(contentsOf: keys.appendingPathComponent("coordinator.pub"), encoding: .utf8)
      let list = other.appendingPathComponent("allow-list")
      let alone = try String(contentsOf: list, encoding: .utf8)
      try (alone + line).write(to: list, atomically: true, encoding: .utf8)
      #expect(try worker(["--keys", other.path]).expect(77).standardError.contains("worker-0.pub"))
      // It takes somebody else for the coordinator.
      try Program.run("descent", ["keygen", "--output", directory.path + "/third", "--names", "coordinator"])
      let wrong = try String(contentsOfFile: directory.path + "/third/coordinator.pub", encoding: .utf8)
      try (alone + wrong).write(to: list, atomically: true, encoding: .utf8)
      #expect(
        try worker(["--keys", other.path]).expect(77).standardError.contains("does not hold the coordinator's key"))
      // Without keys it is nobody.
      try worker([]).expect(69)
      // The keys of the two that are there are taken; the third is free, once its file is its owner's alone.
      try worker(["--keys", keys.path, "--key", "worker-0"]).expect(73)
      let wicked = keys.appendingPathComponent("worker-wicked.key").path
      try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: wicked)
      #expect(
        try worker(["--keys", keys.path, "--key", "worker-wicked"]).expect(78).standardError.contains("chmod 600"))
      kill(training.process.processIdentifier, SIGTERM)
      _ = try training.wait().expect(75)
    }
  }

  @Test
  func `addresses beyond this host are refused without keys, before anything is made`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let refused = try Training(["transport": "tcp", "bind": "192.0.2.1"]).start(in: run).wait().expect(78)
      #expect(refused.standardError.contains("needs keys"), "\(refused.standardError)")
      #expect(!FileManager.default.fileExists(atPath: run.appendingPathComponent("run.json").path))
      let data = try SharedData.directory.get()
      for program in ["descent-worker", "descent-server"] {
        let arguments =
          ["--coordinator", "tcp://192.0.2.1:5555"] + (program == "descent-worker" ? ["--data", data] : [])
        try Program.run(program, arguments, expecting: 78)
      }
    }
  }
}

/// Everybody who has no business at a run.
private struct Attack {
  /// Where coordinator and server listen.
  let targets: [String]
  private let keys: String
  private let run: RunID
  /// Connections and clients so far.
  var count: Int { connections.count + untrustedPeers.count }
  /// Kept until the end: they are not to be disposed of by their own retreat.
  private var connections: [RawConnection] = []
  private var untrustedPeers: [UntrustedPeer] = []

  /// - Parameter listing: what the run has said so far; it names the server's address.
  init(on run: URL, keys: String, listing: String) throws {
    let published = try String(contentsOf: run.appendingPathComponent("coordinator.endpoint"), encoding: .utf8)
      .split(separator: "\n")
    let server = try #require(listing.firstMatch(of: /joined, listening on (tcp:\S+)/)?.1)
    targets = [String(try #require(published.first)), String(server)]
    self.run = RunID(name: String(published[1]))
    self.keys = keys
  }

  private func routingID(_ role: NodeRole, _ incarnation: UInt64) -> [UInt8] {
    [role.rawValue] + withUnsafeBytes(of: incarnation.littleEndian) { Array($0) }
  }

  private func frames(_ message: Message, from incarnation: UInt64) -> [[UInt8]] {
    let fields = message.encodeFields()
    var envelope = Envelope(
      type: message.type, run: run, membershipEpoch: MembershipEpoch(1), incarnation: Incarnation(incarnation),
      step: 300,
      sequence: 1)
    message.seal(&envelope, fields: fields)
    var header = [UInt8](repeating: 0, count: Envelope.byteCount)
    header.withUnsafeMutableBytes { envelope.encode(into: $0) }
    return [header, fields, Array(message.payload.bytes)]
  }

  /// Ends the run, if it is believed.
  private var stop: Message { .stop(ExitReason(status: .success, reason: "forged")) }

  private func listener(at target: String) -> String { target == targets[0] ? "coordinator" : "server" }

  /// All that nobody with a key would do.
  mutating func begin(on target: String) throws {
    let listener = UntrustedPeer.Mechanism.publicKey(of: listener(at: target), in: keys)
    let forged = frames(stop, from: 1)
    let id = routingID(.coordinator, 1)
    let elsewhere = UntrustedPeer.Mechanism.publicKey(of: "observer", in: keys)
    let outcomes: [(UntrustedPeer.Mechanism, UntrustedPeer.Handshake)] = [
      (.none, .failed), (.password, .failed), (.freshCurve(listener: listener), .refused),
      (.freshCurve(listener: elsewhere), .failed),
    ]
    for (mechanism, outcome) in outcomes {
      let untrusted = UntrustedPeer(connectingTo: target, as: id, mechanism)
      untrusted.send(forged)
      #expect(untrusted.handshake(withinMilliseconds: 10_000) == outcome, "\(mechanism)")
      untrustedPeers.append(untrusted)
    }
    var greetings = [
      Greeting.version1(identity: id, frames: forged), Greeting.version2(identity: id, frames: forged), [],
    ]
    greetings += [UInt64(Int64.max), 1 << 31].map {
      Greeting.version3(mechanism: "CURVE") + Greeting.command(claiming: $0)
    }
    var random = SystemRandomNumberGenerator()
    greetings += (0..<20).map { _ in (0..<3000).map { _ in UInt8.random(in: 0...255, using: &random) } }
    greetings += Array(repeating: Greeting.half, count: 1000)
    for greeting in greetings {
      let connection = try #require(RawConnection(to: target))
      connection.send(greeting)
      connections.append(connection)
    }
  }

  /// What somebody does whose key is on the list.
  /// - Returns: whether it was let in, as far as that goes.
  mutating func misuseKey(at target: String) -> Bool {
    let mechanism = UntrustedPeer.Mechanism.curve(of: "worker-wicked", listener: listener(at: target), in: keys)
    let asCoordinator = UntrustedPeer(connectingTo: target, as: routingID(.coordinator, 1), mechanism)
    asCoordinator.send(frames(stop, from: 1))
    let asServer = UntrustedPeer(connectingTo: target, as: routingID(.server, 2), mechanism)
    asServer.send(
      frames(
        .join(
          Message.Join(role: .server, name: "server", processID: 1, host: "", datasetFingerprint: 0, endpoint: target)),
        from: 2))
    let million = UntrustedPeer(connectingTo: target, as: routingID(.worker, 3), mechanism)
    million.send([0, 1, 2], times: 1_000_000)
    untrustedPeers += [asCoordinator, asServer, million]
    return [asCoordinator, asServer, million].allSatisfy { $0.handshake(withinMilliseconds: 10_000) == .succeeded }
  }
}
