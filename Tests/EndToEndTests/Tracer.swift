import Foundation
import Intruders
import Testing

/// Programs under strace, which shows each of their system calls and makes one of them fail or be the last.
enum Tracer {
  /// What is done to a call. A signal comes before the call does anything.
  enum Fault: String, CaseIterable, Sendable {
    case inputOutput = "error=EIO"
    case noSpace = "error=ENOSPC"
    case kill = "signal=SIGKILL"
  }

  /// A call, as strace wrote it down.
  struct Call: Sendable {
    let thread: Int
    let name: String
    /// Which call of that name of its thread, from 1: how strace counts them.
    let ordinal: Int
    var text: String

    var changesDisk: Bool {
      name == "openat" ? text.contains("O_CREAT") : !["read", "readlink", "newfstatat", "getdents64"].contains(name)
    }
    var isInjected: Bool { text.contains("(INJECTED)") }
  }

  /// Those that look at files or change them.
  private static let traced =
    "openat,mkdir,fallocate,write,fsync,rename,symlink,unlink,rmdir,read,readlink,newfstatat,getdents64"

  private static let tool = ["/usr/bin/strace", "/usr/local/bin/strace"].first {
    FileManager.default.isExecutableFile(atPath: $0)
  }

  /// Tried rather than guessed: a container may forbid tracing.
  static let isAllowed: Bool = {
    guard let tool else { return false }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: tool)
    process.arguments = ["-f", "-o", "/dev/null", "-e", "inject=rename:error=EIO:when=9", "true"]
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return false }
    process.waitUntilExit()
    return process.terminationStatus == 0
  }()

  /// - Parameters:
  ///   - log: where strace is to write.
  ///   - fault: what to inject, and into which calls of that name: `5`, or `5+` for it and all that follow. strace counts
  ///     the calls of each thread.
  ///   - path: trace, and inject into, only the calls that refer to this path.
  static func start(
    program: String = "descent", _ arguments: [String], log: URL,
    fault: (fault: Fault, call: String, when: String)? = nil, path: String? = nil
  ) throws -> Program.Running {
    var flags = ["-f", "-y", "-s", "16", "-o", log.path, "-e", "trace=\(traced)"]
    if let path { flags += ["-P", path] }
    if let fault { flags += ["-e", "inject=\(fault.call):\(fault.fault.rawValue):when=\(fault.when)"] }
    let executable = Program.directory.appendingPathComponent(program).path
    return try Program.Running(
      at: URL(fileURLWithPath: #require(tool)), flags + [executable] + arguments, environment: [:])
  }

  /// A program for which the file system refuses calls.
  ///
  /// - Parameters:
  ///   - calls: "symlink,symlinkat".
  ///   - error: "EPERM".
  ///   - paths: refuse only the calls that refer to one of these; all if empty.
  static func start(
    program: String = "descent", _ arguments: [String], refusing calls: String, _ error: String, at paths: [String] = []
  ) throws -> Program.Running {
    let flags = ["-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "trace=\(calls)"]
    let refusal = paths.flatMap { ["-P", $0] } + ["-e", "inject=\(calls):error=\(error)"]
    let executable = Program.directory.appendingPathComponent(program).path
    return try Program.Running(
      at: URL(fileURLWithPath: #require(tool)), flags + refusal + [executable] + arguments, environment: [:])
  }

  /// Whether a fault came to pass.
  static func hasInjected(in log: URL) throws -> Bool {
    let text = try String(contentsOf: log, encoding: .utf8)
    return text.contains("(INJECTED)") || text.contains("+++ killed by SIGKILL")
  }

  /// The calls of a log in the order in which they began.
  static func calls(in log: URL) throws -> [Call] {
    var counts: [String: Int] = [:]
    var calls: [Call] = []
    for line in try String(contentsOf: log, encoding: .utf8).split(separator: "\n") {
      let parts = line.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: true)
      guard parts.count == 2, let thread = Int(parts[0]) else { continue }
      // The second half of a call that was interrupted by that of another thread. What was injected is there.
      if parts[1].hasPrefix("<..."), let index = calls.lastIndex(where: { $0.thread == thread }) {
        calls[index].text += parts[1]
        continue
      }
      guard let end = parts[1].firstIndex(of: "("), !parts[1].hasPrefix("<") else { continue }
      let name = String(parts[1][..<end]).trimmingCharacters(in: .whitespaces)
      guard !name.isEmpty, name.allSatisfy({ $0.isLetter || $0.isNumber || $0 == "_" }) else { continue }
      counts["\(thread) \(name)", default: 0] += 1
      calls.append(
        Call(thread: thread, name: name, ordinal: counts["\(thread) \(name)"] ?? 0, text: String(parts[1])))
    }
    return calls
  }
}

/// What a default run plays of a long enumeration: some of them, drawn from a fixed seed. `Scripts/faults.sh` plays all.
enum Enumeration {
  static let isComplete = ProcessInfo.processInfo.environment["DESCENT_EVERY_FAULT"] != nil

  static func chosen<Element>(_ all: [Element], count: Int) -> [Element] {
    guard !isComplete, count < all.count else { return all }
    var generator = SplitMix64(state: 20_261_121)
    return Array(all.indices.shuffled(using: &generator).prefix(count).sorted().map { all[$0] })
  }

  static func share(_ count: Int, of total: Int) -> String {
    count == total ? "all \(total)" : "\(count) of \(total), drawn from a fixed seed"
  }
}
