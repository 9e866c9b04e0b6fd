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
  /// Of the next gradients; nil for a plan whose scale is a constant.
  public var scale: FixedPointScale?

  public init(
    step: UInt64, shardClocks: [UInt64], totals: RunTotals, state: OptimizerState,
    scale: FixedPointScale? = nil
  ) {
    self.step = step
    self.scale = scale
    self.shardClocks = shardClocks
    self.totals = totals
    self.state = state
  }

  /// Before the first step of a plan.
  public init(beginning plan: TrainingPlan) {
    self.init(
      step: 0, shardClocks: Array(repeating: 0, count: plan.shardCount), totals: RunTotals(),
      state: OptimizerState(TrainingState(plan: plan)), scale: plan.hasProvenScale ? nil : plan.firstScale)
  }

  /// Whether a server can continue from it under a plan. A snapshot that was received or loaded may not.
  public func fits(_ plan: TrainingPlan) -> Bool {
    shardClocks.count == plan.shardCount && state.fits(plan)
      && (plan.hasProvenScale ? scale == nil : scale?.fits(plan.shape) == true)
  }
}

/// What the optimizer reads and writes, as it travels: the parameters, then the vectors of its state in the order of
/// `Optimizer.Kind.slotNames`. All are Float32, little-endian, laid out as `ModelShape.blocks`.
public struct OptimizerState: Sendable, Equatable {
  public var payload: Payload

  /// - Parameter payload: bytes of any length; `fits` tells whether they are those of a plan.
  public init(_ payload: Payload) { self.payload = payload }

  public init(parameters: ParameterVector, slots: [ParameterVector]) {
    payload = Payload(concatenating: [parameters.values] + slots.map(\.values))
  }

  public init(_ state: TrainingState) { self.init(parameters: state.parameters, slots: state.slots) }

  /// Bytes of such a state: what a server keeps and a snapshot has.
  public static func byteCount(_ plan: TrainingPlan) -> Int {
    byteCount(plan.shape) * (1 + plan.optimizer.kind.slotNames.count)
  }

  /// Whether these are the parameters of the plan's model, with the vectors of the plan's optimizer.
  public func fits(_ plan: TrainingPlan) -> Bool { payload.count == Self.byteCount(plan) }

  /// Whether these are the parameters of a model of this shape, with so many vectors.
  public func fits(_ shape: ModelShape, slots: Int) -> Bool { payload.count == Self.byteCount(shape) * (1 + slots) }

  // The rest is for states that fit.

  /// Float32 [parameterCount], at any alignment.
  public func parameterBytes(of shape: ModelShape) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: payload.bytes[..<Self.byteCount(shape)])
  }

  public func parameters(of shape: ModelShape) -> ParameterVector {
    ParameterVector(payload.elements(of: Float.self, count: shape.parameterCount))
  }

  /// The vectors of the optimizer's state.
  public func slots(of shape: ModelShape) -> [ParameterVector] {
    stride(from: Self.byteCount(shape), to: payload.count, by: Self.byteCount(shape)).map {
      ParameterVector(payload.elements(of: Float.self, at: $0, count: shape.parameterCount))
    }
  }

  private static func byteCount(_ shape: ModelShape) -> Int { shape.parameterCount * MemoryLayout<Float>.stride }
}

extension TrainingState {
  /// Nil if the snapshot does not fit the plan.
  public init?(_ snapshot: TrainingSnapshot, plan: TrainingPlan) {
    guard snapshot.fits(plan) else { return nil }
    self.init(
      step: snapshot.step, parameters: snapshot.state.parameters(of: plan.shape),
      slots: snapshot.state.slots(of: plan.shape), scale: snapshot.scale ?? plan.firstScale)
  }
}

/// What a run has added up since its first step, interruptions included.
public struct RunTotals: Sendable, Equatable {
  /// Clock differences beyond the last bucket count in it.
  public static let stalenessBuckets = 65

  /// Examples whose gradients went into the weights.
  public var examples: UInt64 = 0
  /// Shards whose result was dropped because it came after their step was complete (`bsp:backup=b`), or after that of
  /// another worker.
  public var lateShards: UInt64 = 0
  /// Shards that an idle worker was given because another one was late with them.
  public var takenOverShards: UInt64 = 0
  /// `staleness[k]`: applied pushes whose weights were read when the slowest shard was k clocks behind.
  public var staleness: [UInt64] = Array(repeating: 0, count: RunTotals.stalenessBuckets)

  public init() {}
}
