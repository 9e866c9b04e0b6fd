import Diagnostics
import FoundationEssentials
import Glibc
import Messaging
import NodeRuntime
import RunConfiguration
import TestSupport
import Testing
import Transport

@Suite struct CoordinatorAddressTests {
  private let directory = TemporaryDirectory()
  private var paths: RunPaths { RunPaths(directory: directory.path) }

  private func find(timeout: Interval) throws -> CoordinatorAddress? {
    let settings = try ResolvedSettings.resolve(flags: [("run-dir", directory.path)])
    return try CoordinatorAddress.find(quiet(settings), timeout: timeout, signals: TerminationSignals())
  }

  @Test func `a coordinator that is there is found`() throws {
    let publication = try AddressPublication("tcp://127.0.0.1:5555", runIdentifier: "a-run", in: paths)
    let address = try find(timeout: .seconds(10))
    #expect(address?.endpoint == .tcp(host: "127.0.0.1", port: 5555))
    #expect(address?.runIdentifier == "a-run")
    withExtendedLifetime(publication) {}
  }

  @Test func `a role that finds no coordinator says where it looked`() throws {
    #expect {
      try find(timeout: .milliseconds(30))
    } throws: { error in
      let failure = error as? Failure
      return failure?.status == .unavailable && failure?.found?.contains(paths.coordinatorEndpoint) == true
    }
  }

  /// Not even when its successor has the run's lock already and has not published yet: a server that came in that
  /// moment listened in the socket directory that the successor was about to replace, and was never found.
  @Test func `the address of a coordinator that was killed is not used`() throws {
    _ = try AddressPublication("tcp://127.0.0.1:5555", runIdentifier: "a-run", in: paths)
    let lock = try paths.lockDirectory()
    defer { withExtendedLifetime(lock) {} }
    #expect {
      try find(timeout: .milliseconds(30))
    } throws: { ($0 as? Failure)?.found?.contains("is stale") == true }
  }

  @Test func `the processes of a launch join no other coordinator`() throws {
    let publication = try AddressPublication(
      "tcp://127.0.0.1:5555", runIdentifier: "a-run", launch: "first", in: paths)
    #expect(try CoordinatorAddress.published(in: paths, launch: "first") != nil)
    #expect(try CoordinatorAddress.published(in: paths) != nil)
    #expect(try CoordinatorAddress.published(in: paths, launch: "second") == nil)
    withExtendedLifetime(publication) {}
  }

  @Test func `the socket directory is ours alone and a stale one is replaced`() throws {
    let environment = ["XDG_RUNTIME_DIR": directory.path]
    let stale = try SocketDirectory(of: paths, runIdentifier: "a-run", environment: environment)
    try Data().write(to: URL(filePath: stale.path + "/server-1"))
    let sockets = try SocketDirectory(of: paths, runIdentifier: "a-run", environment: environment)
    #expect(sockets.path == stale.path)
    #expect(sockets.path.hasPrefix(directory.path + "/descent-a-run-"))
    let copied = RunPaths(directory: directory.path + "/a copy")
    let others = try SocketDirectory(of: copied, runIdentifier: "a-run", environment: environment)
    #expect(others.path != sockets.path)
    others.remove()
    var status = stat()
    #expect(stat(sockets.path, &status) == 0)
    #expect(status.st_mode & 0o777 == 0o700)
    #expect(try FileManager.default.contentsOfDirectory(atPath: sockets.path).isEmpty)
    sockets.remove()
    #expect(!FileManager.default.fileExists(atPath: sockets.path))
  }
}
