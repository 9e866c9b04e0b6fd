import Diagnostics
import Messaging

/// What a process does in a step. The phases of one track never overlap.
package enum TracePhase: String, Sendable, CaseIterable {
  /// A worker computes a gradient; the sequential trainer computes one and applies it.
  case compute
  /// A worker hands its push to the transport, the server a snapshot for the coordinator.
  case send
  /// A worker has nothing to compute, the server no push.
  case wait
  /// The server checks a push and adds it to the sum of its step.
  case sum
  /// The server checks a push, adds it and applies the sum, which completes the step; with `ssp` and `asp`, applies it at
  /// once.
  case update
  /// The server hands work, with the weights, to the transport.
  case reply
  /// The server checks a push that does not count.
  case drop
  /// The coordinator evaluates weights.
  case evaluate
  /// The coordinator saves a checkpoint.
  case save
}

extension TracePhase: JSONReadable {}

/// A phase of one step, in nanoseconds of some clock.
package struct TraceSpan: Sendable, Equatable {
  package var phase: TracePhase
  /// The weights stand at this step once the work of the span is applied; of an evaluation or a checkpoint, the step that
  /// they stand at. The first step is 1.
  package var step: UInt64
  package var begin: Int64
  /// Not before `begin`.
  package var end: Int64
  /// The work that the span belongs to, under the number that the server gave it; 0 for none.
  package var item: UInt64
  /// The incarnation of the process that the message of the span came from or went to; 0 for none.
  package var peer: UInt64

  package init(
    _ phase: TracePhase, step: UInt64, from begin: Int64, to end: Int64, item: UInt64 = 0, peer: UInt64 = 0
  ) {
    (self.phase, self.step, self.begin, self.end, self.item, self.peer) = (phase, step, begin, end, item, peer)
  }

  /// Nanoseconds.
  package var duration: Int64 { end - begin }

  /// Of the server that handed out the item; nil without one. The upper half of an item's number is its server's.
  var server: UInt64? { item == 0 ? nil : item >> 32 }
}

extension Instant {
  /// For differences in both directions.
  package var signedNanoseconds: Int64 { Int64(clamping: nanoseconds) }
}
