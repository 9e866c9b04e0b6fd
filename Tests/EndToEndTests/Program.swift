import Foundation
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
    let directory: URL

    convenience init(_ name: String, _ arguments: [String], environment: [String: String]) throws {
      try self.init(at: Program.directory.appendingPathComponent(name), arguments, environment: environment)
    }

    init(at executable: URL, _ arguments: [String], environment: [String: String]) throws {
      directory = try TemporaryDirectory.make()
      process.executableURL = executable
      process.arguments = arguments
      var inherited = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("DESCENT_") }
      inherited.merge(environment) { $1 }
      process.environment = inherited
      process.standardInput = FileHandle.nullDevice
      // Files rather than pipes: nobody has to read while it runs.
      process.standardOutput = try file("stdout")
      process.standardError = try file("stderr")
      try process.run()
    }

    deinit {
      if process.isRunning { kill(process.processIdentifier, SIGKILL) }
      try? FileManager.default.removeItem(at: directory)
    }

    private func file(_ name: String) throws -> FileHandle {
      let url = directory.appendingPathComponent(name)
      try Data().write(to: url)
      return try FileHandle(forWritingTo: url)
    }

    var standardError: String { text("stderr") }

    private func text(_ name: String) -> String {
      (try? String(contentsOf: directory.appendingPathComponent(name), encoding: .utf8)) ?? ""
    }

    /// Waits for the end; a run that takes longer than the limit is killed and the test fails.
    func wait(seconds: Double = 120, sourceLocation: SourceLocation = #_sourceLocation) throws -> Output {
      try waitUntil("\(process.arguments ?? []) ends", seconds: seconds, sourceLocation: sourceLocation) {
        !process.isRunning
      }
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
    let output = try start(name, arguments, environment: environment).wait(sourceLocation: sourceLocation)
    if let status {
      #expect(
        output.status == status, "\(arguments) said: \(output.standardError.suffix(2000))",
        sourceLocation: sourceLocation)
    }
    return output
  }
}

struct TimedOut: Error, CustomStringConvertible {
  let description: String
}

/// Waits for a condition, looking often; the limit only matters when something is broken.
func waitUntil(
  _ what: String, seconds: Double = 60, sourceLocation: SourceLocation = #_sourceLocation,
  _ condition: () throws -> Bool
) throws {
  let deadline = Date(timeIntervalSinceNow: seconds)
  while try !condition() {
    guard Date() < deadline else { throw TimedOut(description: "not within \(seconds) s: \(what)") }
    usleep(5000)
  }
}

enum TemporaryDirectory {
  static func make() throws -> URL {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent(
      "descent-test-\(UUID().uuidString.prefix(8))")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    return url
  }

  /// A directory for the time of `body`.
  static func with<Result>(_ body: (URL) throws -> Result) throws -> Result {
    let url = try make()
    defer { try? FileManager.default.removeItem(at: url) }
    return try body(url)
  }
}
