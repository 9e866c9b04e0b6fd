import Optimization

/// A unit of work: the shards whose gradients a worker computes at one step.
public struct WorkItem: Sendable, Equatable {
  /// Rises with every item that a server hands out. Each server begins at a number of its own, so that a push that was
  /// meant for another server never answers an item of this one.
  public struct ID: Identifier {
    public let value: UInt64
    public init(_ value: UInt64) { self.value = value }
    /// Without the upper half, which is the server's.
    public var description: String { "\(UInt32(truncatingIfNeeded: value))" }
  }

  public var id: ID
  /// On the wire the envelope carries it.
  public var step: UInt64
  public var shards: ShardSet
  /// Of the sum of their gradients.
  public var scale: FixedPointScale

  public init(id: ID, step: UInt64, shards: ShardSet, scale: FixedPointScale = FixedPointScale()) {
    self.id = id
    self.step = step
    self.shards = shards
    self.scale = scale
  }
}
