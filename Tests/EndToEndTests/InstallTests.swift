import Foundation
import TestSupport
import Testing

/// What Scripts/ do on a machine that lacks packages, and what they show of tests that fail: a copy of the scripts with
/// a PATH on which only a few commands are, those that install, build and test being stand-ins.
@Suite("Scripts on another machine")
struct InstallTests {
  static let scripts = ["test", "train-local"]

  @Test(arguments: scripts)
  func `root has the missing packages installed, and the script that asked continues`(name: String) throws {
    let machine = try Machine(user: 0)
    // The next thing that is missing.
    let output = try machine.run(name).expect(69)
    #expect(output.standardError.contains("Installing git curl binutils"))
    #expect(output.standardError.contains("there is no Swift toolchain on PATH; version 6.2 or later is needed"))
    let calls = try machine.calls(of: "apt-get")
    #expect(calls.count == 2)
    #expect(calls.first == "--quiet update")
    #expect(calls.last?.hasPrefix("--quiet --yes install --no-install-recommends git curl binutils") == true)
    #expect(calls.last?.contains("strace") == (name == "test"))
  }

  @Test(arguments: scripts)
  func `another user installs through sudo where it asks for no password`(name: String) throws {
    let machine = try Machine(user: 1000)
    try machine.add("sudo", "shift; exec \"$@\"")
    let output = try machine.run(name).expect(69)
    #expect(output.standardError.contains("there is no Swift toolchain on PATH"))
    #expect(try machine.calls(of: "apt-get").count == 2)
    // A question whether it may, then each of both calls.
    #expect(try machine.calls(of: "sudo").count == 3)
  }

  @Test(arguments: scripts)
  func `without the right to install, the command to type is printed and nothing is installed`(name: String) throws {
    for sudo in [nil, "exit 1"] {
      let machine = try Machine(user: 1000)
      if let sudo { try machine.add("sudo", sudo) }
      let output = try machine.run(name).expect(69)
      #expect(output.standardError.contains("sudo apt-get update && sudo apt-get install --yes"))
      #expect(try machine.calls(of: "apt-get").isEmpty)
    }
  }

  @Test(arguments: scripts, ["update", "install"])
  func `what apt-get says when it fails is shown`(name: String, command: String) throws {
    let machine = try Machine(user: 0)
    try machine.add("apt-get", "[[ $* != *\(command)* ]] || { echo 'E: no route to the mirror' >&2; exit 100; }")
    let output = try machine.run(name).expect(69)
    #expect(output.standardError.contains("apt-get cannot install git curl binutils"))
    #expect(output.standardError.contains("E: no route to the mirror"))
  }

  @Test(arguments: scripts)
  func `where there is no apt-get, the missing packages are named`(name: String) throws {
    let machine = try Machine(user: 0)
    try machine.remove("apt-get")
    let output = try machine.run(name).expect(69)
    #expect(output.standardError.contains("missing packages (Debian names): git curl binutils"))
  }

  @Test
  func `a toolchain that does not start is shown with its own words, one that is too old with its version`() throws {
    let machine = try Machine(user: 0)
    try machine.add("swift", "echo 'error while loading shared libraries: libodd.so.1' >&2; exit 127")
    let broken = try machine.run("test").expect(69)
    #expect(broken.standardError.contains("swift does not start: error while loading shared libraries: libodd.so.1"))
    try machine.add("swift", "echo 'Swift version 5.10 (swift-5.10-RELEASE)'")
    let old = try machine.run("test").expect(69)
    #expect(old.standardError.contains("Swift must be version 6.2 or later, but is 5.10"))
  }

  @Test(arguments: ["test", "faults"])
  func `the reason of a failure is shown when a test prints NUL and invalid UTF-8`(name: String) throws {
    let machine = try Machine(user: 0)
    try machine.add(
      "swift",
      """
      case $* in
        --version) echo 'Swift version 6.2 (swift-6.2-RELEASE)' ;;
        test*)
          printf 'what a test prints: \\0 \\377\\n'
          printf '✘ Test "adds" recorded an issue at Sums.swift:3:5: Expectation failed: "\\0" == 4\\n'
          printf '✘ Test "adds" failed after 0.1 seconds with 1 issue.\\n'
          printf '➜ Test "needs a network" skipped: "there is no network"\\n'
          printf '✘ Test run with 2 tests in 1 suite failed after 0.1 seconds with 1 issue.\\n'
          exit 1 ;;
      esac
      """)
    let output = try machine.run(name).expect(1)
    let shown = name == "test" ? output.standardOutput : output.standardError
    let summary = name == "test" ? try #require(shown.split(separator: "== Summary").last) : shown[...]
    #expect(summary.contains("recorded an issue at Sums.swift:3:5: Expectation failed"), "\(shown)")
    #expect(summary.contains("needs a network"))
    #expect(shown.contains("failed after 0.1 seconds"))
    guard name == "test" else { return }
    #expect(try summary.contains(Regex("FAILED +[0-9]+ s  unit and simulation tests")))
    #expect(summary.contains("Test run with 2 tests"))
    #expect(!summary.contains("\0"))
  }
}

/// A machine as far as the scripts see it: the commands on PATH are those of every system and stand-ins, each of which
/// notes the arguments of its calls.
private final class Machine {
  private let temporary = TemporaryDirectory()
  private var directory: URL { temporary.url }
  private var commands: URL { directory.appendingPathComponent("bin") }
  private static let everySystem = [
    "awk", "bash", "basename", "cat", "chmod", "comm", "cut", "date", "dirname", "env", "find", "grep", "head", "ls",
    "mkdir",
    "mktemp", "mv", "nproc", "paste", "readlink", "rm", "rmdir", "sed", "sh", "sort", "tail", "tee", "touch", "tr",
    "true",
    "wc",
  ]

  init(user: Int) throws {
    let root = Script.directory.deletingLastPathComponent()
    try FileManager.default.copyItem(at: Script.directory, to: directory.appendingPathComponent("Scripts"))
    for name in [".ci", "Deploy", "Package.swift", "Sources", "Tests"] {
      try FileManager.default.createSymbolicLink(
        at: directory.appendingPathComponent(name), withDestinationURL: root.appendingPathComponent(name))
    }
    try FileManager.default.createDirectory(at: commands, withIntermediateDirectories: false)
    for name in Self.everySystem {
      let places = ["/usr/bin/\(name)", "/bin/\(name)"]
      let path = try #require(places.first(where: FileManager.default.isExecutableFile(atPath:)), "\(name) is missing")
      try FileManager.default.createSymbolicLink(
        at: commands.appendingPathComponent(name), withDestinationURL: URL(fileURLWithPath: path))
    }
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

  /// Puts a command on PATH, or another in its place.
  func add(_ name: String, _ body: String) throws {
    let file = commands.appendingPathComponent(name)
    try "#!/bin/bash\nprintf '%s\\n' \"$*\" >>'\(directory.path)/\(name).calls'\n\(body)\n"
      .write(to: file, atomically: true, encoding: .utf8)
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: file.path)
  }

  func remove(_ name: String) throws { try FileManager.default.removeItem(at: commands.appendingPathComponent(name)) }

  /// The arguments of each call of a stand-in.
  func calls(of name: String) throws -> [String] {
    let file = directory.appendingPathComponent("\(name).calls")
    guard FileManager.default.fileExists(atPath: file.path) else { return [] }
    return try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map(String.init)
  }

  func run(_ name: String) throws -> Program.Output {
    try Script.run(name, [], at: directory.appendingPathComponent("Scripts"), environment: ["PATH": commands.path])
  }
}
