import Messaging
import Synchronization

/// The spans of one sequence of phases of a process, in memory that is set aside and touched before the first step: nothing
/// is allocated, locked or written while steps are recorded. What does not fit is counted.
///
/// Unchecked because one thread at a time records, while others may read what was recorded before.
package final class TraceTrack: @unchecked Sendable {
  /// Spans of a track at most: 13 MB.
  package static let capacityLimit = 1 << 18

  /// "compute", "messages".
  package let name: String
  private let steps: ClosedRange<UInt64>
  private let memory: UnsafeMutableBufferPointer<TraceSpan>
  private let recorded = Atomic(0)
  private let lost = Atomic(0)
  private var isPast = false
  private let pastRange: @Sendable () -> Void

  /// - Parameters:
  ///   - steps: those that are recorded.
  ///   - capacity: of spans.
  ///   - pastRange: called once, with the first span of a later step, by the thread that records it.
  package init(
    _ name: String, steps: ClosedRange<UInt64>, capacity: Int, pastRange: @escaping @Sendable () -> Void = {}
  ) {
    (self.name, self.steps, self.pastRange) = (name, steps, pastRange)
    memory = .allocate(capacity: min(capacity, Self.capacityLimit))
    memory.initialize(repeating: TraceSpan(.wait, step: 0, from: 0, to: 0))
  }

  deinit { memory.deallocate() }

  /// Records a span of a step of the range; does nothing for another one.
  package func record(
    _ phase: TracePhase, step: UInt64, from begin: Instant, to end: Instant, item: UInt64 = 0, peer: UInt64 = 0
  ) {
    guard step <= steps.upperBound else {
      if !isPast { pastRange() }
      isPast = true
      return
    }
    guard step >= steps.lowerBound else { return }
    let index = recorded.load(ordering: .relaxed)
    guard index < memory.count else {
      lost.wrappingAdd(1, ordering: .relaxed)
      return
    }
    memory[index] = TraceSpan(
      phase, step: step, from: begin.signedNanoseconds, to: end.signedNanoseconds, item: item, peer: peer)
    recorded.store(index + 1, ordering: .releasing)
  }

  /// What was recorded so far, and how many spans did not fit. For any thread.
  package var contents: (spans: [TraceSpan], lost: Int) {
    let count = recorded.load(ordering: .acquiring)
    return (Array(memory[..<count]), lost.load(ordering: .relaxed))
  }

  /// Spans that were recorded or did not fit.
  var count: Int { recorded.load(ordering: .acquiring) + lost.load(ordering: .relaxed) }
}
