import Cluster
import Diagnostics
import Glibc
import NodeRuntime
import TestSupport
import Testing

@Suite struct ProcessSpawnerTests {
  private func firstExit(_ spawner: ProcessSpawner) throws -> ProcessExit {
    var exits: [ProcessExit] = []
    try waitUntil("a process has ended") {
      exits += spawner.reap().map(\.exit)
      return !exits.isEmpty
    }
    #expect(exits.count == 1)
    return exits[0]
  }

  @Test func `the exit of a process is reported`() throws {
    let spawner = try ProcessSpawner(directory: "/bin")
    try spawner.start("sh", ["-c", "exit 75"])
    #expect(try firstExit(spawner) == .status(75))
    #expect(spawner.running.isEmpty)
  }

  @Test func `a signal ends a process although it is blocked here`() throws {
    let spawner = try ProcessSpawner(directory: "/bin")
    let child = try spawner.start("sleep", ["1000"])
    spawner.send(SIGTERM, to: child)
    #expect(try firstExit(spawner) == .signal(SIGTERM))
  }

  @Test func `nothing is left when the spawner goes`() throws {
    var child: ProcessSpawner.Child?
    do {
      let spawner = try ProcessSpawner(directory: "/bin")
      child = try spawner.start("sleep", ["1000"])
    }
    let processID = try #require(child?.processID)
    #expect(kill(processID, 0) == -1)
  }

  /// A read from the lifeline waits for ever while this process lives, so a child that reads it ends by the signal.
  @Test func `a child holds the lifeline open for reading`() throws {
    let spawner = try ProcessSpawner(directory: "/bin")
    let child = try spawner.start("sh", ["-c", "[ -p /proc/self/fd/3 ] && exec cat <&3"])
    try spawner.start("sh", ["-c", "exit 0"])
    #expect(try firstExit(spawner) == .status(0))
    spawner.send(SIGTERM, to: child)
    #expect(try firstExit(spawner) == .signal(SIGTERM))
  }

  @Test func `a missing executable is named`() throws {
    let spawner = try ProcessSpawner(directory: "/nowhere")
    #expect { try spawner.start("descent-server", []) } throws: { error in
      (error as? Failure)?.message.contains("/nowhere/descent-server") == true
    }
  }
}
