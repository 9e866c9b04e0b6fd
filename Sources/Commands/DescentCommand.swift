import ArgumentParser
import Diagnostics
import Files
import FoundationEssentials
import Glibc
import Optimization
import Reporting

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
      """,
    subcommands: [
      TrainCommand.self, EvaluateCommand.self, PredictCommand.self, InspectCommand.self, VerifyCommand.self,
      DataCommand.self, ConfigCommand.self, GradientCheckCommand.self, StatusCommand.self, RunsCommand.self,
      SimulateCommand.self, KeygenCommand.self,
    ])

  public init() {}
}

/// Entry point of every executable: nothing of ours runs before the environment is known to be sound.
public func runMain(_ command: (some ParsableCommand).Type) {
  signal(SIGPIPE, SIG_IGN)
  command.main()  // defence: usage
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
    StandardError.write("descent: error: \(failure)\n")
    throw ExitCode(failure.status.rawValue)
  }
}
