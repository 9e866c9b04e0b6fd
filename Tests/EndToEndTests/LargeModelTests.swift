import Foundation
import TestSupport
import Testing

/// A network with 1,024 hidden units: weights and gradients have 12.6 MB, its state with Adam three times as much.
@Suite("Large models", .serialized) struct LargeModelTests {
  private static let vector = 4 * 3_157_002
  private static let settings = [
    "hidden": "1024", "optimizer": "adam", "learning-rate": "0.001", "batch-size": "16", "shards": "8",
    "max-steps": "6", "evaluate-every": "3", "checkpoint-every": "3", "validation-examples": "16", "test": "never",
  ]

  private func training(_ transport: String) -> Training {
    Training(workers: 2, Self.settings.merging(["transport": transport]) { $1 })
  }

  /// What the processes of a role received, in bytes.
  private static func bytes(from source: String, to role: String, _ run: URL) throws -> Int {
    let entries = try RunLog(of: run, role: role).entries.filter { $0["event"] as? String == "transport" }
    return entries.reduce(0) { $0 + ($1["bytes-from-\(source)"] as? Int ?? 0) }
  }

  @Test func `every transport gives the same weights, and all of them stay in memory where it is shared`() throws {
    let sequential = try Training(workers: 0, Self.settings).result()
    for transport in ["memory", "ipc", "tcp"] {
      try TemporaryDirectory.with { directory in
        let run = directory.appendingPathComponent("run")
        #expect(try training(transport).result(in: run).hash == sequential.hash, "\(transport)")
        for role in ["coordinator", "server", "worker"] {
          #expect(try RunLog(of: run, role: role).messages("memory_not_shared").isEmpty, "\(transport), \(role)")
        }
        let gradients = 6 * 2 * Self.vector
        let source = transport == "memory" ? "memory" : "sockets"
        // The server hands out the first work at once, which may be before it has read a worker's offer of memory: then
        // the first weights of that worker, and its first gradient, go through sockets. No others do.
        let first = transport == "memory" ? 2 * Self.vector : 0
        let atServer = try Self.bytes(from: source, to: "server", run)
        #expect(atServer >= gradients - first, "\(transport)")
        let atWorkers = try Self.bytes(from: "sockets", to: "worker", run)
        #expect(transport != "memory" || atWorkers <= first + 100_000)
      }
    }
  }

  @Test(arguments: ["memory", "tcp"])
  func `a server takes at most three vectors for each worker, besides its state`(transport: String) throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let running = try training(transport).start(in: run)
      var peak = 0
      while running.process.isRunning {
        for process in processes(of: run) { peak = max(peak, Self.peakOfServer(process) ?? 0) }
        usleep(20_000)
      }
      let output = try running.wait()
      #expect(output.status == 0, "\(output.standardError.suffix(3000))")
      // The state, the weights as they are sent, the open sum, two snapshots, two workers; and programs and libraries.
      let bound = (3 + 1 + 1 + 2 * 3 + 2 * 3) * Self.vector + 48 << 20
      #expect(peak > 4 * Self.vector && peak <= bound, "\(peak) bytes")
    }
  }

  /// Bytes, shared ones included; nil for other processes than a server.
  private static func peakOfServer(_ process: pid_t) -> Int? {
    func text(_ name: String) -> String {
      String(decoding: FileManager.default.contents(atPath: "/proc/\(process)/\(name)") ?? Data(), as: UTF8.self)
    }
    guard text("cmdline").contains("descent-server"),
      let match = text("status").firstMatch(of: /VmHWM:\s+(\d+) kB/)
    else { return nil }
    return Int(match.1).map { $0 << 10 }
  }
}
