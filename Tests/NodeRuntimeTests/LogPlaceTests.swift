import Diagnostics
import FoundationEssentials
import NodeRuntime
import RunConfiguration
import TestSupport
import Testing

@Suite struct LogPlaceTests {
  private let directory = TemporaryDirectory()

  private func options(_ flags: [(name: String, text: String)] = []) throws -> NodeOptions {
    quiet(try ResolvedSettings.resolve(flags: flags))
  }

  @Test func `the log of a run is in its directory, with the name of the host`() throws {
    let place = try options([("run-dir", directory.path)]).logPlace(of: "worker-1@north")
    #expect(place == LogPlace(path: "\(directory.path)/logs/worker-1@north.jsonl"))
  }

  @Test func `two containers whose process is the first one on two hosts write two files`() throws {
    let options = try options([("run-dir", directory.path)])
    let places = try ["north", "south"].map { try options.logPlace(of: "worker-1@\($0)").path }
    #expect(Set(places).count == 2)
  }

  @Test func `a directory that was chosen is made`() throws {
    var options = try options([("run-dir", directory.path)])
    options.logDirectory = "\(directory.path)/elsewhere/logs"
    let place = try options.logPlace(of: "server@north")
    #expect(place == LogPlace(path: "\(directory.path)/elsewhere/logs/server@north.jsonl"))
    #expect(FileManager.default.fileExists(atPath: "\(directory.path)/elsewhere/logs"))
  }

  @Test func `without a run directory: the state of the user, then a directory for temporary files`() {
    func places(_ environment: [String: String]) -> [String] {
      NodeOptions.localLogDirectories(environment, user: 1000)
    }
    #expect(places(["XDG_STATE_HOME": "/s", "HOME": "/h"]) == ["/s/descent/logs", "/tmp/descent-logs-1000"])
    #expect(
      places(["XDG_STATE_HOME": "relative", "HOME": "/h", "TMPDIR": "/t"])
        == ["/h/.local/state/descent/logs", "/t/descent-logs-1000"])
    #expect(places([:]) == ["/tmp/descent-logs-1000"])
  }
}
