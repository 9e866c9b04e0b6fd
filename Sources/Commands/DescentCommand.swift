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
    abstract: "Distributed minibatch SGD: linear classifiers and small networks on CIFAR-10 and other images.",
    discussion: """
      Examples:
        descent train --data data/cifar10
        descent evaluate --checkpoint runs/latest --data data/cifar10 --split test

      Exit status: \(ExitStatus.allCases.map { "\($0.rawValue) \($0.phrase)" }.joined(separator: ", ")).

      Environment: \(ProgramVariable.all.map { "\($0.name): \($0.meaning)" }.joined(separator: "; ")).

      An error is a line on standard error that begins with "descent: error: ". With --json it is one object on one line \
      instead: {"error": "…", "status": 65}.
      """,
    version: versionText, subcommands: [WriteHelpCommand.self],
    groupedSubcommands: [
      CommandGroup(
        name: "Training",
        subcommands: [
          TrainCommand.self, JoinCommand.self, SweepCommand.self, ConfigCommand.self, KeygenCommand.self,
        ]),
      CommandGroup(
        name: "Runs",
        subcommands: [
          StatusCommand.self, RunsCommand.self, DashboardCommand.self, CompareCommand.self, ReportCommand.self,
          TraceCommand.self,
        ]),
      CommandGroup(
        name: "Model",
        subcommands: [
          EvaluateCommand.self, PredictCommand.self, TemplatesCommand.self, ExplainCommand.self, MistakesCommand.self,
          InspectCommand.self, VerifyCommand.self, ExportCommand.self,
        ]),
      CommandGroup(
        name: "Experiment",
        subcommands: [
          NeighborsCommand.self, RandomSearchCommand.self, FollowSlopeCommand.self, StepSizesCommand.self,
          LossSurfaceCommand.self, HardCasesCommand.self, PlaneCommand.self, ErrorDecompositionCommand.self,
          LectureCommand.self,
        ]),
      CommandGroup(
        name: "Data and checking",
        subcommands: [DataCommand.self, DoctorCommand.self, GradientCheckCommand.self, SimulateCommand.self]),
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
  StandardStreams.occupy()
  SystemLimits.limitArenas()
  DescentVersion.commit = commit
  // A peer or reader that went away, and a file that may not grow, are errors of the calls that meet them.
  signal(SIGPIPE, SIG_IGN)
  signal(SIGXFSZ, SIG_IGN)  // defence: large-files
  let arguments = CommandLine.arguments.dropFirst().map(expandingHome)
  do {
    try SystemLimits.requireStack()
    guard !CommandLine.arguments.isEmpty else {
      // Swift reads the arguments there.
      throw Failure(.badConfiguration, "cannot read /proc/self/cmdline", remedy: "Mount /proc")
    }
    try requireUTF8()
    var parsed = try command.parseAsRoot(arguments == ["-V"] ? ["--version"] : arguments)
    try parsed.run()
  } catch let failure as Failure {
    report(failure)
    command.exit(withError: ExitCode(failure.status.rawValue))
  } catch {
    let message = command.message(for: error)
    if command.exitCode(for: error).isSuccess {
      if !message.isEmpty { print(message) }
      exit(statusOfOutput(after: 0))
    }
    guard command.exitCode(for: error) == .validationFailure, !message.isEmpty else { command.exit(withError: error) }
    let usage = command.fullMessage(for: error).split(separator: "\n").drop { !$0.hasPrefix("Usage:") }
    let text =
      dashHint(arguments) ?? hint(for: message, arguments, of: command)
      ?? message.prefix(1).lowercased() + message.dropFirst()
    report(Failure(.usage, text), usage: usage.joined(separator: "\n"))  // defence: usage
    command.exit(withError: ExitCode(ExitStatus.usage.rawValue))
  }
}

/// A path that no shell has expanded: behind the `=` of an option, or in the arguments that a service or container starts with.
private func expandingHome(_ argument: String) -> String {
  // defence: home-in-flags
  let environment = ProcessInfo.processInfo.environment
  if argument.hasPrefix("~") { return RunConfiguration.expandingHome(argument, environment) ?? argument }
  guard let match = argument.wholeMatch(of: /(--[a-z0-9-]+=)(~.*)/.dotMatchesNewlines()) else { return argument }
  return match.1 + (RunConfiguration.expandingHome(String(match.2), environment) ?? String(match.2))
}

/// The message for an option behind a dash of print, as documents and chats make it of `--`; otherwise nil.
private func dashHint(_ arguments: [String]) -> String? {
  // defence: dashes
  for argument in arguments {
    let option = argument.drop {
      $0.unicodeScalars.first?.properties.generalCategory == .dashPunctuation || $0 == "\u{2212}"
    }
    guard option.startIndex > argument.startIndex, let dash = argument.unicodeScalars.first(where: { !$0.isASCII }),
      argument.unicodeScalars.firstIndex(of: dash).map({ $0 < option.startIndex }) ?? false
    else { continue }
    return "`\(argument)` begins with \(dash.codePointName). Did you mean `--\(option)`?"
  }
  return nil
}

/// With escapes for bytes that are not ASCII; nil for a name in UTF-8.
func escapedName(_ name: UnsafePointer<CChar>) -> String? {
  if String(validatingCString: name) != nil { return nil }
  return UnsafeBufferPointer(start: name, count: strlen(name)).map { byte in
    (32..<127).contains(byte) ? String(UnicodeScalar(UInt8(byte))) : "\\x" + hexadecimal(UInt8(bitPattern: byte))
  }.joined()
}

/// Swift repairs text that is not UTF-8, and a repaired path is that of another file.
///
/// - Throws: `usage` for an argument that is not UTF-8, `badConfiguration` for a variable.
private func requireUTF8() throws(Failure) {
  /// `descent predict` opens pictures by their bytes.
  func isPicture(_ argument: UnsafePointer<CChar>) -> Bool {
    CommandLine.argc > 1 && CommandLine.unsafeArgv[1].map { strcmp($0, "predict") } == 0
      && argument.pointee != CChar(UInt8(ascii: "-"))
  }
  let remedy = "Rename the file or directory, or reach it through a link"
  for index in 0..<Int(CommandLine.argc) {
    // defence: utf8 fails
    guard let argument = CommandLine.unsafeArgv[index], let text = escapedName(argument),
      !isPicture(argument)
    else { continue }
    throw Failure(.usage, "an argument must be UTF-8, but is \(text)", remedy: remedy)
  }
  var variable = environ
  while let text = variable.pointee {
    variable += 1
    guard strncmp(text, "DESCENT_", 8) == 0, let text = escapedName(text) else { continue }
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
  var failure = failure
  if [.missingInput, .cannotCreate].contains(failure.status), getcwd(nil, 0) == nil {  // defence: removed-directory
    // Every relative path fails then.
    let cause = "The working directory has been removed: change to another one"
    failure.remedy = failure.remedy.map { "\($0). \(cause)" } ?? cause
  }
  if CommandLine.arguments.contains(where: { ["--json", "--json-errors"].contains($0) }) {
    let object: JSONValue = ["error": .string(failure.description), "status": .number(failure.status.rawValue)]
    StandardError.write(object.compactText + "\n")
  } else {
    StandardError.write(message: "descent: error: \(failure)" + (usage.isEmpty ? "" : "\n" + usage))
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

/// Writes to standard output, in the place of Swift's function: that one does not report what it could not write, and
/// loses text where the stream does not block.
func print(_ text: String, terminator: String = "\n") { StandardOutput.write(text + terminator) }

/// The exit status of a command that would end with `status`, once its output is taken into account. A reader that has
/// enough, such as `head`, ends the command as SIGPIPE would, without a word.
private func statusOfOutput(after status: Int32) -> Int32 {
  if let failure = StandardOutput.failure {
    report(failure)
    return status == 0 ? failure.status.rawValue : status
  }
  return status == 0 && StandardOutput.hasNoReader ? 128 + SIGPIPE : status
}

/// Runs the body of a command; a `Failure` becomes its message on standard error and its exit status.
func reportingFailures(_ body: () throws -> Void) throws {
  var status: Int32 = 0
  do {
    _ = try selectedKernel()
    try body()
  } catch let failure as Failure {
    report(failure)
    status = failure.status.rawValue
  } catch let code as ExitCode {
    status = code.rawValue
  }
  status = statusOfOutput(after: status)
  if status != 0 { throw ExitCode(status) }
}
