import Cluster
import Diagnostics
import Files
import Glibc
import Messaging
import Reporting
import Transport

/// Records the phases of the loop of a server or worker, from what passes through it: the machine knows no clock.
final class LoopTrace<Machine: NodeMachine> {
  /// What has become of the pushes so far: examples that went into the weights, and shards in the sum of the open step.
  typealias Progress = (examples: UInt64, openShards: Int)

  static var trackName: String { "messages" }

  private let recorder: TraceRecorder
  private let track: TraceTrack
  private let progress: (Machine) -> Progress
  private var before: Progress = (0, 0)
  private var hasJoined = false
  /// Since when the process waits for the next message; nil while there was none to wait for.
  private var idleSince: Instant?
  /// Of the event that is being handled, until a span of it is recorded.
  private var eventBegan: Instant?

  /// - Parameter progress: of a server.
  init(_ recorder: TraceRecorder, progress: @escaping (Machine) -> Progress = { _ in (0, 0) }) {
    self.recorder = recorder
    self.progress = progress
    track = recorder.track(Self.trackName)
  }

  /// The machine has handled an event; its actions follow.
  func handled(_ event: Machine.Event, by machine: Machine, from began: Instant) {
    let (now, then) = (progress(machine), before)
    (eventBegan, before) = (began, now)
    guard case .received(let message, let envelope) = event else { return }
    let peer = envelope.incarnation.value
    switch message {
    case .welcome:
      // Only the first coordinator is that of this incarnation.
      if !hasJoined { recorder.joined(peer) }
      hasJoined = true
    case .work(let work):
      endWait(step: work.item.step + 1, item: work.item.id.value, peer: peer)
      idleSince = nil
    case .push(let push):
      let end = Instant.now
      let phase: TracePhase =
        now.examples != then.examples ? .update : now.openShards > then.openShards ? .sum : .drop
      record(phase, step: push.item.step + 1, from: began, to: end, item: push.item.id.value, peer: peer)
    default: break
    }
  }

  /// A message has been handed to the transport.
  func sent(_ message: Message, to destination: Destination, from began: Instant) {
    switch message {
    case .requestWork: idleSince = idleSince ?? began
    case .push(let push):
      record(.send, step: push.item.step + 1, from: began, to: .now, item: push.item.id.value)
    case .work(let work):
      guard case .node(_, let worker) = destination else { return }
      record(
        .reply, step: work.item.step + 1, from: began, to: .now, item: work.item.id.value, peer: worker.value)
    case .snapshot(let snapshot): record(.send, step: snapshot.training.step, from: began, to: .now)
    default: break
    }
  }

  private func record(
    _ phase: TracePhase, step: UInt64, from began: Instant, to end: Instant, item: UInt64 = 0, peer: UInt64 = 0
  ) {
    if eventBegan != nil { endWait(step: step, item: item, peer: peer) }
    track.record(phase, step: step, from: began, to: end, item: item, peer: peer)
    idleSince = end
  }

  /// The event that ends a wait belongs to this step.
  private func endWait(step: UInt64, item: UInt64, peer: UInt64) {
    defer { eventBegan = nil }
    guard let idleSince, let eventBegan, idleSince < eventBegan else { return }
    track.record(.wait, step: step, from: idleSince, to: eventBegan, item: item, peer: peer)
  }
}

extension NodeOptions {
  /// The trace of an incarnation of a process; nil without `trace-steps`.
  ///
  /// - Parameters:
  ///   - name: of the process with its host.
  ///   - directory: that of the run; nil where it is not known, which is logged.
  func traceRecorder(
    _ role: NodeRole?, name: String, _ incarnation: Incarnation, in directory: String?, tracks: [String],
    spansPerStep: Int, log: NodeLog
  ) -> TraceRecorder? {
    guard let steps = settings.traceSteps else { return nil }
    guard let directory else {
      log.note(
        .warning, event: "trace_not_recorded",
        "\(settings.origin(of: \.traceSteps)) has no effect: give --run-dir for a place to write the trace to")
      return nil
    }
    var heading = TraceFile.Heading(
      role: role.map { "\($0)" } ?? "train", process: name, pid: getpid(), host: NodeProcess.host,
      clock: ProcessRecord.clock, incarnation: incarnation.value, steps: steps,
      began: UTCTime.now().microseconds, origin: Instant.now.signedNanoseconds)
    if role == nil || role == .coordinator { heading.coordinator = incarnation.value }
    return TraceRecorder(
      heading, in: RunPaths(directory: directory).traces, tracks: tracks, spansPerStep: spansPerStep)
  }
}

extension TraceTrack? {
  /// Does the work of a phase, and records it if there is a track.
  func recording<Result>(_ phase: TracePhase, step: UInt64, _ work: () -> Result) -> Result {
    guard let track = self else { return work() }
    let began = Instant.now
    let result = work()
    track.record(phase, step: step, from: began, to: .now)
    return result
  }
}

extension ProcessRecord {
  /// The same for two processes whose monotonic clocks are the same one.
  static var clock: String {
    let kernel = boot == "-" ? NodeProcess.host : boot
    return "\(kernel) \(FileSystem().symbolicLinkTarget("/proc/self/ns/time") ?? "-")"
  }
}

extension NodeLog {
  /// What became of the trace of this process.
  func note(_ trace: TraceRecorder?) {
    guard let outcome = trace?.finish() else { return }
    if let failure = outcome.failure {
      return note(.warning, event: "trace_failed", "the trace of this process is missing: \(failure)")
    }
    if outcome.lost > 0 {
      note(
        .warning, event: "trace_incomplete",
        "\(grouped(UInt64(outcome.lost))) spans did not fit \(outcome.path): record fewer steps")
    }
    note(.info, event: "trace_written", "wrote \(grouped(UInt64(outcome.spans))) spans to \(outcome.path)")
  }
}
