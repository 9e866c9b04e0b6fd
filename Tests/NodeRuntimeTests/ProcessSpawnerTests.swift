import Diagnostics
import Glibc
import NodeRuntime
import Testing

@Suite struct ProcessSpawnerTests {
  private func exits(_ spawner: ProcessSpawner, count: Int) -> [ProcessSpawner.Exit] {
    var exits: [ProcessSpawner.Exit] = []
    while exits.count < count {
      exits += spawner.reap().map(\.exit)
      if exits.count < count { usleep(1000) }
    }
    return exits
  }

  @Test func theExitOfAProcessIsTold() throws {
    let spawner = try ProcessSpawner(directory: "/bin")
    try spawner.start("sh", ["-c", "exit 75"])
    #expect(exits(spawner, count: 1) == [.status(75)])
    #expect(spawner.running.isEmpty)
  }

  @Test func aSignalEndsAProcessAlthoughItIsBlockedHere() throws {
    let spawner = try ProcessSpawner(directory: "/bin")
    let child = try spawner.start("sleep", ["1000"])
    spawner.send(SIGTERM, to: child)
    #expect(exits(spawner, count: 1) == [.signal(SIGTERM)])
  }

  @Test func nothingIsLeftWhenTheSpawnerGoes() throws {
    var child: ProcessSpawner.Child?
    do {
      let spawner = try ProcessSpawner(directory: "/bin")
      child = try spawner.start("sleep", ["1000"])
    }
    let processID = try #require(child?.processID)
    #expect(kill(processID, 0) == -1)
  }

  /// A read from the lifeline waits for ever while this process lives, so a child that reads it ends by the signal.
  @Test func aChildHoldsTheLifelineOpenForReading() throws {
    let spawner = try ProcessSpawner(directory: "/bin")
    let child = try spawner.start("sh", ["-c", "[ -p /proc/self/fd/3 ] && exec cat <&3"])
    let other = try spawner.start("sh", ["-c", "exit 0"])
    var ended: [ProcessSpawner.Exit] = []
    while spawner.running.contains(where: { $0.processID == other.processID }) {
      ended += spawner.reap().map(\.exit)
      usleep(1000)
    }
    #expect(ended == [.status(0)])
    spawner.send(SIGTERM, to: child)
    #expect(exits(spawner, count: 1) == [.signal(SIGTERM)])
  }

  @Test func aMissingExecutableIsNamed() throws {
    let spawner = try ProcessSpawner(directory: "/nowhere")
    #expect { try spawner.start("descent-server", []) } throws: { error in
      (error as? Failure)?.message.contains("/nowhere/descent-server") == true
    }
  }
}
