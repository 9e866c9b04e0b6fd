import Diagnostics
import Dispatch
import Files
import Messaging
import Synchronization

/// The trace of one incarnation of a process: its tracks, and the file that they are written to.
package final class TraceRecorder: Sendable {
  /// What became of the file.
  package struct Outcome: Sendable {
    package let path: String
    package let spans: Int
    /// Spans that did not fit.
    package let lost: Int
    /// Why it was not written.
    package let failure: Failure?
  }

  private let heading: TraceFile.Heading
  private let path: String
  private let tracks: [TraceTrack]
  private let coordinator: Atomic<UInt64>
  private let state = Mutex<(count: Int, outcome: Outcome?)>((0, nil))
  /// Set once, before anything is recorded.
  private let past = PastRange()

  /// Breaks the circle of recorder and tracks.
  private final class PastRange: Sendable {
    let write = Mutex<(@Sendable () -> Void)?>(nil)
  }

  /// - Parameters:
  ///   - directory: of the traces of a run; created with the first file.
  ///   - tracks: their names.
  ///   - spansPerStep: memory is set aside for so many on each track, up to `TraceTrack.capacityLimit` spans.
  package init(_ heading: TraceFile.Heading, in directory: String, tracks: [String], spansPerStep: Int) {
    self.heading = heading
    coordinator = Atomic(heading.coordinator)
    let name = heading.process.split(separator: "/").joined(separator: "_")
    path = "\(directory)/\(name).\(hexadecimal(heading.incarnation))\(TraceFile.suffix)"
    let steps = heading.steps
    let most = UInt64(TraceTrack.capacityLimit)
    let capacity = Int(min(steps.upperBound - steps.lowerBound, most) + 1) * spansPerStep
    self.tracks = tracks.map { [past] in
      TraceTrack($0, steps: steps, capacity: capacity) { past.write.withLock { $0?() } }
    }
    past.write.withLock { write in
      write = { [weak self] in
        guard let self else { return }
        DispatchQueue.global(qos: .utility).async { self.write() }
      }
    }
  }

  /// By its name.
  package func track(_ name: String) -> TraceTrack {
    guard let track = tracks.first(where: { $0.name == name }) else { preconditionFailure("no track \(name)") }
    return track
  }

  /// The coordinator that this process has joined.
  package func joined(_ incarnation: UInt64) { coordinator.store(incarnation, ordering: .relaxed) }

  /// Writes what has been recorded, unless it is written already, in place of an earlier file of this incarnation. For any
  /// thread. A file that cannot be written does not stop the training: `finish` reports it.
  package func write() {
    state.withLock { state in
      let count = tracks.reduce(0) { $0 + $1.count }
      guard count > state.count else { return }
      state.count = count
      var file = TraceFile(heading)
      file.heading.coordinator = coordinator.load(ordering: .relaxed)
      for track in tracks {
        let (spans, lost) = track.contents
        file.tracks.append((track.name, spans))
        file.heading.lost += lost
      }
      var failure: Failure?
      do throws(Failure) {
        try FileSystem().makeDirectories(FileSystem.split(path).directory)
        try FileSystem().replace(path, with: file.bytes)
      } catch {
        failure = error
      }
      state.outcome = Outcome(path: path, spans: file.spanCount, lost: file.heading.lost, failure: failure)
    }
  }

  /// Writes the rest. Nil if nothing was recorded.
  package func finish() -> Outcome? {
    write()
    return state.withLock { $0.outcome }
  }
}
