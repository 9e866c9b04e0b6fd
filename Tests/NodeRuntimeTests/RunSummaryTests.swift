import Diagnostics
import Files
import FoundationEssentials
import Messaging
import NodeRuntime
import Optimization
import Reporting
import TestSupport
import Testing

// Testing has one as well.
import enum Diagnostics.ExitStatus

@Suite struct RunSummaryTests {
  private let directory = TemporaryDirectory()

  /// A run of that name in a directory of the same name.
  private func write(_ name: String, startedAt seconds: Int64, workers: String = "2") throws -> RunFileWriter {
    try FileSystem().makeDirectories("\(directory.path)/\(name)")
    let start = RunFile.Start(
      command: ["descent"], time: UTCTime(microseconds: seconds * 1_000_000), host: "host", pid: 41, resumedFrom: nil)
    var file = RunFile(run: name, seed: 1, datasetFingerprint: 2, start: start)
    file.settings = ["workers": .number(workers), "loss": .string("svm")]
    return try RunFileWriter(file, path: paths(name).runFile, isResumed: false)
  }

  private func paths(_ name: String) -> RunPaths { RunPaths(directory: "\(directory.path)/\(name)") }

  private func end(_ writer: RunFileWriter, _ status: ExitStatus) throws {
    let result = RunResult(run: "", runDirectory: "", stopReason: status == .success ? .epochs : .signal)
    try writer.finished(result, ExitReason(status: status, reason: "the end"))
  }

  @Test func `a run that says it is running is crashed if no process holds its lock`() throws {
    _ = try write("a", startedAt: 1)
    try FileSystem().replace(
      paths("a").metrics, with: #"{"step":20,"train_data_loss":1.5,"validation_accuracy":0.25}"# + "\n" + #"{"step":3"#)
    let summary = try RunSummary(of: paths("a"))
    #expect(summary.state == .crashed)
    #expect(summary.step == 20 && summary.trainDataLoss == 1.5 && summary.validationAccuracy == 0.25)
    #expect(summary.lastWritten != nil)
    #expect(summary.setting("loss") == .string("svm"))
    try FileSystem().makeDirectories(paths("a").checkpoints)
    try FileSystem().makeSymbolicLink("\(paths("a").checkpoints)/latest", target: "step-000000000040")
    #expect(try RunSummary(of: paths("a")).step == 40)
  }

  @Test func `a process that holds the lock is starting, or the sequential trainer`() throws {
    _ = try write("a", startedAt: 1)
    _ = try write("b", startedAt: 1, workers: "0")
    let locks = try [paths("a").lockDirectory(), paths("b").lockDirectory()]
    #expect(try RunSummary(of: paths("a")).state == .starting)
    #expect(try RunSummary(of: paths("b")).state == .running)
    #expect(try RunSummary(of: paths("b")).state.exitCode == 0)
    withExtendedLifetime(locks) {}
  }

  @Test func `runs are listed by their start, foreign directories passed over, damaged runs named`() throws {
    try end(write("z-first", startedAt: 1), .success)
    try end(write("a-second", startedAt: 2), .stoppedBySignal)
    try end(write("c-third", startedAt: 3), .inputOutput)
    try FileSystem().makeSymbolicLink("\(directory.path)/latest", target: "z-first")
    try FileSystem().makeDirectories("\(directory.path)/foreign")
    try FileSystem().replace("\(directory.path)/file", with: "text")
    try FileSystem().makeDirectories("\(directory.path)/damaged")
    try FileSystem().replace(paths("damaged").runFile, with: "{")
    let runs = try RunSummary.all(in: directory.path)
    #expect(runs.map { $0.run ?? "-" } == ["-", "z-first", "a-second", "c-third"])
    #expect(runs.map(\.state) == [.damaged, .finished, .interrupted, .failed])
    #expect(runs.map(\.state.exitCode) == [65, 3, 75, 70])
    #expect(runs[0].problem?.contains("damaged/run.json") == true)
    #expect(runs.compactMap(\.ended?.reason) == [.epochs, .signal, .inputOutput])
  }

  @Test func `a directory without a run is missing input`() {
    let failure = #expect(throws: Failure.self) { try RunSummary(of: RunPaths(directory: directory.path)) }
    #expect(failure?.status == .missingInput)
  }
}
