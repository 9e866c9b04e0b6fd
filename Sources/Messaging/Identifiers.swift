import Diagnostics

/// A number of 64 bits that names one thing of its type.
public protocol Identifier: Sendable, Hashable, Comparable, CustomStringConvertible {
  var value: UInt64 { get }
  init(_ value: UInt64)
}

extension Identifier {
  public static func < (a: Self, b: Self) -> Bool { a.value < b.value }
  public var next: Self { Self(value + 1) }
  public var description: String { String(value) }
}

/// One training run; every message carries it, so two runs can never mix.
public struct RunID: Identifier {
  public let value: UInt64
  public init(_ value: UInt64) { self.value = value }
}

/// One start of one process. A restarted process on the same host and port is another incarnation.
public struct Incarnation: Identifier {
  public let value: UInt64
  public init(_ value: UInt64) { self.value = value }
  public var description: String { hexadecimal(value) }
}

/// Counts the changes of membership; a message under an older one than the receiver's is refused.
public struct MembershipEpoch: Identifier {
  public let value: UInt64
  public init(_ value: UInt64) { self.value = value }
}

/// The roles of a cluster, and the observer that only asks how things stand.
public enum NodeRole: UInt8, Sendable, CaseIterable {
  case coordinator = 1
  case server = 2
  case worker = 3
  case observer = 4
}
