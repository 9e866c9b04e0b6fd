import Diagnostics
import Files

/// A file of `RUN/traces`: a line of JSON about the incarnation of a process, then a line for each span.
package struct TraceFile: Sendable {
  package static let suffix = ".trace"
  static let format = "descent-trace-1"
  /// In bytes: the largest that a process writes has about 90 MB.
  private static let sizeLimit = 1 << 28

  /// Whose trace it is.
  package struct Heading: Sendable, Equatable {
    /// "coordinator", "server", "worker", "train".
    package var role: String
    /// "worker-1@host".
    package var process: String
    package var pid: Int32
    package var host: String
    /// The same for processes whose monotonic clocks are the same one.
    package var clock: String
    package var incarnation: UInt64
    /// The incarnation of the coordinator that it had joined last; of the coordinator and the sequential trainer, its own.
    package var coordinator: UInt64
    /// Those that were to be recorded.
    package var steps: ClosedRange<UInt64>
    /// When recording began, by the calendar: microseconds since 1970.
    package var began: Int64
    /// The same moment on the monotonic clock, in nanoseconds.
    package var origin: Int64
    /// Spans that did not fit.
    package var lost = 0

    package init(
      role: String, process: String, pid: Int32, host: String, clock: String, incarnation: UInt64,
      coordinator: UInt64 = 0, steps: ClosedRange<UInt64>, began: Int64, origin: Int64
    ) {
      (self.role, self.process, self.pid, self.host, self.clock) = (role, process, pid, host, clock)
      (self.incarnation, self.coordinator, self.steps) = (incarnation, coordinator, steps)
      (self.began, self.origin) = (began, origin)
    }
  }

  package var heading: Heading
  /// On the monotonic clock of the process, in the order in which they ended.
  package var tracks: [(name: String, spans: [TraceSpan])] = []

  package init(_ heading: Heading) { self.heading = heading }

  package var spanCount: Int { tracks.reduce(0) { $0 + $1.spans.count } }

  // MARK: Writing

  /// Times are in nanoseconds since the beginning of the recording, and numbers beyond 2⁵³, which many readers of JSON round,
  /// in hexadecimal.
  package var bytes: [UInt8] {
    let line: JSONValue = [
      "format": .string(Self.format), "role": .string(heading.role), "process": .string(heading.process),
      "pid": .number(heading.pid), "host": .string(heading.host), "clock": .string(heading.clock),
      "incarnation": .string(hexadecimal(heading.incarnation)),
      "coordinator": .string(hexadecimal(heading.coordinator)),
      "steps": .numbers([heading.steps.lowerBound, heading.steps.upperBound]),
      "began_microseconds": .number(heading.began),
      "origin": .string(hexadecimal(UInt64(clamping: heading.origin))), "spans": .number(spanCount),
      "lost": .number(heading.lost),
    ]
    var bytes = line.compactBytes
    bytes.append(UInt8(ascii: "\n"))
    // Without a string for each span, so that writing makes no garbage beside the training.
    bytes.reserveCapacity(bytes.count + spanCount * Self.longestSpan)
    for (name, spans) in tracks {
      let track = JSONValue.string(name).compactBytes
      for span in spans {
        bytes.append("{\"track\":")
        bytes.append(contentsOf: track)
        bytes.append(",\"phase\":\"")
        bytes.append(span.phase.name)
        bytes.append("\",\"step\":")
        bytes.append(decimal: Int64(clamping: span.step))
        bytes.append(",\"begin\":")
        bytes.append(decimal: span.begin - heading.origin)
        bytes.append(",\"end\":")
        bytes.append(decimal: span.end - heading.origin)
        bytes.append(",\"item\":\"")
        bytes.append(digits: span.item)
        bytes.append("\",\"peer\":\"")
        bytes.append(digits: span.peer)
        bytes.append("\"}\n")
      }
    }
    return bytes
  }

  /// In bytes, with a track of 30.
  private static let longestSpan = 210

  // MARK: Reading

  /// - Throws: `missingInput` or `inputOutput` if it cannot be read, `badData` if it is damaged or something else.
  package init(readingFrom path: String) throws(Failure) {
    try self.init(bytes: FileSystem().read(path, limit: Self.sizeLimit, followingLinks: true), source: path)
  }

  /// - Parameter source: the file, for errors.
  package init(bytes: [UInt8], source: String) throws(Failure) {
    let lines = bytes.split(separator: UInt8(ascii: "\n"))
    guard let first = lines.first else { throw Failure(.badData, "\(source) is empty") }
    let fields = try JSONFields(
      JSONReader.parse(first, source: source, offset: first.startIndex), context: "\(source), line 1")
    heading = try Heading(fields)
    let count: Int = try fields["spans"]
    guard count == lines.count - 1 else {
      throw Failure(
        .badData, "\(source) is damaged", found: "\(lines.count - 1) spans",
        expected: "\(count), as its first line says")
    }
    for (index, line) in lines.dropFirst().enumerated() {
      let fields = try JSONFields(
        JSONReader.parse(line, source: source, offset: line.startIndex), context: "\(source), line \(index + 2)")
      let name: String = try fields["track"]
      let span = try TraceSpan(fields, heading)
      if name != tracks.last?.name { tracks.append((name, [])) }
      if let before = tracks[tracks.count - 1].spans.last, span.begin < before.end {
        throw Failure(
          .badData, "\(fields.context): a span begins before the one ahead of it ends",
          found: "\(span.begin - heading.origin)", expected: "\(before.end - heading.origin) at least")
      }
      tracks[tracks.count - 1].spans.append(span)
    }
    guard Set(tracks.map(\.name)).count == tracks.count else {
      throw Failure(.badData, "\(source) is damaged: the spans of a track do not stand together")
    }
  }
}

extension TraceFile.Heading {
  /// Of a monotonic clock, in nanoseconds, so that sums of times do not overflow: 36 years.
  static let latest: Int64 = 1 << 60
  /// Of the calendar, in microseconds: the year 2116.
  private static let latestDate: Int64 = (1 << 62) / 1000

  fileprivate init(_ fields: JSONFields) throws(Failure) {
    let format: String = try fields["format"]
    guard format == TraceFile.format else {
      throw Failure(.badData, "\(fields.context): another format", found: format, expected: TraceFile.format)
    }
    let steps: [UInt64] = try fields["steps"]
    guard steps.count == 2, steps[0] <= steps[1] else {
      throw Failure(.badData, "\(fields.context): \"steps\" must be the first and the last step")
    }
    let microseconds: Int = try fields["began_microseconds"]
    let began = Int64(microseconds)
    let origin = try fields.hexadecimal("origin")
    guard origin <= UInt64(Self.latest), (0...Self.latestDate).contains(began) else {
      throw Failure(.badData, "\(fields.context): a time out of range")
    }
    self.init(
      role: try fields["role"], process: try fields["process"], pid: try fields["pid"], host: try fields["host"],
      clock: try fields["clock"], incarnation: try fields.hexadecimal("incarnation"),
      coordinator: try fields.hexadecimal("coordinator"), steps: steps[0]...steps[1], began: began,
      origin: Int64(origin))
    lost = try fields["lost"]
    guard lost >= 0 else { throw Failure(.badData, "\(fields.context): \"lost\" is negative") }
  }
}

extension TraceSpan {
  fileprivate init(_ fields: JSONFields, _ heading: TraceFile.Heading) throws(Failure) {
    let (begin, end): (Int, Int) = (try fields["begin"], try fields["end"])
    let latest = Int(TraceFile.Heading.latest)
    guard begin >= -latest, begin <= end, end <= latest else {
      throw Failure(.badData, "\(fields.context): a span ends before it begins, or is out of range")
    }
    let step: UInt64 = try fields["step"]
    guard heading.steps.contains(step) else {
      throw Failure(
        .badData, "\(fields.context): wrong step", found: "\(step)",
        expected: "\(heading.steps.lowerBound) to \(heading.steps.upperBound)")
    }
    self.init(
      try fields["phase"], step: step, from: heading.origin + Int64(begin), to: heading.origin + Int64(end),
      item: try fields.hexadecimal("item"), peer: try fields.hexadecimal("peer"))
  }
}

extension TracePhase {
  fileprivate var name: StaticString {
    switch self {
    case .compute: "compute"
    case .send: "send"
    case .wait: "wait"
    case .sum: "sum"
    case .update: "update"
    case .reply: "reply"
    case .drop: "drop"
    case .evaluate: "evaluate"
    case .save: "save"
    }
  }
}

extension [UInt8] {
  fileprivate mutating func append(_ text: StaticString) {
    append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  fileprivate mutating func append(decimal number: Int64) {
    if number < 0 { append(UInt8(ascii: "-")) }
    var (rest, power) = (number.magnitude, UInt64(1))
    while rest / power >= 10 { power *= 10 }
    while power > 0 {
      append(UInt8(ascii: "0") + UInt8(rest / power))
      (rest, power) = (rest % power, power / 10)
    }
  }

  /// Hexadecimal, all sixteen.
  fileprivate mutating func append(digits number: UInt64) {
    for shift in stride(from: 60, through: 0, by: -4) {
      let digit = UInt8(number >> UInt64(shift) & 15)
      append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
    }
  }
}

extension JSONFields {
  /// A number that `hexadecimal` has written.
  fileprivate func hexadecimal(_ name: String) throws(Failure) -> UInt64 {
    let text: String = try self[name]
    guard text.utf8.count == 16, text.utf8.allSatisfy({ $0 != UInt8(ascii: "+") }), let value = UInt64(text, radix: 16)
    else {
      throw Failure(
        .badData, "\(context): wrong value of \"\(name)\"", found: String(text.prefix(40)),
        expected: "16 hexadecimal digits")
    }
    return value
  }
}
