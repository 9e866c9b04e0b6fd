import Messaging
import Optimization

/// The weights and the optimizer's state of a range of the parameters, and the sum of the gradients of the open step.
/// Which gradients are added and applied, `WorkScheduler` decides.
struct ParameterStore {
  /// The sum of the open step so far. The first gradient is kept as it came: only a third one needs a sum to be written
  /// down before the update reads it.
  private enum OpenSum {
    case empty
    case one(Payload)
    /// In `sum`.
    case several
  }

  /// Of the flat vector of parameters; begins at a chunk of `GradientNorm`.
  let range: Range<Int>
  private let kernel: KernelVariant
  private let rule: UpdateRule
  /// The parameters of the range, and the optimizer's vectors.
  private(set) var state: TrainingState
  private var squares: GradientNorm
  private var openSum = OpenSum.empty
  private var sum: [Int32]
  /// The current weights as sent to workers, made when first needed after an update.
  private var encodedParameters: Payload?
  private let pool: PayloadPool
  private let runPieces: PieceRunner

  /// - Parameters:
  ///   - range: the whole vector, or a part that begins at a chunk of `GradientNorm` and ends at one or with the vector.
  ///   - makePool: makes the memory for the weights that workers are sent, given their size in bytes and how many may
  ///     be under way at once.
  ///   - runPieces: runs the pieces of an update.
  init(
    plan: TrainingPlan, range: Range<Int>, state: TrainingState, kernel: KernelVariant,
    makePool: (Int, Int) -> PayloadPool, runPieces: @escaping PieceRunner
  ) {
    precondition(state.parameters.count == range.count, "the state is that of the range")
    self.range = range
    self.runPieces = runPieces
    self.state = state
    self.kernel = kernel
    rule = UpdateRule(plan: plan, range: range, kernel: kernel)
    squares = GradientNorm(of: range)
    sum = Array(repeating: 0, count: range.count)
    pool = makePool(range.count * MemoryLayout<Float>.stride, plan.weightsUnderWay)
  }

  /// ‖g‖₂ of the newest update; not a number before the first.
  var gradientNorm: Double { squares.value }

  /// Float32 [range], shared by all workers that are sent the same weights.
  mutating func parameters() -> Payload {
    if let encodedParameters { return encodedParameters }
    let encoded = pool.make { target in
      state.parameters.values.withUnsafeBytes { target.copyMemory(from: $0) }
    }
    encodedParameters = encoded
    return encoded
  }

  /// Adds a gradient to the open step's sum.
  mutating func add(_ gradient: Payload) {
    switch openSum {
    case .empty:
      openSum = .one(gradient)
      return
    case .one(let first): add(first.bytes.baseAddress, gradient)
    case .several: add(nil, gradient)
    }
    openSum = .several
  }

  /// - Parameter first: nil for the sum so far.
  private mutating func add(_ first: UnsafeRawPointer?, _ second: Payload) {
    let second = second.bytes.baseAddress.unsafelyUnwrapped
    sum.withUnsafeMutableBufferPointer { [kernel] sum in
      kernel.add(first ?? UnsafeRawPointer(sum.baseAddress.unsafelyUnwrapped), second, into: sum)
    }
  }

  /// Forgets the gradients of the open step.
  mutating func dropSum() { openSum = .empty }

  /// Adds the last gradient of the open step, applies the sum, and makes it into the weights that workers are sent, all in
  /// one pass.
  mutating func applyStep(adding last: Payload, examples: Int, scale: FixedPointScale) {
    let gradient = last.bytes.baseAddress.unsafelyUnwrapped
    encodedParameters = pool.make { [rule, openSum, runPieces] target in
      let copy = target.assumingMemoryBound(to: Float.self).baseAddress
      let step = state.step
      switch openSum {
      case .empty:
        rule.apply(
          gradient, scale: scale, examples: examples, learningRate: step, to: &state, norm: &squares, copy: copy,
          runPieces: runPieces)
      case .one(let first):
        rule.apply(
          first.bytes.baseAddress.unsafelyUnwrapped, scale: scale, adding: gradient, examples: examples,
          learningRate: step, to: &state, norm: &squares, copy: copy, runPieces: runPieces)
      case .several:
        sum.withUnsafeBytes { sum in
          rule.apply(
            sum.baseAddress.unsafelyUnwrapped, scale: scale, adding: gradient, examples: examples, learningRate: step,
            to: &state, norm: &squares, copy: copy, runPieces: runPieces)
        }
      }
    }
    openSum = .empty
    state.step += 1
  }

  /// `ssp` and `asp`: applies a gradient of k shards, k/S of a step.
  /// - Parameter step: where that leads.
  mutating func applyFraction(_ gradient: Payload, scale: FixedPointScale, shards: Int, leadingTo step: UInt64) {
    let gradient = gradient.bytes.baseAddress.unsafelyUnwrapped
    encodedParameters = pool.make { [rule, runPieces] target in
      rule.apply(
        gradient, scale: scale, shards: shards, learningRate: state.step, to: &state, norm: &squares,
        copy: target.assumingMemoryBound(to: Float.self).baseAddress, runPieces: runPieces)
    }
    state.step = step
  }
}

extension TrainingPlan {
  /// Weights of different steps that workers may be reading at once: each as many as can be under way to it. Memory for
  /// them is set aside; with `bsp` three are used, with the other models two for each worker.
  package var weightsUnderWay: Int { 4 * shardCount + 2 }
}
