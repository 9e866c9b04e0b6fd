import Foundation
import Testing

/// What a run must not leave behind, however it ended: processes that name it, children that nobody has waited for,
/// directories of sockets. Memory that server and workers share has no name, so it goes with the last of them.
enum Leftovers {
  static func expectNone(of run: URL, sourceLocation: SourceLocation = #_sourceLocation) throws {
    try waitUntil("nothing is left of \(run.path): \(found(of: run))", seconds: 10, sourceLocation: sourceLocation) {
      found(of: run).isEmpty
    }
  }

  private static func found(of run: URL) -> [String] {
    processes(of: run).map { "process \($0)" } + zombies().map { "zombie \($0)" } + sockets(of: run)
      + ((try? FileManager.default.contentsOfDirectory(atPath: "/dev/shm")) ?? []).filter { $0.contains("descent") }
  }

  /// Dead children of this process, and of those that it has started.
  private static func zombies() -> [pid_t] {
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    var parents: [pid_t: pid_t] = [:]
    var dead: [pid_t] = []
    for pid in entries.compactMap(pid_t.init) {
      guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
        let end = text.lastIndex(of: ")")
      else { continue }
      let fields = text[text.index(after: end)...].split(separator: " ")
      guard fields.count > 1, let parent = pid_t(fields[1]) else { continue }
      parents[pid] = parent
      if fields[0] == "Z" { dead.append(pid) }
    }
    return dead.filter { pid in
      var ancestor = parents[pid]
      while let current = ancestor, current > 1, current != getpid() { ancestor = parents[current] }
      return ancestor == getpid()
    }
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
