import Diagnostics

/// Where the time of a step goes, and which worker the others waited for.
package struct TraceSummary: Sendable {
  /// Of one phase in all processes of a role.
  package struct Phase: Sendable {
    package let role: String
    package let phase: TracePhase
    package let spans: Int
    /// Of a span.
    package let medianSeconds: Double
    /// Of the time in all phases of the role.
    package let share: Double
  }

  /// A worker whose push was the last of steps to which others had contributed.
  package struct Awaited: Sendable {
    package let process: String
    package let steps: Int
    /// How much later than the last one of the others these pushes came, in total.
    package let seconds: Double
  }

  /// Nil without a span.
  package private(set) var firstStep: UInt64?
  package private(set) var lastStep: UInt64?
  /// Median time from one completed step to the next; nil with fewer than two.
  package private(set) var stepSeconds: Double?
  package private(set) var phases: [Phase] = []
  /// Steps that the pushes of several workers completed: in them, workers waited for the last one.
  package private(set) var stepsCounted = 0
  /// The worker that was the last in most of them first.
  package private(set) var waitedFor: [Awaited] = []
  package private(set) var remarks: [String]

  package init(_ timeline: TraceTimeline) {
    remarks = timeline.remarks
    let all = timeline.processes.flatMap(\.tracks).flatMap(\.spans)
    (firstStep, lastStep) = (all.map(\.step).min(), all.map(\.step).max())
    for role in ["worker", "server", "coordinator", "train"] { append(role, timeline.spans(ofRole: role)) }
    let server = timeline.spans(ofRole: "server").sorted { ($0.begin, $0.end) < ($1.begin, $1.end) }
    countWaiting(server, timeline)
    let completions = all.filter { $0.phase == .update }.isEmpty ? all.filter { $0.phase == .compute } : server
    stepSeconds = Self.medianStep(completions)
  }

  private mutating func append(_ role: String, _ spans: [TraceSpan]) {
    let total = spans.reduce(0) { $0 + Double($1.duration) }
    for phase in TracePhase.allCases {
      let durations = spans.filter { $0.phase == phase }.map { Double($0.duration) }
      guard !durations.isEmpty else { continue }
      let sum = durations.reduce(0, +)
      phases.append(
        Phase(
          role: role, phase: phase, spans: durations.count, medianSeconds: Self.median(durations) / 1e9,
          share: total > 0 ? sum / total : 0))
    }
  }

  /// A server that shares a processor with a worker may see pushes long after they were sent, and in another order. So the
  /// end of a worker's `send` counts, where both read the same clock; otherwise the time at which the server began with it.
  /// - Parameter server: in the order of time.
  private mutating func countWaiting(_ server: [TraceSpan], _ timeline: TraceTimeline) {
    let sent = timeline.sendsOnServersClock
    var open: [UInt64: [(time: Int64, peer: UInt64)]] = [:]
    var awaited: [String: (steps: Int, nanoseconds: Int64)] = [:]
    for span in server where span.phase == .sum || span.phase == .update {
      open[span.step, default: []].append((sent[span.item] ?? span.begin, span.peer))
      guard span.phase == .update, let pushes = open.removeValue(forKey: span.step)?.sorted(by: { $0.time < $1.time }),
        let last = pushes.last, let before = pushes.last(where: { $0.peer != last.peer })
      else { continue }
      stepsCounted += 1
      let name = timeline.name(of: last.peer)
      let (steps, nanoseconds) = awaited[name] ?? (0, 0)
      awaited[name] = (steps + 1, nanoseconds + last.time - before.time)
    }
    waitedFor = awaited.map { Awaited(process: $0, steps: $1.steps, seconds: Double($1.nanoseconds) / 1e9) }
      .sorted { ($1.steps, $0.process) < ($0.steps, $1.process) }
  }

  /// Of the times between the ends of successive steps.
  private static func medianStep(_ spans: [TraceSpan]) -> Double? {
    var ends: [UInt64: Int64] = [:]
    for span in spans where span.phase == .update || span.phase == .compute {
      ends[span.step] = max(ends[span.step] ?? .min, span.end)
    }
    let times = ends.compactMap { step, end in ends[step + 1].map { Double($0 - end) } }
    return times.isEmpty ? nil : max(0, median(times)) / 1e9
  }

  private static func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  }

  // MARK: Showing

  package var json: String { JSONValue(reflecting: self).indentedText }

  package var text: String {
    guard let firstStep, let lastStep else { return "no step was recorded\n" }
    let median = stepSeconds.map { ", median \(Self.milliseconds($0)) ms a step" } ?? ""
    var text = "steps \(grouped(firstStep)) to \(grouped(lastStep))\(median)\n\n"
    let heads = ["role", "phase", "spans", "median", "share"]
    text += table(
      [heads]
        + phases.map { phase in
          [
            phase.role, phase.phase.rawValue, grouped(UInt64(phase.spans)),
            "\(Self.milliseconds(phase.medianSeconds)) ms", Display.percent(phase.share),
          ]
        })
    guard stepsCounted > 0 else { return text }
    text += "\nlast worker of a step, of \(Self.steps(stepsCounted)) that several contributed to\n"
    text += table(
      waitedFor.map { worker in
        [
          worker.process, Self.steps(worker.steps),
          Display.percent(Double(worker.steps) / Double(stepsCounted), places: 0),
          "waited for \(Self.milliseconds(worker.seconds)) ms in total",
        ]
      })
    return text
  }

  private static func steps(_ count: Int) -> String { count == 1 ? "1 step" : "\(grouped(UInt64(count))) steps" }

  private static func milliseconds(_ seconds: Double) -> String { Display.decimal(seconds * 1000, places: 3) }
}
