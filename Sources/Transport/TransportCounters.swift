import Messaging

/// Counts of the messages that a node's links carried and dropped.
public struct TransportCounters: Sendable, Equatable {
  /// Why a received message was dropped. The raw values are their names in metrics.
  public enum Rejection: String, Sendable, CaseIterable {
    /// The routing id is not a role and an incarnation, or contradicts the envelope.
    case identity
    case frameCount = "frame-count"
    case length
    case magic
    case version
    case type
    case headerChecksum = "header-checksum"
    case bodyChecksum = "body-checksum"
    case field
  }

  public var sent: UInt64 = 0
  public var received: UInt64 = 0
  /// Bytes of the received messages: envelope, fields and payload, without what ZeroMQ adds.
  public var bytesFromSockets: UInt64 = 0
  public var bytesFromMemory: UInt64 = 0
  /// How often the node waited for messages: polls that may sleep.
  public var waits: UInt64 = 0
  /// Not sent because the peer is not connected; the roles repeat what matters.
  public var unroutable: UInt64 = 0
  /// Not sent because the peer's queue is full.
  public var overflowed: UInt64 = 0
  private var rejections: [Rejection: UInt64] = [:]

  /// Received messages that were dropped for this reason.
  public func rejected(_ reason: Rejection) -> UInt64 { rejections[reason, default: 0] }

  /// All received messages that were dropped.
  public var rejected: UInt64 { rejections.values.reduce(0, +) }

  public mutating func reject(_ reason: Rejection) { rejections[reason, default: 0] += 1 }
}

extension TransportCounters.Rejection {
  public init(_ error: CodecError) {
    self =
      switch error {
      case .wrongLength: .length
      case .wrongMagic: .magic
      case .unsupportedVersion: .version
      case .unknownType: .type
      case .wrongHeaderChecksum: .headerChecksum
      case .wrongBodyChecksum: .bodyChecksum
      case .invalidField: .field
      }
  }
}
