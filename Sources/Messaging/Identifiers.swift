import Diagnostics

/// One training run; every message carries it, so two runs can never mix.
public struct RunID: Sendable, Hashable {
  public let value: UInt64
  public init(_ value: UInt64) { self.value = value }
}

/// One start of one process. A restarted process on the same host and port is another incarnation.
public struct Incarnation: Sendable, Hashable, Comparable, CustomStringConvertible {
  public let value: UInt64
  public init(_ value: UInt64) { self.value = value }
  public static func < (a: Self, b: Self) -> Bool { a.value < b.value }
  public var description: String { hexadecimal(value) }
}

/// Counts the changes of membership; a message under an older one than the receiver's is refused.
public struct MembershipEpoch: Sendable, Hashable, Comparable, CustomStringConvertible {
  public let value: UInt64
  public init(_ value: UInt64) { self.value = value }
  public static func < (a: Self, b: Self) -> Bool { a.value < b.value }
  public var next: MembershipEpoch { MembershipEpoch(value + 1) }
  public var description: String { String(value) }
}

/// The roles of a cluster, and the observer that only asks how things stand.
public enum NodeRole: UInt8, Sendable, CaseIterable, CustomStringConvertible {
  case coordinator = 1
  case server = 2
  case worker = 3
  case observer = 4
  public var description: String {
    switch self {
    case .coordinator: "coordinator"
    case .server: "server"
    case .worker: "worker"
    case .observer: "observer"
    }
  }
}
