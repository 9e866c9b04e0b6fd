import Foundation
import TestSupport
import Testing

/// What a run must not leave behind, however it ended: processes that name it, and directories of sockets. Memory that
/// server and workers share has no name, so it goes with the last of them. Dead children that nobody has waited for name
/// no run, and go with their parent, which does.
enum Leftovers {
  static func expectNone(of run: URL) throws {
    try waitUntil("nothing is left of \(run.path): \(found(of: run))", seconds: 10) {
      found(of: run).isEmpty
    }
  }

  private static func found(of run: URL) -> [String] {
    processes(of: run).map { "process \($0)" } + sockets(of: run)
      + ((try? FileManager.default.contentsOfDirectory(atPath: "/dev/shm")) ?? []).filter { $0.contains("descent") }
  }

  /// In the directories where sockets go: each bears the name of its run.
  private static func sockets(of run: URL) -> [String] {
    guard let data = try? Data(contentsOf: run.appendingPathComponent("run.json")),
      let object = try? JSONSerialization.jsonObject(with: data) as? [String: Any], let name = object["run"] as? String
    else { return [] }
    let places = [ProcessInfo.processInfo.environment["XDG_RUNTIME_DIR"], "/tmp"].compactMap { $0 }
    return places.flatMap { place in
      ((try? FileManager.default.contentsOfDirectory(atPath: place)) ?? []).filter { $0.contains(name) }
        .map { "\(place)/\($0)" }
    }
  }
}
