import Messaging

/// When a process that died is started again: at once after a life, with growing pauses when it dies young, and no more
/// after dying young too often in a row.
struct RestartPolicy {
  /// Who lives this long has begun well, and what comes later is another accident.
  static let youth = Interval.seconds(10)
  /// Before the first, second, ... restart in a row; there is no further one.
  // defence: restart-pause
  static let pauses: [Interval] = [.seconds(0), .seconds(0.25), .seconds(0.5), .seconds(1), .seconds(2)]

  private var began: Instant
  private var deathsInYouth = 0

  init(began: Instant) { self.began = began }

  /// The process has died.
  /// - Returns: when to start it again; nil for never.
  mutating func died(at now: Instant) -> Instant? {
    if now.since(began) >= Self.youth { deathsInYouth = 0 }
    guard deathsInYouth < Self.pauses.count else { return nil }  // defence: restart-bound
    defer { deathsInYouth += 1 }
    return now + Self.pauses[deathsInYouth]
  }

  /// It has been started again.
  mutating func restarted(at now: Instant) { began = now }
}
