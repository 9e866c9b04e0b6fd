import ArgumentParser
import Diagnostics
import Files
import NodeRuntime
import Reporting

struct TraceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trace", abstract: "Show where the time of recorded steps goes.",
    discussion: """
      Examples:
        descent train --data data/cifar10 --run-dir runs/mine --trace-steps 101..200
        descent trace runs/mine --output trace.json
        descent trace summary runs/mine

      A directory with the name of a subcommand: ./summary.
      """, subcommands: [TraceMergeCommand.self, TraceSummaryCommand.self], defaultSubcommand: TraceMergeCommand.self)
}

struct TraceMergeCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "merge", abstract: "Merge the traces of all processes of a run into one for ui.perfetto.dev.",
    discussion: """
      Examples:
        descent trace merge runs/mine --output trace.json
        descent trace merge runs/mine | gzip > trace.json.gz

      The JSON of Chrome's trace viewer, which Perfetto and chrome://tracing open: a process for each process of the run, a \
      thread for each of its tracks, and an arrow from each push to the update that applied it. All times are on the clock \
      of the server. What is added to the times of another host, and by how much that may be off, is in otherData.
      """)

  @Argument(help: "The directory of a run that was trained with --trace-steps.", completion: .directory) var run: String
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("Write the trace to this file; default: standard output.", valueName: "path"),
    completion: .file(extensions: ["json"]))
  var output: String?

  func perform() throws {
    let timeline = try TraceTimeline(ofRun: RunPaths(directory: run).directory)
    timeline.remarks.forEach(warn)
    let trace = timeline.chromeTrace
    guard let output else { return print(String(decoding: trace, as: UTF8.self), terminator: "") }
    try FileSystem().replace(output, with: trace)
  }
}

struct TraceSummaryCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "summary", abstract: "Show the share of each phase, and which worker the others waited for.",
    discussion: """
      Examples:
        descent trace summary runs/mine
        descent trace summary runs/mine --json

      Of each phase of a role: its spans, their median, and its share of the time of all phases of the role. A step waits for \
      the worker that pushes last; counted are the steps that several workers contributed to.
      """)

  @Argument(help: "The directory of a run that was trained with --trace-steps.", completion: .directory) var run: String
  @Flag(help: "Print one JSON object.") var json = false

  func perform() throws {
    let summary = TraceSummary(try TraceTimeline(ofRun: RunPaths(directory: run).directory))
    if !json { summary.remarks.forEach(warn) }
    print(json ? summary.json : summary.text, terminator: "")
  }
}
