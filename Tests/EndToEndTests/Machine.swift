import Foundation
import TestSupport
import Testing

/// A machine as far as the scripts see it: the commands on PATH are those of every system and stand-ins, each of which
/// notes the arguments of its calls.
final class Machine {
  private let temporary = TemporaryDirectory()
  var directory: URL { temporary.url }
  private var commands: URL { directory.appendingPathComponent("bin") }
  private static let everySystem = """
    awk bash basename cat chmod comm cp cut date dirname env find flock grep gzip head install ls mkdir mktemp mv \
    nproc paste readlink rm rmdir sed sh sha256sum sort stat tail tar tee touch tr true uname wc
    """.split(separator: " ").map(String.init)

  init(user: Int) throws {
    let root = Script.directory.deletingLastPathComponent()
    try FileManager.default.copyItem(at: Script.directory, to: directory.appendingPathComponent("Scripts"))
    for name in [".ci", "Config", "Deploy", "Package.swift", "Sources", "Tests"] {
      try FileManager.default.createSymbolicLink(
        at: directory.appendingPathComponent(name), withDestinationURL: root.appendingPathComponent(name))
    }
    try FileManager.default.createDirectory(at: commands, withIntermediateDirectories: false)
    for name in Self.everySystem { try link(name) }
    try add("id", "echo \(user)")
    for name in ["apt-get", "python3", "shellcheck"] { try add(name, "") }
    // The C compiler beside swift. What it makes prints what the kernels do under sanitizers.
    try add(
      "clang",
      """
      while (($# > 0)); do
        if [[ $1 == -o ]]; then printf '#!/bin/sh\\necho 1 calls' >"$2" && chmod +x "$2"; fi
        shift
      done
      """)
  }

  /// Puts a command of this system on PATH.
  func link(_ name: String) throws {
    let places = ["/usr/bin/\(name)", "/bin/\(name)"]
    let path = try #require(places.first(where: FileManager.default.isExecutableFile(atPath:)), "\(name) is missing")
    try FileManager.default.createSymbolicLink(
      at: commands.appendingPathComponent(name), withDestinationURL: URL(fileURLWithPath: path))
  }

  /// Puts a command on PATH, or another in its place.
  func add(_ name: String, _ body: String) throws {
    try write(
      "#!/bin/bash\nprintf '%s\\n' \"$*\" >>'\(directory.path)/\(name).calls'\n\(body)\n",
      to: commands.appendingPathComponent(name))
  }

  /// Writes a script.
  func write(_ text: String, to file: URL) throws {
    try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try text.write(to: file, atomically: true, encoding: .utf8)
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: file.path)
  }

  func remove(_ name: String) throws { try FileManager.default.removeItem(at: commands.appendingPathComponent(name)) }

  /// The arguments of each call of a stand-in.
  func calls(of name: String) throws -> [String] {
    let file = directory.appendingPathComponent("\(name).calls")
    guard FileManager.default.fileExists(atPath: file.path) else { return [] }
    return try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map(String.init)
  }

  func run(
    _ name: String, _ arguments: [String] = [], environment: [String: String] = [:]
  ) throws -> Program.Output {
    let own = ["PATH": commands.path, "HOME": directory.path, "XDG_DATA_HOME": directory.path + "/share"]
    return try Script.run(
      name, arguments, in: directory, at: directory.appendingPathComponent("Scripts"),
      environment: own.merging(environment) { $1 })
  }
}
