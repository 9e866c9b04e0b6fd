import Optimization

/// Where training stands after a step: all that the optimizer needs to continue with the same bits, and what it has
/// counted so far. The sampler is counter based, so the step alone says which examples come next.
public struct TrainingSnapshot: Sendable, Equatable {
  /// Updates applied so far; the next gradient is that of this step. On the wire it is the envelope's.
  public var step: UInt64
  /// Steps applied for each shard; all equal to `step` under `bsp`.
  public var shardClocks: [UInt64]
  public var totals: RunTotals
  public var state: OptimizerState

  public init(step: UInt64, shardClocks: [UInt64], totals: RunTotals, state: OptimizerState) {
    self.step = step
    self.shardClocks = shardClocks
    self.totals = totals
    self.state = state
  }

  /// Before the first step of a plan.
  public init(beginning plan: TrainingPlan) {
    self.init(
      step: 0, shardClocks: Array(repeating: 0, count: plan.shardCount), totals: RunTotals(),
      state: OptimizerState(TrainingState(plan: plan)))
  }

  /// Whether a server can continue from it under a plan. A snapshot that was received or loaded may not.
  public func fits(_ plan: TrainingPlan) -> Bool {
    shardClocks.count == plan.shardCount && state.fits(plan)
  }
}

/// What the optimizer reads and writes, as it travels and as it is saved: the parameters, then the velocity if there is
/// one. Both are Float32, little-endian, laid out as `ModelShape.blocks`.
public struct OptimizerState: Sendable, Equatable {
  public var payload: Payload

  /// - Parameter payload: bytes of any length; `fits` tells whether they are those of a plan.
  public init(_ payload: Payload) { self.payload = payload }

  public init(parameters: ParameterVector, velocity: ParameterVector?) {
    payload = Payload(concatenating: parameters.values, velocity?.values ?? [])
  }

  public init(_ state: TrainingState) { self.init(parameters: state.parameters, velocity: state.velocity) }

  /// Whether these are the parameters of the plan's model, with a velocity if and only if the plan has momentum.
  public func fits(_ plan: TrainingPlan) -> Bool {
    payload.count == Self.byteCount(plan.shape) * (plan.momentum.coefficient != 0 ? 2 : 1)
  }

  /// Whether these are the parameters of a model of this shape, with a velocity or without.
  public func fits(_ shape: ModelShape) -> Bool { payload.count == Self.byteCount(shape) || hasVelocity(of: shape) }

  public func hasVelocity(of shape: ModelShape) -> Bool { payload.count == 2 * Self.byteCount(shape) }

  // The rest is for states that fit.

  /// Float32 [parameterCount], at any alignment.
  public func parameterBytes(of shape: ModelShape) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: payload.bytes[..<Self.byteCount(shape)])
  }

  public func parameters(of shape: ModelShape) -> ParameterVector {
    ParameterVector(payload.elements(of: Float.self, count: shape.parameterCount))
  }

  public func velocity(of shape: ModelShape) -> ParameterVector? {
    guard hasVelocity(of: shape) else { return nil }
    return ParameterVector(
      payload.elements(of: Float.self, at: Self.byteCount(shape), count: shape.parameterCount))
  }

  private static func byteCount(_ shape: ModelShape) -> Int { shape.parameterCount * MemoryLayout<Float>.stride }
}

extension TrainingState {
  /// Nil if the snapshot does not fit the plan.
  public init?(_ snapshot: TrainingSnapshot, plan: TrainingPlan) {
    guard snapshot.fits(plan) else { return nil }
    self.init(
      step: snapshot.step, parameters: snapshot.state.parameters(of: plan.shape),
      velocity: snapshot.state.velocity(of: plan.shape))
  }
}

/// What a run has added up since its first step, interruptions included.
public struct RunTotals: Sendable, Equatable {
  /// Clock differences beyond the last bucket count in it.
  public static let stalenessBuckets = 65

  /// Examples whose gradients went into the weights.
  public var examples: UInt64 = 0
  /// Pushes that came after their step was complete (`bsp:backup=b`), in shards.
  public var lateShards: UInt64 = 0
  /// `staleness[k]`: applied pushes whose weights were read when the slowest shard was k clocks behind.
  public var staleness: [UInt64] = Array(repeating: 0, count: RunTotals.stalenessBuckets)

  public init() {}
}
