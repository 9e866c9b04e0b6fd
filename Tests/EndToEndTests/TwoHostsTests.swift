import Foundation
import TestSupport
import Testing

/// A run on two hosts: network namespaces, with nothing between them but a cable.
@Suite("Two hosts", .serialized, .enabled(if: Hosts.canBeMade, "network namespaces take root and iproute2"))
struct TwoHostsTests {
  @Test
  func `a worker on another host takes part by its key, and the bits stay the same`() throws {
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

  @Test
  func `without keys no process talks between hosts, unless the flag permits it and a warning says so`() throws {
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
