import Foundation

/// What a role has said in its log.
struct RunLog {
  let entries: [[String: Any]]

  init(of run: URL, role: String) throws {
    let logs = run.appendingPathComponent("logs")
    let names = try FileManager.default.contentsOfDirectory(atPath: logs.path)
      .filter { $0.hasPrefix(role) && $0.hasSuffix(".jsonl") }
    entries = try names.sorted().flatMap { name in
      try String(contentsOf: logs.appendingPathComponent(name), encoding: .utf8).split(separator: "\n").compactMap {
        try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
      }
    }
  }

  func messages(_ event: String) -> [String] {
    entries.filter { $0["event"] as? String == event }.compactMap { $0["msg"] as? String }
  }

  /// The steps that were said to be saved.
  var announced: [UInt64] { steps(in: messages("checkpoint")) }
  /// The steps that were said not to be saved.
  var notSaved: [UInt64] { steps(in: messages("checkpoint_failed")) }

  private func steps(in messages: [String]) -> [UInt64] {
    messages.compactMap { $0.firstMatch(of: /at step (\d+)/).flatMap { UInt64($0.1) } }
  }
}
