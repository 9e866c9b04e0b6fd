import ArgumentParser
import Diagnostics
import Files
import FoundationEssentials
import NodeRuntime
import RunConfiguration

struct DoctorCommand: Subcommand {
  enum Selection: SettingSelection {
    static let names = ["run-dir", "keys"]
  }

  static let configuration = CommandConfiguration(
    commandName: "doctor", abstract: "Check this machine, and train what is known to give the same weights on each.",
    discussion: """
      Examples:
        descent doctor
        descent doctor --run-dir /mnt/share/runs/mine --keys keys --json

      Looks at the processor and its kernels, processors, large pages, limits, memory, clocks, the file system of the run \
      directory, sockets, ports, shared memory, keys and versions; then trains 100 steps on synthetic data without workers, \
      with one and with three, and compares the weights with those that are known. A line is ok, a warning (runs work, but \
      more slowly or less conveniently) or an error, and says what to do. Takes a few seconds, and leaves nothing behind.

      Exit status: 0 no error, otherwise that of the first error: 70 training failed or gave other weights, 73 the run \
      directory cannot be used, 78 a limit is too low or keys are wrong; 75 stopped by a signal.
      """)

  @OptionGroup var flags: SettingFlags<Selection>
  @Flag(help: "Check, and train nothing.") var quick = false
  @Flag(help: "Print one JSON object.") var json = false

  func perform() throws {
    // Before there is a second thread.
    let processes = try RunProcesses()
    let environment = ProcessInfo.processInfo.environment
    let settings = try ResolvedSettings.resolve(
      only: Selection.names, environment: environment, flags: flags.given, warn: json ? { _ in } : warn)
    var report = DoctorReport(isJSON: json)
    for finding in MachineChecks.all(environment: environment, kernel: try selectedKernel()) { report.add(finding) }
    let places = PlaceChecks(runDirectory: settings.runDirectory, keys: settings.keys)
    for finding in places.all() { report.add(finding) }
    if !quick { train(near: places.directory, environment, processes, &report) }
    report.finish()
    if report.status != .success { throw ExitCode(report.status.rawValue) }
  }

  /// Beside the runs where that is possible, so that their file system is used as well.
  private func train(
    near directory: String, _ environment: [String: String], _ processes: RunProcesses, _ report: inout DoctorReport
  ) {
    var training: ReferenceTraining?
    var failure: Failure?
    for place in [directory, environment["TMPDIR"], "/tmp"].compactMap(\.self) where training == nil {
      do throws(Failure) {
        training = try ReferenceTraining(in: FileSystem().temporaryPath(for: "\(place)/doctor"))
      } catch {
        failure = failure ?? error
      }
    }
    guard let training else {
      if let failure { report.add(Finding("training") { () throws(Failure) in throw failure }) }
      return
    }
    defer { training.remove() }
    var isInterrupted = false
    for workers in ReferenceTraining.workers where !isInterrupted {
      report.add(training.train(workers: workers, processes, isInterrupted: &isInterrupted))
    }
  }
}

/// The findings, printed as they come, or together as JSON.
private struct DoctorReport {
  let isJSON: Bool
  private var findings: [Finding] = []

  init(isJSON: Bool) { self.isJSON = isJSON }

  /// That of the first error.
  var status: ExitStatus { findings.first { $0.verdict == .error }?.status ?? .success }

  mutating func add(_ finding: Finding) {
    findings.append(finding)
    if !isJSON { print(finding.text, terminator: "") }
  }

  func finish() {
    let errors = findings.count { $0.verdict == .error }
    let warnings = findings.count { $0.verdict == .warning }
    if isJSON {
      let verdict = errors > 0 ? Finding.Verdict.error : warnings > 0 ? .warning : .ok
      let object: JSONValue = [
        "verdict": .string(verdict.rawValue), "status": .number(status.rawValue), "errors": .number(errors),
        "warnings": .number(warnings), "findings": .array(findings.map(\.json)),
      ]
      print(object.indentedText, terminator: "")
    } else {
      func count(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }
      print(
        errors + warnings == 0
          ? "\nEverything is fine." : "\n\(count(errors, "error")), \(count(warnings, "warning"))")
    }
  }
}
