import Diagnostics
import Reporting

/// Draws numbers from a seed (SplitMix64).
struct Draw {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  /// 0 to `count` - 1.
  mutating func below(_ count: Int64) -> Int64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = (state ^ (state >> 30)) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
    return Int64((value ^ (value >> 31)) % UInt64(count))
  }
}

extension TraceFile {
  /// Of a process of one start, whose coordinator is 1.
  init(
    _ role: String, _ name: String, incarnation: UInt64, coordinator: UInt64 = 1, clock: String = "a",
    began: Int64 = 1_000_000, origin: Int64 = 0, steps: ClosedRange<UInt64> = 1...1000,
    _ tracks: [(name: String, spans: [TraceSpan])] = []
  ) {
    self.init(
      Heading(
        role: role, process: name, pid: 7, host: "host-\(clock)", clock: clock, incarnation: incarnation,
        coordinator: coordinator, steps: steps, began: began, origin: origin))
    self.tracks = tracks
  }
}

/// A training under `bsp` whose true times are drawn from a seed.
struct MadeUpRun {
  /// The clock of the second host is ahead of the server's by so much.
  let ahead: Int64
  let files: [TraceFile]
  /// Of each step, the worker that came last and how much later than the one before. The push of a worker on the server's
  /// host came when it was sent, that of another when the server saw it.
  private(set) var last: [(worker: Int, nanoseconds: Int64)] = []

  init(seed: UInt64, workers: Int, steps: Int, server: UInt64 = 9, firstStep: UInt64 = 1) {
    var draw = Draw(seed: seed)
    ahead = draw.below(2_000_000_000) - 1_000_000_000
    var spans: [[TraceSpan]] = Array(repeating: [], count: workers)
    var computing = spans
    var (ofServer, last): ([TraceSpan], [(Int, Int64)]) = ([], [])
    var free = Array(repeating: Int64(1_000_000_000), count: workers)
    var (serverFree, item): (Int64, UInt64) = (1_000_000_000, server << 32)
    for step in firstStep..<(firstStep + UInt64(steps)) {
      var pushes: [(arrival: Int64, worker: Int, item: UInt64)] = []
      for worker in 0..<workers {
        item += 1
        let reply = serverFree
        serverFree += 1 + draw.below(5_000)
        ofServer.append(
          TraceSpan(.reply, step: step, from: reply, to: serverFree, item: item, peer: UInt64(worker + 10)))
        let received = serverFree + draw.below(50_000)
        spans[worker].append(
          TraceSpan(.wait, step: step, from: free[worker], to: max(received, free[worker]), item: item, peer: server))
        let began = max(received, free[worker]) + draw.below(1_000)
        let done = began + 1 + draw.below(900_000)
        computing[worker].append(TraceSpan(.compute, step: step, from: began, to: done, item: item))
        let sending = done + draw.below(1_000)
        free[worker] = sending + 1 + draw.below(3_000)
        spans[worker].append(TraceSpan(.send, step: step, from: sending, to: free[worker], item: item))
        pushes.append((free[worker] + draw.below(50_000), worker, item))
      }
      var came: [(time: Int64, worker: Int)] = []
      pushes.sort { ($0.arrival, $0.worker) < ($1.arrival, $1.worker) }
      for (index, push) in pushes.enumerated() {
        let began = max(serverFree, push.arrival)
        if began > serverFree {
          ofServer.append(
            TraceSpan(
              .wait, step: step, from: serverFree, to: began, item: push.item, peer: UInt64(push.worker + 10)))
        }
        came.append((push.worker % 2 == 0 ? free[push.worker] : began, push.worker))
        serverFree = began + 1 + draw.below(20_000)
        ofServer.append(
          TraceSpan(
            index < workers - 1 ? .sum : .update, step: step, from: began, to: serverFree, item: push.item,
            peer: UInt64(push.worker + 10)))
      }
      came.sort { $0.time < $1.time }
      if workers > 1 { last.append((came[workers - 1].worker, came[workers - 1].time - came[workers - 2].time)) }
    }
    self.last = last
    let skew = ahead
    var files = [TraceFile("server", "server@host-a", incarnation: server, [("messages", ofServer)])]
    for worker in 0..<workers {
      // Every second worker is on the other host.
      let offset = worker % 2 == 0 ? 0 : skew
      func shifted(_ spans: [TraceSpan]) -> [TraceSpan] {
        spans.map { span in
          var span = span
          (span.begin, span.end) = (span.begin + offset, span.end + offset)
          return span
        }
      }
      files.append(
        TraceFile(
          "worker", "worker-\(worker + 1)@host", incarnation: UInt64(worker + 10), clock: worker % 2 == 0 ? "a" : "b",
          [("compute", shifted(computing[worker])), ("messages", shifted(spans[worker]))]))
    }
    self.files = files
  }
}

/// A Chrome trace, read back: what its format asks for is checked without the code that wrote it.
struct ReadTrace {
  struct Slice { let (name, begin, end, step): (String, Int64, Int64, UInt64) }
  struct Arrow { let (phase, id, thread, time): (String, Int, [Int], Int64) }

  private(set) var slices: [[Int]: [Slice]] = [:]
  private(set) var arrows: [Arrow] = []
  private(set) var names: [[Int]: String] = [:]
  private(set) var problems: [String] = []

  init(_ bytes: [UInt8]) throws {
    let fields = try JSONFields(parsing: bytes, source: "trace")
    for event in try fields.objects("traceEvents", { $0 }) {
      let (phase, name): (String, String) = (try event["ph"], try event["name"])
      let thread: [Int] = [try event["pid"], try event["tid"]]
      switch phase {
      case "M":
        let arguments = try event.object("args")
        if name.hasSuffix("_name") { names[thread] = try arguments["name"] }
      case "X":
        let begin = try Self.nanoseconds(event, "ts")
        slices[thread, default: []].append(
          Slice(
            name: name, begin: begin, end: begin + (try Self.nanoseconds(event, "dur")),
            step: try event.object("args")["step"]))
      case "s", "t", "f":
        if phase == "f" {
          let binding: String = try event["bp"]
          if binding != "e" { problems.append("an arrow ends at the next slice") }
        }
        arrows.append(
          Arrow(phase: phase, id: try event["id"], thread: thread, time: try Self.nanoseconds(event, "ts")))
      default: problems.append("phase \(phase)")
      }
    }
    checkNesting()
    checkArrows()
  }

  /// Microseconds with three digits behind the point.
  private static func nanoseconds(_ event: JSONFields, _ name: String) throws -> Int64 {
    guard case .number(let digits) = try event.value(name) else { return -1 }
    let parts = digits.split(separator: ".")
    return Int64(parts[0])! * 1000 + (parts.count > 1 ? Int64(parts[1])! : 0)
  }

  private mutating func checkNesting() {
    for (thread, slices) in slices {
      var open: [Int64] = []
      for slice in slices.sorted(by: { ($0.begin, -$0.end) < ($1.begin, -$1.end) }) {
        if slice.begin < 0 || slice.end < slice.begin { problems.append("a slice of \(thread) is inside out") }
        while let end = open.last, end <= slice.begin { open.removeLast() }
        if let end = open.last, end < slice.end { problems.append("slices of \(thread) cross at \(slice.begin)") }
        open.append(slice.end)
      }
    }
  }

  func enclosing(_ arrow: Arrow) -> Slice? {
    slices[arrow.thread]?.first { $0.begin <= arrow.time && arrow.time < $0.end }
  }

  /// An arrow begins once, in a send, and ends once, later and not in a send.
  private mutating func checkArrows() {
    for (id, ends) in Dictionary(grouping: arrows, by: \.id) {
      let (starts, stops) = (ends.filter { $0.phase == "s" }, ends.filter { $0.phase == "f" })
      guard let start = starts.first, let stop = stops.first, starts.count == 1, stops.count == 1 else {
        problems.append("arrow \(id) has \(starts.count) beginnings and \(stops.count) ends")
        continue
      }
      if enclosing(start)?.name != "send" { problems.append("arrow \(id) begins in no send") }
      for end in ends where enclosing(end) == nil { problems.append("an end of arrow \(id) is in no slice") }
      let through = ends.filter { $0.phase == "t" }.map(\.time)
      let times = [start.time] + through + [stop.time]
      if times != times.sorted() { problems.append("arrow \(id) goes back in time") }
    }
  }
}
