import Diagnostics

extension TraceTimeline {
  /// The trace in the JSON of Chrome's trace viewer, which Perfetto (ui.perfetto.dev) opens: a process for each incarnation of
  /// a role, a thread for each of its tracks, complete events of microseconds, and arrows from each push to the span of
  /// the server that took it and on to the update that applied it.
  ///
  /// One event a line; times begin with the first span.
  package var chromeTrace: [UInt8] {
    let first = processes.flatMap(\.tracks).compactMap { $0.spans.first?.begin }.min() ?? 0
    var text = Array("{\"displayTimeUnit\":\"ns\",\"otherData\":".utf8)
    text += otherData.compactBytes
    text += Array(",\"traceEvents\":[".utf8)
    var separator = "\n"
    func append(_ event: JSONValue) {
      text += Array(separator.utf8)
      text += event.compactBytes
      separator = ",\n"
    }
    for (index, process) in processes.enumerated() {
      for event in metadata(of: process, index + 1) { append(event) }
    }
    let arrows = Arrows(self)
    for (index, process) in processes.enumerated() {
      for (thread, track) in process.tracks.enumerated() {
        for span in track.spans {
          let place = ChromePlace(process: index + 1, thread: Self.thread(thread, of: index + 1), first: first)
          append(place.event(of: span, peer: span.peer == 0 ? nil : name(of: span.peer)))
          for (phase, id) in arrows.ends(at: span, isServer: process.heading.role == "server") {
            append(place.arrow(phase, id, at: span))
          }
        }
      }
    }
    return text + Array("\n]}\n".utf8)
  }

  private var otherData: JSONValue {
    let clocks = processes.map { process -> JSONValue in
      [
        "process": .string(process.heading.process), "incarnation": .string(hexadecimal(process.heading.incarnation)),
        "pid": .number(process.heading.pid), "host": .string(process.heading.host),
        "clock_offset_ns": .number(process.offset.nanoseconds),
        "clock_error_ns": process.offset.error.map { .number($0) } ?? .null,
        "clock_method": .string(process.offset.method.rawValue), "lost_spans": .number(process.heading.lost),
      ]
    }
    return [
      "program": .string("descent \(DescentVersion.current)"), "processes": .array(clocks),
      "lost_spans": .number(lostSpans), "abandoned_spans": .number(abandonedSpans),
      "earlier_traces": .number(earlierFiles),
    ]
  }

  /// The number of a thread of the viewer: no other thread has it, and no process, whose main thread it would be.
  private static func thread(_ track: Int, of process: Int) -> Int { 1_000_000 + 100 * process + track }

  /// Names, and the order in which they are shown.
  private func metadata(of process: Process, _ number: Int) -> [JSONValue] {
    func event(_ name: String, _ thread: Int, _ arguments: JSONValue) -> JSONValue {
      [
        "ph": .string("M"), "name": .string(name), "pid": .number(number), "tid": .number(thread), "ts": .number(0),
        "args": arguments,
      ]
    }
    let name = "\(process.heading.process) (pid \(process.heading.pid))"
    return [
      event("process_name", 0, ["name": .string(name)]),
      event("process_sort_index", 0, ["sort_index": .number(number)]),
    ]
      + process.tracks.enumerated().flatMap { index, track in
        [
          event("thread_name", Self.thread(index, of: number), ["name": .string(track.name)]),
          event("thread_sort_index", Self.thread(index, of: number), ["sort_index": .number(index + 1)]),
        ]
      }
  }
}

/// A thread of the viewer.
private struct ChromePlace {
  let process: Int
  let thread: Int
  /// Where time begins, in nanoseconds.
  let first: Int64

  /// Microseconds with all digits: a binary fraction would round nanoseconds.
  private func microseconds(_ nanoseconds: Int64) -> JSONValue {
    let fraction = String(nanoseconds % 1000 + 1000).dropFirst()
    return .number("\(nanoseconds / 1000).\(fraction)")
  }

  func event(of span: TraceSpan, peer: String?) -> JSONValue {
    var arguments = [JSONValue.Member("step", .number(span.step))]
    if span.item != 0 { arguments.append(.init("item", .number(UInt32(truncatingIfNeeded: span.item)))) }
    if let peer { arguments.append(.init("peer", .string(peer))) }
    return [
      "ph": .string("X"), "name": .string(span.phase.rawValue), "cat": .string("step"), "pid": .number(process),
      "tid": .number(thread), "ts": microseconds(span.begin - first), "dur": microseconds(span.duration),
      "args": .object(arguments),
    ]
  }

  /// - Parameter phase: "s" where an arrow begins, "t" where it passes, "f" where it ends; bound to the span around.
  func arrow(_ phase: String, _ id: Int, at span: TraceSpan) -> JSONValue {
    var members = [
      JSONValue.Member("ph", .string(phase)), .init("name", .string("push")), .init("cat", .string("push")),
      .init("id", .number(id)), .init("pid", .number(process)), .init("tid", .number(thread)),
      .init("ts", microseconds(span.begin - first)),
    ]
    if phase == "f" { members.append(.init("bp", .string("e"))) }
    return .object(members)
  }
}

/// The way of each push: from the worker that sends it, to the server that takes it, to the update that applies the sum.
private struct Arrows {
  /// Of items whose push has both ends in the trace: small numbers, which every reader keeps exactly.
  private var ids: [UInt64: Int] = [:]
  /// When a push is first sent and first taken, by item: a repeated message has no arrow of its own.
  private var sent: [UInt64: Int64] = [:]
  private var taken: [UInt64: Int64] = [:]
  /// The items that were added to the sum of the step that the update of an item completes.
  private var completed: [UInt64: [UInt64]] = [:]
  private var isSummed: Set<UInt64> = []

  init(_ timeline: TraceTimeline) {
    for span in timeline.spans(ofRole: "worker") where span.phase == .send && span.item != 0 && span.duration > 0 {
      sent[span.item] = min(sent[span.item] ?? .max, span.begin)
    }
    var open: [UInt64: [UInt64]] = [:]
    let server = timeline.spans(ofRole: "server").sorted { ($0.begin, $0.end) < ($1.begin, $1.end) }
    for span in server where span.duration > 0 && taken[span.item] == nil {
      switch span.phase {
      case .sum: if sent[span.item] != nil { open[span.step, default: []].append(span.item) }
      case .update:
        completed[span.item] = open.removeValue(forKey: span.step) ?? []
        isSummed.formUnion(completed[span.item] ?? [])
      case .drop: break
      default: continue
      }
      // Its worker may have left no trace, and clocks of two hosts be so far off that a push arrives before it left.
      guard let left = sent[span.item], left <= span.begin else { continue }
      taken[span.item] = span.begin
      ids[span.item] = ids.count + 1
    }
  }

  /// The ends of arrows at a span.
  func ends(at span: TraceSpan, isServer: Bool) -> [(phase: String, id: Int)] {
    guard span.duration > 0, span.item != 0 else { return [] }
    let id = ids[span.item]
    guard isServer else {
      return id.map { span.phase == .send && sent[span.item] == span.begin ? [("s", $0)] : [] } ?? []
    }
    let own = taken[span.item] == span.begin ? id : nil
    switch span.phase {
    case .sum: return own.map { [(isSummed.contains(span.item) ? "t" : "f", $0)] } ?? []
    case .update: return ([own] + (completed[span.item] ?? []).map { ids[$0] }).compactMap { $0.map { ("f", $0) } }
    case .drop: return own.map { [("f", $0)] } ?? []
    default: return []
    }
  }
}
