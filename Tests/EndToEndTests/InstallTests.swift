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
    #expect(output.standardError.contains("Swift 6.2 or later is required; PATH has none."))
    #expect(output.standardError.contains("curl or wget is required, but neither is installed"))
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
    #expect(output.standardError.contains("Swift 6.2 or later is required"))
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
  func `a toolchain that does not start is shown with its own words`() throws {
    let machine = try Machine(user: 0)
    try machine.add("swift", "echo 'error while loading shared libraries: libodd.so.1' >&2; exit 127")
    let broken = try machine.run("test").expect(69)
    #expect(broken.standardError.contains("swift does not start: error while loading shared libraries: libodd.so.1"))
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
