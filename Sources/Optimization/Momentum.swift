/// Which of the two classical momentum updates is made. The raw values are part of the wire format.
public enum MomentumKind: UInt8, Sendable, CaseIterable {
  /// `v ← μ v + g; w ← w − η v` (Polyak 1964, in the form PyTorch uses).
  case polyak = 1
  /// `v ← μ v + g; w ← w − η (g + μ v)` (Nesterov 1983, in the form of Sutskever et al. 2013 that PyTorch uses).
  case nesterov = 2
}

/// Momentum of the update; the velocity v starts at zero and has the layout of the parameters.
public struct Momentum: Sendable, Equatable {
  /// μ, in 0 ..< 1. At 0 there is no velocity and the update is `w ← w − η g`.
  public var coefficient: Float
  public var kind: MomentumKind

  public static let off = Momentum(coefficient: 0, kind: .polyak)

  public init(coefficient: Float, kind: MomentumKind) {
    self.coefficient = coefficient
    self.kind = kind
  }
}
