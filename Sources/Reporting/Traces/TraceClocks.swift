import Diagnostics

/// What is to be added to the times of a clock to have them on the clock of the server, in nanoseconds, and how far that may
/// be off.
package struct ClockOffset: Sendable, Equatable {
  package enum Method: String, Sendable {
    /// The processes share the clock of one host.
    case same
    /// No message arrives before it was sent: work handed out bounds the offset from one side, a push from the other.
    case messages
    /// The calendars of the two hosts; there was no message in one of the directions.
    case calendar
  }

  package var method: Method
  package var nanoseconds: Int64
  /// Half the distance of the two bounds; nil where it is not known. Without drift of the clocks, the true offset is within.
  package var error: Int64?

  package static let none = ClockOffset(method: .same, nanoseconds: 0, error: 0)
}

/// Brings the clocks of several hosts together.
struct TraceClocks {
  /// When a message left one side and when it had arrived at the other one. Of a repeated message the first departure
  /// and the last arrival count: the bounds then hold for whichever copy came through.
  private struct Passage {
    var left: Int64?
    var arrived: Int64?

    mutating func leave(at time: Int64) { left = min(left ?? time, time) }
    mutating func arrive(at time: Int64) { arrived = max(arrived ?? time, time) }
  }

  private let reference: TraceFile.Heading?
  /// By the number of the item, on the clock of the server.
  private var replies: [UInt64: Int64] = [:]
  private var receptions: [UInt64: Int64] = [:]

  /// - Parameter files: those of one start.
  init(_ files: [TraceFile]) {
    let rank = ["server", "coordinator", "train"]
    reference =
      files.map(\.heading).min { first, second in
        let ranks = [first, second].map { rank.firstIndex(of: $0.role) ?? rank.count }
        return ranks[0] != ranks[1] ? ranks[0] < ranks[1] : first.began > second.began
      }
    for file in files where file.heading.role == "server" && file.heading.clock == reference?.clock {
      for span in file.tracks.flatMap(\.spans) where span.item != 0 {
        switch span.phase {
        case .reply: replies[span.item] = min(replies[span.item] ?? .max, span.begin)
        case .sum, .update, .drop: receptions[span.item] = max(receptions[span.item] ?? .min, span.begin)
        default: break
        }
      }
    }
  }

  /// Of the clock that these files have in common.
  func offset(of files: [TraceFile]) -> ClockOffset {
    guard let reference, let heading = files.first?.heading, heading.clock != reference.clock else { return .none }
    var (work, pushes): ([UInt64: Passage], [UInt64: Passage]) = ([:], [:])
    for span in files.filter({ $0.heading.role == "worker" }).flatMap(\.tracks).flatMap(\.spans) where span.item != 0 {
      if span.phase == .wait { work[span.item, default: Passage()].arrive(at: span.end) }
      if span.phase == .send { pushes[span.item, default: Passage()].leave(at: span.begin) }
    }
    let lower = work.compactMap { item, passage in replies[item].flatMap { left in passage.arrived.map { left - $0 } } }
    let upper = pushes.compactMap { item, passage in
      receptions[item].flatMap { arrived in passage.left.map { arrived - $0 } }
    }
    if let low = lower.max(), let high = upper.min() {
      return ClockOffset(method: .messages, nanoseconds: low + (high - low) / 2, error: abs(high - low) / 2)
    }
    let calendar = (heading.began * 1000 - heading.origin) - (reference.began * 1000 - reference.origin)
    let bounded = min(max(calendar, lower.max() ?? .min), upper.min() ?? .max)
    return ClockOffset(method: .calendar, nanoseconds: bounded, error: nil)
  }
}
