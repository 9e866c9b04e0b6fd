import Diagnostics
import Files

/// The traces of the newest start of a run, on the clock of its server.
package struct TraceTimeline: Sendable {
  package struct Process: Sendable {
    package var heading: TraceFile.Heading
    /// In the order of time, without overlap.
    package var tracks: [(name: String, spans: [TraceSpan])]
    package var offset: ClockOffset
  }

  /// The coordinator, the servers, the workers; each role by name and time.
  package private(set) var processes: [Process] = []
  /// Files of earlier starts of the run, which are left out.
  package private(set) var earlierFiles = 0
  /// Spans of steps that were lost with a server and trained again, which are left out.
  package private(set) var abandonedSpans = 0
  /// Spans that did not fit the memory of their process.
  package var lostSpans: Int { processes.reduce(0) { $0 + $1.heading.lost } }

  /// The directory of the traces of a run.
  package static func directory(of run: String) -> String { "\(run)/traces" }

  /// Reads the traces of a run.
  ///
  /// - Parameter run: its directory.
  /// - Throws: `missingInput` when there are none, otherwise what `TraceFile` does.
  package init(ofRun run: String) throws(Failure) {
    let directory = Self.directory(of: run)
    let remedy = "Record some steps: descent train --trace-steps 1..100"
    guard FileSystem().exists(run) else { throw Failure(.missingInput, "there is no run at \(run)") }
    guard FileSystem().exists(directory) else {
      throw Failure(.missingInput, "\(run) has no traces", remedy: remedy)
    }
    let names = try FileSystem().entries(of: directory).filter { $0.hasSuffix(TraceFile.suffix) && !$0.hasPrefix(".") }
    guard !names.isEmpty else { throw Failure(.missingInput, "\(directory) has no traces", remedy: remedy) }
    self.init(
      try names.sorted().map { (name) throws(Failure) in try TraceFile(readingFrom: "\(directory)/\(name)") })
  }

  /// Of all files, those of the newest start: a start is a coordinator, with all that joined it. What an earlier one had
  /// recorded after the checkpoint that this one resumed from is no longer the history of the weights.
  package init(_ files: [TraceFile]) {
    let newest = files.map(\.heading).max { ($0.began, $0.incarnation) < ($1.began, $1.incarnation) }
    let current = files.filter { $0.heading.coordinator == newest?.coordinator }
    earlierFiles = files.count - current.count
    let clocks = TraceClocks(current)
    let ofClock = Dictionary(grouping: current, by: \.heading.clock)
    let offsets = ofClock.mapValues { clocks.offset(of: $0) }
    processes = current.map { file in
      let offset = offsets[file.heading.clock] ?? .none
      let tracks = file.tracks.map { track in
        (
          track.name,
          track.spans.map { span in
            TraceSpan(
              span.phase, step: span.step, from: span.begin + offset.nanoseconds, to: span.end + offset.nanoseconds,
              item: span.item, peer: span.peer)
          }
        )
      }
      return Process(heading: file.heading, tracks: tracks, offset: offset)
    }
    let roles = ["coordinator", "train", "server", "worker"]
    processes.sort { first, second in
      let ranks = [first, second].map { roles.firstIndex(of: $0.heading.role) ?? roles.count }
      if ranks[0] != ranks[1] { return ranks[0] < ranks[1] }
      return (first.heading.process, first.heading.began, first.heading.incarnation)
        < (second.heading.process, second.heading.began, second.heading.incarnation)
    }
    removeAbandonedSpans()
  }

  // MARK: Servers

  /// The time of one server of the run.
  private struct Reign {
    let server: UInt64
    /// When the first span ended that belongs to its work.
    var begin: Int64
    var firstStep: UInt64
  }

  /// A server that takes the place of a lost one begins at the newest checkpoint: what was done before its time for the steps
  /// that it repeats is removed.
  private mutating func removeAbandonedSpans() {
    var reigns: [UInt64: Reign] = [:]
    for span in processes.flatMap(\.tracks).flatMap(\.spans) {
      guard let server = span.server else { continue }
      var reign = reigns[server] ?? Reign(server: server, begin: span.end, firstStep: span.step)
      (reign.begin, reign.firstStep) = (min(reign.begin, span.end), min(reign.firstStep, span.step))
      reigns[server] = reign
    }
    let order = reigns.values.sorted { ($0.begin, $0.server) < ($1.begin, $1.server) }
    guard order.count > 1 else { return }
    func isAbandoned(_ span: TraceSpan) -> Bool {
      let index = order.firstIndex { $0.server == span.server } ?? order.lastIndex { $0.begin <= span.begin } ?? 0
      return order[(index + 1)...].contains { $0.firstStep <= span.step }
    }
    for process in processes.indices {
      for track in processes[process].tracks.indices {
        let spans = processes[process].tracks[track].spans
        let kept = spans.filter { !isAbandoned($0) }
        processes[process].tracks[track].spans = kept
        abandonedSpans += spans.count - kept.count
      }
    }
  }

  // MARK: Reading

  /// Every span of a role, with its process.
  package func spans(ofRole role: String) -> [TraceSpan] {
    processes.filter { $0.heading.role == role }.flatMap(\.tracks).flatMap(\.spans)
  }

  /// When the push of each item was first sent, by workers that read the server's clock.
  var sendsOnServersClock: [UInt64: Int64] {
    let spans = processes.filter { $0.heading.role == "worker" && $0.offset.method == .same }
      .flatMap(\.tracks).flatMap(\.spans).filter { $0.phase == .send && $0.item != 0 }
    return Dictionary(spans.map { ($0.item, $0.end) }, uniquingKeysWith: min)
  }

  /// "worker-1@host", or the number of an incarnation that has left no trace.
  package func name(of incarnation: UInt64) -> String {
    processes.first { $0.heading.incarnation == incarnation }?.heading.process ?? hexadecimal(incarnation)
  }

  /// Sentences about what is not shown.
  package var remarks: [String] {
    var remarks: [String] = []
    if lostSpans > 0 {
      remarks.append("\(grouped(UInt64(lostSpans))) spans did not fit the memory of their process and are missing")
    }
    if earlierFiles > 0 {
      remarks.append("left out \(earlierFiles) traces of earlier starts of the run")
    }
    if abandonedSpans > 0 {
      remarks.append("left out \(grouped(UInt64(abandonedSpans))) spans of steps that were lost with a server")
    }
    for process in processes where process.offset.method != .same {
      let error = process.offset.error.map { "by at most \(Display.decimal(Double($0) / 1e6, places: 3)) ms" }
      remarks.append(
        "the clock of \(process.heading.process) may be off \(error ?? "as much as the calendars of the hosts are")")
    }
    return remarks
  }
}
