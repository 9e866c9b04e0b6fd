import Foundation
import TestSupport
import Testing

/// The built programs, run as a person would.
enum Program {
  struct Output: Sendable {
    let status: Int32
    let standardOutput: String
    let standardError: String

    /// The one JSON object on standard output.
    func object(sourceLocation: SourceLocation = #_sourceLocation) throws -> [String: Any] {
      let parsed = try JSONSerialization.jsonObject(with: Data(standardOutput.utf8))
      return try #require(parsed as? [String: Any], "no JSON object", sourceLocation: sourceLocation)
    }
  }

  /// Beside the test bundle, where `swift build` puts them.
  static let directory: URL = {
    let arguments = ProcessInfo.processInfo.arguments
    let bundle = arguments.first { $0.contains(".xctest") } ?? arguments[0]
    var url = URL(fileURLWithPath: bundle).standardizedFileURL
    while url.path != "/", !FileManager.default.isExecutableFile(atPath: url.appendingPathComponent("descent").path) {
      url.deleteLastPathComponent()
    }
    return url
  }()

  /// A program that has been started. Killed with everything it started when the test lets go of it.
  final class Running {
    let process = Process()
    private let directory = TemporaryDirectory()

    convenience init(_ name: String, _ arguments: [String], environment: [String: String]) throws {
      try self.init(at: Program.directory.appendingPathComponent(name), arguments, environment: environment)
    }

    init(at executable: URL, _ arguments: [String], environment: [String: String]) throws {
      process.executableURL = executable
      process.arguments = arguments
      var inherited = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("DESCENT_") }
      // The logs of roles that know no run directory.
      inherited["XDG_STATE_HOME"] = directory.url.path
      inherited.merge(environment) { $1 }
      process.environment = inherited
      process.standardInput = FileHandle.nullDevice
      // Files rather than pipes, which would have to be read while it runs.
      process.standardOutput = try file("stdout")
      process.standardError = try file("stderr")
      try withNoSignalBlocked { try process.run() }
    }

    deinit {
      if process.isRunning { kill(process.processIdentifier, SIGKILL) }
    }

    /// Tests run on threads of Dispatch, which block most signals, and a child inherits what is blocked. A shell starts
    /// programs with nothing blocked.
    private func withNoSignalBlocked(_ body: () throws -> Void) rethrows {
      var none = sigset_t()
      var before = sigset_t()
      sigemptyset(&none)
      pthread_sigmask(SIG_SETMASK, &none, &before)
      defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
      try body()
    }

    private func file(_ name: String) throws -> FileHandle {
      let url = directory.url.appendingPathComponent(name)
      try Data().write(to: url)
      return try FileHandle(forWritingTo: url)
    }

    var standardError: String { text("stderr") }
    var standardOutput: String { text("stdout") }

    private func text(_ name: String) -> String {
      (try? String(contentsOf: directory.url.appendingPathComponent(name), encoding: .utf8)) ?? ""
    }

    /// Waits for the end; a run that takes longer than the limit is killed and the test fails.
    func wait(seconds: Double = 120) throws -> Output {
      try waitUntil("\(process.arguments ?? []) ends", seconds: seconds) { !process.isRunning }
      process.waitUntilExit()
      let status = process.terminationReason == .exit ? process.terminationStatus : 128 + process.terminationStatus
      return Output(status: status, standardOutput: text("stdout"), standardError: text("stderr"))
    }
  }

  static func start(
    _ name: String = "descent", _ arguments: [String], environment: [String: String] = [:]
  ) throws -> Running {
    try Running(name, arguments, environment: environment)
  }

  @discardableResult
  static func run(
    _ name: String = "descent", _ arguments: [String], environment: [String: String] = [:],
    expecting status: Int32? = 0,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> Output {
    let output = try start(name, arguments, environment: environment).wait()
    if let status {
      #expect(
        output.status == status, "\(arguments) said: \(output.standardError.suffix(2000))",
        sourceLocation: sourceLocation)
    }
    return output
  }
}
