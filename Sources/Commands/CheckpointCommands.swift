import ArgumentParser
import Checkpoints
import Diagnostics

struct InspectCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect", abstract: "Show what a checkpoint holds.",
    discussion: """
      Examples:
        descent inspect runs/latest
        descent inspect runs/latest@best
        descent inspect model.safetensors --json
      """)

  @Argument(
    help: "A run directory, RUN@best, RUN@latest, RUN@STEP, a checkpoint, or a .safetensors file.", completion: .file())
  var path: String
  @Flag(help: "Print JSON.") var json = false

  func perform() throws {
    let report = try CheckpointReport(of: path)
    print(json ? report.json : report.text, terminator: "")
  }
}

struct VerifyCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "verify", abstract: "Check every byte of a checkpoint against its manifest.",
    discussion: """
      Examples:
        descent verify runs/latest
        descent verify runs/latest/checkpoints/step-000000000200 --json

      Exit status: 0 all is well, 65 something is damaged or foreign, 66 nothing is there.
      """)

  @Argument(
    help: "A run directory (all its checkpoints), RUN@best, RUN@latest, RUN@STEP, a checkpoint, or a file.",
    completion: .file())
  var path: String
  @Flag(help: "Print JSON.") var json = false

  func perform() throws {
    let report = try VerificationReport(of: path)
    print(json ? report.json : report.text, terminator: "")
    if let failure = report.firstFailure { throw failure }
  }
}
