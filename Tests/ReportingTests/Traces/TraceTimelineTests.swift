import Diagnostics
import Reporting
import Testing

@Suite struct TraceTimelineTests {
  @Test(arguments: 0..<40 as Range<UInt64>)
  func `spans nest, each push has one arrow to its update, and the clocks agree within what is stated`(
    seed: UInt64
  ) throws {
    let (workers, steps) = (1 + Int(seed % 5), 12)
    let run = MadeUpRun(seed: seed, workers: workers, steps: steps)
    let timeline = TraceTimeline(run.files)
    #expect(timeline.processes.count == workers + 1)
    #expect(timeline.abandonedSpans == 0)
    for process in timeline.processes {
      guard process.heading.clock == "b" else {
        #expect(process.offset == .none)
        continue
      }
      #expect(process.offset.method == .messages)
      let error = try #require(process.offset.error)
      #expect(abs(process.offset.nanoseconds + run.ahead) <= error, "the true offset is within the bounds")
      #expect(error < 60_000, "the shortest passages of twelve steps are shorter than the longest")
    }
    let trace = try ReadTrace(timeline.chromeTrace)
    #expect(trace.problems == [])
    #expect(trace.slices.values.reduce(0) { $0 + $1.count } == run.files.reduce(0) { $0 + $1.spanCount })
    #expect(trace.arrows.count { $0.phase == "s" } == workers * steps)
    #expect(trace.arrows.count { $0.phase == "t" } == (workers - 1) * steps)
    for arrow in trace.arrows where arrow.phase == "f" { #expect(trace.enclosing(arrow)?.name == "update") }
    for arrow in trace.arrows where arrow.phase == "t" { #expect(trace.enclosing(arrow)?.name == "sum") }
    #expect(trace.names[[1, 0]] == "server@host-a (pid 7)")
    #expect(trace.names[[2, 1_000_200]] == "compute")
    #expect(Set(trace.slices.keys.map { $0[1] }).count == trace.slices.count, "threads have numbers of their own")
  }

  @Test(arguments: 0..<20 as Range<UInt64>)
  func `the summary finds the worker that was waited for`(seed: UInt64) {
    let run = MadeUpRun(seed: seed, workers: 3, steps: 30)
    let summary = TraceSummary(TraceTimeline(run.files))
    #expect((summary.firstStep, summary.lastStep) == (1, 30))
    #expect(summary.stepsCounted == 30)
    for worker in 0..<3 {
      let mine = run.last.filter { $0.worker == worker }
      let found = summary.waitedFor.first { $0.process == "worker-\(worker + 1)@host" }
      #expect(found?.steps ?? 0 == mine.count)
      let seconds = Double(mine.reduce(0) { $0 + $1.nanoseconds }) / 1e9
      #expect(abs((found?.seconds ?? 0) - seconds) < 1e-9)
    }
    #expect(summary.waitedFor.map(\.steps) == summary.waitedFor.map(\.steps).sorted(by: >))
    for role in ["worker", "server"] {
      let phases = summary.phases.filter { $0.role == role }
      #expect(abs(phases.reduce(0) { $0 + $1.share } - 1) < 1e-9)
    }
  }

  @Test func `the summary of known spans has known numbers`() throws {
    let first = TraceSpan(.sum, step: 5, from: 1000, to: 2000, item: 11, peer: 10)
    let second = TraceSpan(.update, step: 5, from: 5000, to: 8000, item: 12, peer: 20)
    let third = TraceSpan(.update, step: 6, from: 18_000, to: 20_000, item: 13, peer: 20)
    let timeline = TraceTimeline([
      TraceFile("server", "server@h", incarnation: 9, [("messages", [first, second, third])]),
      TraceFile("worker", "worker-2@h", incarnation: 20, []),
    ])
    let summary = TraceSummary(timeline)
    #expect(summary.stepSeconds == 12e-6)
    // Step 6 had one push: no worker waited.
    #expect(summary.stepsCounted == 1)
    #expect(summary.waitedFor.map(\.process) == ["worker-2@h"])
    #expect(summary.waitedFor.map(\.seconds) == [4e-6])
    let update = try #require(summary.phases.first { $0.phase == .update })
    #expect((update.spans, update.medianSeconds, update.share) == (2, 2.5e-6, 5.0 / 6))
    #expect(
      summary.text == """
        steps 5 to 6, median 0.012 ms a step

        role    phase   spans  median    share
        server  sum     1      0.001 ms  16.7 %
        server  update  2      0.003 ms  83.3 %

        last worker of a step, of 1 step that several contributed to
        worker-2@h  1 step  100 %  waited for 0.004 ms in total

        """)
  }

  @Test func `traces of an earlier start are left out, whatever they hold`() throws {
    let now = MadeUpRun(seed: 1, workers: 2, steps: 4)
    let earlier = MadeUpRun(seed: 2, workers: 2, steps: 9).files.map { file in
      var file = file
      (file.heading.coordinator, file.heading.began) = (77, file.heading.began - 10)
      return file
    }
    let timeline = TraceTimeline(earlier + now.files)
    #expect(timeline.earlierFiles == 3)
    #expect(timeline.chromeTrace.count > 0)
    #expect(TraceSummary(timeline).lastStep == 4)
    #expect(timeline.remarks.first == "left out 3 traces of earlier starts of the run")
  }

  /// A server is killed at step 14 and has left no trace; its successor begins again at step 11.
  @Test func `steps that were lost with a server and trained again are shown once`() throws {
    let lost = MadeUpRun(seed: 3, workers: 1, steps: 14, server: 8).files.filter { $0.heading.role == "worker" }
    let second = MadeUpRun(seed: 4, workers: 1, steps: 10, server: 9, firstStep: 11).files
    let later = second.map { file in
      var file = file
      for track in file.tracks.indices {
        for span in file.tracks[track].spans.indices {
          file.tracks[track].spans[span].begin += 60_000_000_000
          file.tracks[track].spans[span].end += 60_000_000_000
        }
      }
      return file
    }
    // One worker process has seen both servers.
    var worker = try #require(lost.first)
    for track in worker.tracks.indices { worker.tracks[track].spans += later[1].tracks[track].spans }
    let evaluations = TraceFile(
      "coordinator", "coordinator@h", incarnation: 1,
      [
        (
          "evaluation",
          [
            TraceSpan(.evaluate, step: 10, from: 1_001_000_000, to: 1_002_000_000),
            TraceSpan(.evaluate, step: 12, from: 1_003_000_000, to: 1_004_000_000),
            TraceSpan(.evaluate, step: 12, from: 61_100_000_000, to: 61_200_000_000),
          ]
        )
      ])
    let timeline = TraceTimeline([evaluations, later[0], worker])
    // Three spans of each of the steps 11 to 14, and one evaluation.
    #expect(timeline.abandonedSpans == 13)
    let computed = timeline.spans(ofRole: "worker").filter { $0.phase == .compute }.map(\.step)
    #expect(computed == Array(1...20))
    #expect(timeline.spans(ofRole: "coordinator").map(\.step) == [10, 12])
    #expect(try ReadTrace(timeline.chromeTrace).problems == [])
  }

  @Test func `without messages in both directions the calendars decide, and that is said`() {
    let server = TraceFile("server", "server@a", incarnation: 9, began: 5_000_000, origin: 1000, [])
    let other = TraceFile(
      "coordinator", "coordinator@b", incarnation: 1, clock: "b", began: 5_000_010, origin: 500_000,
      [("saving", [TraceSpan(.save, step: 1, from: 600_000, to: 700_000)])])
    let timeline = TraceTimeline([server, other])
    // 10 µs later by the calendar, 499 µs by the clocks.
    let offset = timeline.processes[0].offset
    #expect((offset.method, offset.nanoseconds, offset.error) == (.calendar, 10_000 - 499_000, nil))
    #expect(timeline.remarks.count == 1)
  }
}
