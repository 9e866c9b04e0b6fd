import ArgumentParser
import Checkpoints
import Diagnostics
import Files
import FoundationEssentials
import Glibc
import Messaging
import Optimization
import Reporting
import RunConfiguration

/// The command for users.
public struct DescentCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "descent",
    abstract: "Distributed minibatch SGD: softmax and SVM classifiers on CIFAR-10.",
    discussion: """
      Examples:
        descent train --data data/cifar10
        descent evaluate --checkpoint runs/latest --data data/cifar10 --split test

      Exit status: 0 done, 64 usage, 65 bad data, 66 missing input, 69 a peer is missing, 70 diverged, \
      73 cannot create, 74 input/output error, 75 stopped by a signal (resume with --resume must), \
      77 refused, 78 bad configuration, 79 fenced.

      An error is a line on standard error that begins with "descent: error: ". With --json it is one object on one line \
      instead: {"error": "…", "status": 65}.
      """,
    version: versionText,
    subcommands: [
      TrainCommand.self, EvaluateCommand.self, PredictCommand.self, InspectCommand.self, VerifyCommand.self,
      DataCommand.self, ConfigCommand.self, GradientCheckCommand.self, StatusCommand.self, RunsCommand.self,
      SimulateCommand.self, KeygenCommand.self,
    ])

  public init() {}
}

/// What `--version` prints: what has to agree between the processes of a run, and with its checkpoints.
let versionText = """
  descent \(DescentVersion.current)
  commit             \(DescentVersion.commit ?? "unknown")
  wire protocol      \(Envelope.protocolVersion)
  checkpoint format  \(CheckpointFile.formatVersion)
  kernels            \((try? selectedKernel())?.rawValue ?? "none")
  """

/// Entry point of every executable: nothing of ours runs before the environment is known to be sound.
public func runMain(_ command: (some ParsableCommand).Type, commit: String?) {
  DescentVersion.commit = commit
  signal(SIGPIPE, SIG_IGN)
  let arguments = Array(CommandLine.arguments.dropFirst())
  do {
    try requireUTF8()
    var parsed = try command.parseAsRoot(arguments == ["-V"] ? ["--version"] : arguments)
    try parsed.run()
  } catch let failure as Failure {
    report(failure)
    command.exit(withError: ExitCode(failure.status.rawValue))
  } catch {
    let message = command.message(for: error)
    guard command.exitCode(for: error) == .validationFailure, !message.isEmpty else { command.exit(withError: error) }
    let usage = command.fullMessage(for: error).split(separator: "\n").drop { !$0.hasPrefix("Usage:") }
    let text = hint(for: message, arguments, of: command) ?? message.prefix(1).lowercased() + message.dropFirst()
    report(Failure(.usage, text), usage: usage.joined(separator: "\n"))  // defence: usage
    command.exit(withError: ExitCode(ExitStatus.usage.rawValue))
  }
}

/// Swift repairs text that is not UTF-8, and a repaired path is that of another file.
///
/// - Throws: `usage` for an argument that is not UTF-8, `badConfiguration` for a variable.
private func requireUTF8() throws(Failure) {
  func escaped(_ text: UnsafePointer<CChar>) -> String? {
    if String(validatingCString: text) != nil { return nil }
    return UnsafeBufferPointer(start: text, count: strlen(text)).map { byte in
      (32..<127).contains(byte) ? String(UnicodeScalar(UInt8(byte))) : "\\x" + hexadecimal(UInt8(bitPattern: byte))
    }.joined()
  }
  let remedy = "Rename the file or directory, or reach it through a link"
  for index in 0..<Int(CommandLine.argc) {
    // defence: utf8 fails
    guard let argument = CommandLine.unsafeArgv[index], let text = escaped(argument) else { continue }
    throw Failure(.usage, "an argument must be UTF-8, but is \(text)", remedy: remedy)
  }
  var variable = environ
  while let text = variable.pointee {
    variable += 1
    guard strncmp(text, "DESCENT_", 8) == 0, let text = escaped(text) else { continue }
    throw Failure(.badConfiguration, "a variable must be UTF-8, but is \(text)", remedy: remedy)
  }
}

/// The message for an unknown option of a command that takes settings, with what was probably meant; otherwise nil.
private func hint(
  for message: String, _ arguments: [String], of root: any ParsableCommand.Type
) -> String? {
  guard let match = message.firstMatch(of: /^Unknown option '(--?[^'=]+)'(?:. Did you mean '(.*)'\?)?$/) else {
    return nil
  }
  let (option, suggestion) = (String(match.1), match.2.map(String.init))
  var command = root
  for argument in arguments {
    guard let next = command.configuration.subcommands.first(where: { $0.configuration.commandName == argument })
    else { break }
    command = next
  }
  guard root.helpMessage(for: command).contains(SettingTable.rows.learningRate.definition.flagName) else { return nil }
  let hint = SettingTable.hint(for: option, others: suggestion.map { [$0] } ?? []) { $0.flagName }
  return "unknown option '\(option)'" + (hint.map { ". \($0)" } ?? "")
}

/// Writes an error to standard error: as a line, or as an object where the command line asks for JSON.
func report(_ failure: Failure, usage: String = "") {
  if CommandLine.arguments.contains(where: { ["--json", "--json-errors"].contains($0) }) {
    let object: JSONValue = ["error": .string(failure.description), "status": .number(failure.status.rawValue)]
    StandardError.write(object.compactText + "\n")
  } else {
    StandardError.write("descent: error: \(failure)\n" + (usage.isEmpty ? "" : usage + "\n"))
  }
}

/// The kernels that DESCENT_KERNEL names, otherwise the best this processor has.
func selectedKernel() throws(Failure) -> KernelVariant {
  try KernelVariant(environment: ProcessInfo.processInfo.environment)
}

/// A subcommand, whose failures are reported.
protocol Subcommand: ParsableCommand {
  func perform() throws
}

extension Subcommand {
  func run() throws { try reportingFailures(perform) }
}

/// Runs the body of a command; a `Failure` becomes its message on standard error and its exit status.
func reportingFailures(_ body: () throws -> Void) throws {
  do {
    _ = try selectedKernel()
    try body()
    guard fflush(nil) == 0 else {
      throw Failure.cannot("write the result to standard output", status: .inputOutput)
    }
  } catch let failure as Failure {
    report(failure)
    throw ExitCode(failure.status.rawValue)
  }
}
