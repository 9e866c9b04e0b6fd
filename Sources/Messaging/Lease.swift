/// Whether the holder of a lease lives, as far as that can be seen.
public enum LeaseHolder: Sendable, Equatable {
  /// It gave the lease back, or is known to have ended.
  case none
  /// It is known to run.
  case running
  /// Whether it runs cannot be seen from here: only its renewals show it.
  case unseen
}

/// What is seen of the newest epoch of a lease.
public struct LeaseSighting: Sendable, Equatable {
  public var epoch: UInt64
  public var holder: LeaseHolder
  /// Which process holds the epoch, and how often it has renewed it: differs after each renewal.
  public var renewal: [UInt8]
  /// After which time without a renewal the lease is free.
  public var length: Interval

  public init(epoch: UInt64, holder: LeaseHolder, renewal: [UInt8], length: Interval) {
    (self.epoch, self.holder, self.renewal, self.length) = (epoch, holder, renewal, length)
  }
}

/// The way of a process to something that one process may have at a time, such as the directory of a run, where no lock can
/// be trusted. The rules alone, without files and clocks.
///
/// Each holder has an epoch, a number that rises from one to the next and that only one process can claim. The holder
/// renews its lease: what others see of it changes. A process that cannot tell whether the holder lives watches it: if it
/// changes twice, the holder lives. A lease that has not changed for its whole length, on the clock of the watcher, has no
/// holder any more, and the next epoch may be claimed. A holder that comes back late finds the next epoch claimed, and has lost.
///
/// Nothing compares the clocks of two hosts, and a first sight that comes late delays a claim.
public struct LeaseApplication: Sendable {
  public enum Decision: Sendable, Equatable {
    /// Claim this epoch. If another process was faster, look again.
    case claim(epoch: UInt64)
    /// Look again soon, and once more at this time.
    case wait(until: Instant)
    /// The holder lives.
    case refuse
  }

  /// What was seen first and has not changed since then, and when that first look had ended.
  private var watched: (sighting: LeaseSighting, since: Instant)?
  /// A single renewal may be the last one of a holder that has ended, seen late.
  private var renewals = 0

  public init() {}

  /// How long a lease is watched: longer than it lasts, because its last renewal may be on its way.
  public static func patience(_ length: Interval) -> Interval { length + length / 4 }

  /// - Parameters:
  ///   - sighting: nil where the lease never had a holder.
  ///   - began: when the look began.
  ///   - ended: when it had ended. What it saw was written before.
  public mutating func sees(
    _ sighting: LeaseSighting?, from began: Instant, to ended: Instant
  ) -> Decision {
    guard let sighting else { return .claim(epoch: 1) }
    switch sighting.holder {
    case .none: return .claim(epoch: sighting.epoch + 1)
    case .running: return .refuse
    case .unseen: break
    }
    if let watched, sighting != watched.sighting { renewals += 1 }
    if renewals > 1 { return .refuse }  // defence: lease-renewed
    guard let watched, sighting == watched.sighting else {
      self.watched = (sighting, ended)
      return .wait(until: ended + Self.patience(sighting.length))
    }
    let end = watched.since + Self.patience(sighting.length)
    return began >= end ? .claim(epoch: sighting.epoch + 1) : .wait(until: end)  // defence: lease-patience
  }
}

/// A lease from the side of its holder.
public struct LeaseTerm: Sendable, Equatable {
  public enum Task: Sendable, Equatable {
    case renew
    /// The lease may have expired: nothing may be changed before this epoch is claimed.
    case claim(epoch: UInt64)
  }

  public let length: Interval
  public private(set) var epoch: UInt64
  /// When the newest renewal began that has reached the others.
  public private(set) var renewed: Instant
  /// Another process has the lease.
  public private(set) var isLost = false

  /// - Parameter began: when the claim of the epoch began.
  public init(epoch: UInt64, length: Interval, began: Instant) {
    (self.epoch, self.length, renewed) = (epoch, length, began)
  }

  /// Between two renewals: several may fail before the lease expires.
  public static func pause(_ length: Interval) -> Interval { length / 4 }

  /// Whether no other process can have claimed the lease.
  public func isCurrent(at now: Instant) -> Bool {
    !isLost && now.since(renewed) < length  // defence: lease-expiry
  }

  /// What keeps the lease; nil if it is lost.
  public func task(at now: Instant) -> Task? {
    if isLost { return nil }
    return isCurrent(at: now) ? .renew : .claim(epoch: epoch + 1)
  }

  /// A task has been done and has reached the others. A renewal that took longer than the lease lasted is none: a watcher
  /// may have missed it.
  public mutating func succeeded(_ task: Task, from began: Instant, to ended: Instant) {
    switch task {
    case .renew: if isCurrent(at: ended) { renewed = began }
    case .claim(let epoch): (self.epoch, renewed) = (epoch, began)
    }
  }

  /// A later epoch, or another holder of this one, was seen.
  public mutating func lose() { isLost = true }
}
