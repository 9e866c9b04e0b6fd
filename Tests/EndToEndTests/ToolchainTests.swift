import Foundation
import TestSupport
import Testing

/// From nothing: the Swift toolchain that the scripts install, from a mirror with a stand-in of it, and the data set.
@Suite("Scripts without Swift")
struct ToolchainTests {
  let mirror = Mirror()
  let machine: Machine

  init() throws {
    machine = try Machine(user: 0)
    try machine.link("curl")
    try mirror.makeArchive(with: machine)
  }

  @Test
  func `train-local.sh installs the toolchain in a directory of its own, builds with it, and keeps it`() throws {
    let output = try machine.run("train-local", ["--data", "here"], environment: mirror.environment).expect(0)
    #expect(output.standardOutput == "train --data here\n")
    #expect(output.standardError.contains("Swift 6.2 or later is required; PATH has none."))
    #expect(output.standardError.contains("Verified: SHA-256, not the signature: gpg is not installed."))
    #expect(try installed == [Mirror.name])
    // The second time neither the mirror nor the checksum is needed.
    try FileManager.default.removeItem(at: machine.directory.appendingPathComponent(".build"))
    try FileManager.default.removeItem(at: mirror.directory)
    let second = try machine.run(
      "train-local", ["--data", "here"], environment: ["DESCENT_SWIFT_PLATFORM": "debian12"]
    ).expect(0)
    #expect(second.standardOutput == "train --data here\n")
    #expect(!second.standardError.contains("Downloading"))
  }

  @Test
  func `an older Swift on PATH stays there and is not used`() throws {
    try machine.add("swift", "echo 'Swift version 5.10 (swift-5.10-RELEASE)'")
    let output = try machine.run("train-local", ["--data", "here"], environment: mirror.environment).expect(0)
    #expect(output.standardError.contains("Swift 6.2 or later is required; PATH has 5.10."))
    #expect(output.standardOutput == "train --data here\n")
    #expect(try !machine.calls(of: "swift").contains { $0.contains("configuration release") })
  }

  @Test
  func `the signature is verified where gpg is installed, and only that of the pinned key is accepted`() throws {
    try mirror.write("signature", to: mirror.archive + ".sig")
    try mirror.write("key", to: "keys/release-key-swift-6.x.asc")
    let answer = "[[ $* != *--verify* ]] || echo '[GNUPG:] VALIDSIG"
    try machine.add("gpg", "\(answer) \(String(repeating: "0", count: 40)) 2026-04-15'")
    let refused = try fetch().expect(65)
    #expect(refused.standardError.contains("is not signed by the key 52BB7E3DE28A71BE22EC05FFEF80A866B47A981F"))
    #expect(try installed.allSatisfy { $0.hasSuffix(".download") })
    try machine.add("gpg", "\(answer) 52BB7E3DE28A71BE22EC05FFEF80A866B47A981F 2026-04-15'")
    #expect(try fetch().expect(0).standardError.contains("Verified: SHA-256 and the signature of swift.org."))
    #expect(try installed == [Mirror.name])
  }

  @Test
  func `an archive with another checksum is removed, and nothing is installed`() throws {
    let output = try fetch(["DESCENT_SWIFT_SHA256": ""]).expect(65)
    #expect(output.standardError.contains("has the wrong checksum and was removed"))
    #expect(output.standardOutput.isEmpty)
    let kept = try FileManager.default.subpathsOfDirectory(atPath: toolchains.path).filter { $0.hasSuffix(".gz") }
    #expect(kept.isEmpty)
  }

  @Test
  func `an interrupted download continues, and a second process waits for the first`() throws {
    let work = toolchains.appendingPathComponent(Mirror.name + ".download")
    try FileManager.default.createDirectory(at: work, withIntermediateDirectories: true)
    let whole = try Data(contentsOf: mirror.directory.appendingPathComponent(mirror.archive))
    try whole.dropLast(100).write(to: work.appendingPathComponent(Mirror.name + ".tar.gz"))
    // Holds the lock until the script says that it waits.
    let holder = Process()
    holder.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    holder.arguments = ["flock", work.path + "/lock", "sleep", "2"]
    try holder.run()
    defer { holder.waitUntilExit() }
    try waitUntil("the lock is held") { FileManager.default.fileExists(atPath: work.path + "/lock") }
    let output = try fetch().expect(0)
    #expect(output.standardError.contains("waiting for it"))
    #expect(!output.standardError.contains("starting again"))
    #expect(try installed == [Mirror.name])
  }

  @Test
  func `without a network the address, the mirror and the manual way are named`() throws {
    let output = try fetch(["DESCENT_SWIFT_MIRROR": "http://127.0.0.1:1"]).expect(69)
    #expect(output.standardError.contains("cannot download http://127.0.0.1:1/swift-6.3.1-release/debian12"))
    for advice in ["DESCENT_SWIFT_MIRROR=URL", "https://www.swift.org/install/linux/", "run this again"] {
      #expect(output.standardError.contains(advice))
    }
    let other = try fetch(["DESCENT_SWIFT_PLATFORM": "plan9", "DESCENT_SWIFT_SHA256": ""]).expect(69)
    #expect(other.standardError.contains("there is no official Swift 6.3.1 for plan9"))
  }

  @Test
  func `the data set is fetched once, and train-local.sh, benchmark.sh and the tests find it there`() throws {
    let source = mirror.directory.appendingPathComponent("cifar-10-batches-bin")
    try FileManager.default.createDirectory(at: source, withIntermediateDirectories: true)
    for name in (1...5).map({ "data_batch_\($0).bin" }) + ["test_batch.bin"] {
      let file = source.appendingPathComponent(name)
      try Data().write(to: file)
      // All zero, and stored in no blocks.
      try FileHandle(forWritingTo: file).truncate(atOffset: 30_730_000)
    }
    let archive = mirror.directory.path + "/cifar10.tar.gz"
    try run(["tar", "-C", mirror.directory.path, "-czf", archive, "cifar-10-batches-bin"])
    var environment = mirror.environment
    environment["DESCENT_CIFAR10_URL"] = "file://" + archive
    environment["DESCENT_CIFAR10_SHA256"] = try mirror.sha256(archive)
    let data = machine.directory.path + "/data/cifar10"
    let output = try machine.run("train-local", environment: environment).expect(0)
    #expect(output.standardOutput == "train --data \(data)\n")
    #expect(output.standardError.contains("Downloading CIFAR-10"))
    environment["DESCENT_CIFAR10_URL"] = nil
    let second = try machine.run("train-local", ["--quiet"], environment: environment).expect(0)
    #expect(second.standardOutput == "train --data \(data) --quiet\n")
    #expect(!second.standardError.contains("Downloading"))
    #expect(try machine.run("benchmark", environment: environment).expect(0).standardOutput == "benchmark \(data)\n")
    environment["DESCENT_DATA"] = "elsewhere"
    let elsewhere = try machine.run("benchmark", environment: environment).expect(0)
    #expect(elsewhere.standardOutput == "benchmark \(machine.directory.path)/elsewhere\n")
  }

  @Test
  func `where the checkout cannot be written, the flags that help are named`() throws {
    // As root every directory can be written: a file stands where the directory should be.
    try Data().write(to: machine.directory.appendingPathComponent("data"))
    let output = try machine.run("train-local", environment: mirror.environment).expect(73)
    #expect(
      output.standardError.contains("cannot write to \(machine.directory.path)/data/cifar10.download: Not a directory"))
    #expect(output.standardError.contains("--data DIR, and the directory of the run with --run-dir DIR."))
    try FileManager.default.removeItem(at: machine.directory.appendingPathComponent(".build"))
    try Data().write(to: machine.directory.appendingPathComponent(".build"))
    let build = try machine.run("train-local", environment: mirror.environment).expect(73)
    #expect(build.standardError.contains("cannot write to \(machine.directory.path)/.build: "))
  }

  private var toolchains: URL { machine.directory.appendingPathComponent("share/descent") }

  private var installed: [String] {
    get throws { try FileManager.default.contentsOfDirectory(atPath: toolchains.path) }
  }

  private func fetch(_ environment: [String: String] = [:]) throws -> Program.Output {
    try machine.run("fetch-swift", environment: mirror.environment.merging(environment) { $1 })
  }
}

/// A mirror of swift.org with a toolchain that builds programs which print their arguments.
struct Mirror {
  static let name = "swift-6.3.1-RELEASE-" + platform
  #if arch(arm64)
    private static let platform = "debian12-aarch64"
  #else
    private static let platform = "debian12"
  #endif
  private let temporary = TemporaryDirectory()
  var directory: URL { temporary.url.appendingPathComponent("mirror") }
  let archive = "swift-6.3.1-release/\(platform)/swift-6.3.1-RELEASE/\(name).tar.gz"

  var environment: [String: String] {
    [
      "DESCENT_SWIFT_MIRROR": "file://" + directory.path, "DESCENT_SWIFT_PLATFORM": "debian12",
      "DESCENT_SWIFT_SHA256": (try? sha256(directory.path + "/" + archive)) ?? "none",
    ]
  }

  func makeArchive(with machine: Machine) throws {
    let swift = temporary.url.appendingPathComponent("\(Self.name)/usr/bin/swift")
    try machine.write(
      """
      #!/bin/bash
      case $* in
        --version) echo 'Swift version 6.3.1 (swift-6.3.1-RELEASE)' ;;
        *'--configuration release'*)
          programs='\(machine.directory.path)/.build/release'
          mkdir -p "$programs"
          for name in descent descent-coordinator descent-server descent-worker; do
            printf '#!/bin/sh\\necho "$@"\\n' >"$programs/$name"
          done
          printf '#!/bin/sh\\necho benchmark "$DESCENT_DATA"\\n' >"$programs/descent-benchmark"
          chmod +x "$programs"/* ;;
      esac
      """, to: swift)
    try write("", to: archive)
    try run(["tar", "-C", temporary.url.path, "-czf", directory.path + "/" + archive, Self.name])
  }

  func write(_ text: String, to path: String) throws {
    let file = directory.appendingPathComponent(path)
    try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try text.write(to: file, atomically: true, encoding: .utf8)
  }

  func sha256(_ path: String) throws -> String { String(try run(["sha256sum", path]).prefix(64)) }
}

/// Runs a command of this system and returns what it prints.
@discardableResult
private func run(_ arguments: [String]) throws -> String {
  let process = Process()
  let pipe = Pipe()
  process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
  process.arguments = arguments
  process.standardOutput = pipe
  try process.run()
  let output = pipe.fileHandleForReading.readDataToEndOfFile()
  process.waitUntilExit()
  try #require(process.terminationStatus == 0, "\(arguments)")
  return String(decoding: output, as: UTF8.self)
}
