import Diagnostics
import Dispatch
import FoundationEssentials
import Messaging
import Reporting
import Synchronization
import TestSupport
import Testing

@Suite struct TraceFileTests {
  private func heading(_ steps: ClosedRange<UInt64> = 10...19) -> TraceFile.Heading {
    TraceFile.Heading(
      role: "worker", process: "worker-1@host", pid: 41, host: "host", clock: "boot ns", incarnation: .max,
      coordinator: 3, steps: steps, began: 1_700_000_000_000_000, origin: 9_200_000_000_000_123)
  }

  private func instant(_ nanoseconds: UInt64) -> Instant { Instant(nanoseconds: 9_200_000_000_000_123 + nanoseconds) }

  // MARK: The buffer

  @Test func `a track records the steps of its range and calls once when they are over`() {
    let calls = Atomic(0)
    let track = TraceTrack("compute", steps: 10...11, capacity: 8) { calls.wrappingAdd(1, ordering: .relaxed) }
    for step in 8...14 as ClosedRange<UInt64> {
      track.record(.compute, step: step, from: instant(step), to: instant(step + 1), item: step, peer: 5)
    }
    let expected = [10, 11].map { step in
      TraceSpan(
        .compute, step: step, from: instant(step).signedNanoseconds, to: instant(step + 1).signedNanoseconds,
        item: step, peer: 5)
    }
    #expect(track.contents.spans == expected)
    #expect(track.contents.lost == 0)
    #expect(calls.load(ordering: .relaxed) == 1)
  }

  @Test func `what does not fit is counted, and the file says so`() throws {
    try TemporaryDirectory.with { directory in
      let recorder = TraceRecorder(heading(), in: directory.path + "/traces", tracks: ["a", "b"], spansPerStep: 2)
      let track = recorder.track("a")
      for index in 0..<25 as Range<UInt64> {
        track.record(.send, step: 10, from: instant(10 * index), to: instant(10 * index + 5))
      }
      let outcome = try #require(recorder.finish())
      #expect((outcome.spans, outcome.lost) == (20, 5))
      #expect(outcome.failure == nil)
      let file = try TraceFile(readingFrom: outcome.path)
      #expect((file.spanCount, file.heading.lost) == (20, 5))
      #expect(TraceTimeline([file]).remarks.first?.hasPrefix("5 spans did not fit") == true)
    }
  }

  @Test func `a process that recorded nothing writes nothing, and one that cannot write says why`() throws {
    try TemporaryDirectory.with { directory in
      let silent = TraceRecorder(heading(), in: directory.path + "/traces", tracks: ["a"], spansPerStep: 1)
      silent.track("a").record(.send, step: 9, from: instant(1), to: instant(2))
      #expect(silent.finish() == nil)
      #expect(!FileManager.default.fileExists(atPath: directory.path + "/traces"))
      let obstacle = directory.path + "/file"
      #expect(FileManager.default.createFile(atPath: obstacle, contents: nil))
      let recorder = TraceRecorder(heading(), in: obstacle + "/traces", tracks: ["a"], spansPerStep: 1)
      recorder.track("a").record(.send, step: 10, from: instant(1), to: instant(2))
      let outcome = try #require(recorder.finish())
      #expect(outcome.failure?.description.contains(obstacle) == true)
    }
  }

  @Test func `a file that was written while steps were recorded is replaced at the end`() throws {
    try TemporaryDirectory.with { directory in
      let recorder = TraceRecorder(heading(), in: directory.path, tracks: ["a"], spansPerStep: 10_000)
      let track = recorder.track("a")
      let writer = DispatchGroup()
      DispatchQueue.global().async(group: writer) { for _ in 0..<20 { recorder.write() } }
      for index in 0..<100_000 as Range<UInt64> {
        track.record(.send, step: 10 + index % 10, from: instant(2 * index), to: instant(2 * index + 1), item: index)
      }
      writer.wait()
      recorder.joined(99)
      let outcome = try #require(recorder.finish())
      let file = try TraceFile(readingFrom: outcome.path)
      #expect(file.tracks[0].spans.map(\.item) == Array(0..<100_000))
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).count == 1)
    }
  }

  // MARK: The file

  @Test(arguments: 0..<20 as Range<UInt64>)
  func `what is written is read, to the last bit`(seed: UInt64) throws {
    var draw = Draw(seed: seed)
    var file = TraceFile(heading(1...1_000_000))
    for track in 0..<draw.below(4) {
      var (spans, time): ([TraceSpan], Int64) = ([], file.heading.origin)
      for _ in 0..<(1 + draw.below(30)) {
        let phase = TracePhase.allCases[Int(draw.below(Int64(TracePhase.allCases.count)))]
        let begin = time + draw.below(1 << 40)
        time = begin + draw.below(1 << 40)
        spans.append(
          TraceSpan(
            phase, step: UInt64(1 + draw.below(1_000_000)), from: begin, to: time,
            item: UInt64(bitPattern: draw.below(.max)) &* 3, peer: UInt64(bitPattern: draw.below(.max)) &* 5))
      }
      file.tracks.append(("track \"\(track)\"", spans))
    }
    file.heading.lost = Int(draw.below(1000))
    let read = try TraceFile(bytes: file.bytes, source: "x.trace")
    #expect(read.heading == file.heading)
    #expect(read.tracks.map(\.name) == file.tracks.map(\.name))
    #expect(read.tracks.map(\.spans) == file.tracks.map(\.spans))
  }

  @Test(arguments: 0..<200 as Range<UInt64>)
  func `a damaged file is refused or read, and its timeline nests`(seed: UInt64) throws {
    var draw = Draw(seed: seed)
    let run = MadeUpRun(seed: seed, workers: 2, steps: 3)
    let whole = run.files[Int(draw.below(3))].bytes
    var bytes = whole
    for _ in 0...draw.below(3) {
      let index = Int(draw.below(Int64(bytes.count)))
      if draw.below(4) == 0 { bytes.removeLast(bytes.count - index) } else { bytes[index] = UInt8(draw.below(256)) }
      if bytes.isEmpty { break }
    }
    do throws(Failure) {
      let file = try TraceFile(bytes: bytes, source: "x.trace")
      let timeline = TraceTimeline([file] + run.files.dropFirst())
      _ = TraceSummary(timeline).text
      #expect(try! ReadTrace(timeline.chromeTrace).problems.filter { $0.contains("cross") } == [])
    } catch {
      #expect([.badData].contains(error.status))
      #expect(error.message.contains("x.trace"))
    }
  }

  @Test(
    arguments: [
      ("", "is empty"), ("{}\n", "no key \"format\""), ("[1]\n", "is not a JSON object"),
      (#"{"format":"other"}"#, "another format"),
    ])
  func `what is no trace is named`(text: String, message: String) {
    #expect { try TraceFile(bytes: Array(text.utf8), source: "x.trace") } throws: { error in
      (error as? Failure)?.status == .badData && "\(error)".contains("x.trace") && "\(error)".contains(message)
    }
  }

  @Test func `a run without traces says how to record some`() throws {
    try TemporaryDirectory.with { directory in
      let failure = #expect(throws: Failure.self) { try TraceTimeline(ofRun: directory.path) }
      #expect(failure?.status == .missingInput)
      #expect(failure?.description.contains("--trace-steps") == true)
      #expect(throws: Failure.self) { try TraceTimeline(ofRun: directory.path + "/none") }
    }
  }
}
