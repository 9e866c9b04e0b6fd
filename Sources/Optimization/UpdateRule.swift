import CKernels

/// Turns a summed gradient into new parameters, as the optimizer and the regularizers of a plan say: `w ← w − η d`, where d
/// is what the optimizer makes of `g = q / (scale · examples) + 2 λ₂ w + λ₁ sign w` (of which the bias has no penalty); then
/// the rows of the weights whose norm is limited are scaled.
public struct UpdateRule: Sendable {
  private let plan: TrainingPlan
  private let blocks: [ParameterBlock]
  private let optimizer: any OptimizerFunction
  private let slotCount: Int
  /// A constant of the program, found once by name.
  nonisolated(unsafe) private let kernel: UnsafePointer<descent_kernel>
  /// Plain Swift instead of the kernels, with the same bits.
  private let usesGenericPath: Bool
  /// The parameters that it updates.
  private let range: Range<Int>
  /// The range, cut where another thread may go on: each element gets the same bits in a piece as in the whole.
  private let pieces: [Range<Int>]

  /// - Parameters:
  ///   - range: a part of the flat vector of parameters, nil for all: from a chunk of `GradientNorm` to another or to the
  ///     end, which cuts no row whose norm is limited. Sums, states and copies are those of the range, and each element gets
  ///     the bits of an update of all.
  ///   - usesGenericPath: true for plain Swift, which the kernels are compared with.
  public init(plan: TrainingPlan, range: Range<Int>? = nil, kernel: KernelVariant, usesGenericPath: Bool = false) {
    let all = 0..<plan.shape.parameterCount
    let range = range ?? all
    precondition(
      range.lowerBound % GradientNorm.chunk == 0 && range.clamped(to: all) == range
        && (range.upperBound % GradientNorm.chunk == 0 || range.upperBound == all.upperBound),
      "a range of parameters consists of chunks")
    self.plan = plan
    self.range = range
    self.usesGenericPath = usesGenericPath
    pieces = usesGenericPath || plan.maxNorm > 0 ? [range] : range.cut(into: Self.pieceLength)
    self.kernel = kernel.functions
    blocks = plan.shape.blocks
    optimizer = plan.optimizer.kind.function
    slotCount = optimizer.slotNames.count
    for border in [range.lowerBound, range.upperBound] where plan.maxNorm > 0 {
      precondition(
        blocks.allSatisfy { block in
          !block.isRegularized || !block.range.contains(border)
            || (border - block.range.lowerBound) % block.rowLength == 0
        }, "a range of parameters consists of rows")
    }
  }

  /// Applies the gradient of one step, or of some of its shards. Leaves `state.step` as it is.
  ///
  /// The gradient of some shards, f = `shards` / S of the whole, counts like f steps with their mean gradient: the learning
  /// rate is f η, and what the optimizer's state forgets in a step by the factor ρ it forgets by ρ^f
  /// (`OptimizerFunction.averages`). S fractions together move weights and state like one step.
  /// - Parameters:
  ///   - sum: int32 [range] at any alignment, as `KernelBackend` gives it, summed over shards; it must count
  ///     (`TrainingPlan.correction`).
  ///   - scale: of the sum.
  ///   - addend: the rest of the sum, if it came in two parts.
  ///   - examples: that the sum is of, at least 1: fewer than B where backup shards were dropped; nil for those of the
  ///     shards.
  ///   - shards: how many of the step's shards it is the gradient of, in 1 ... S; nil for a whole step.
  ///   - step: the step whose learning rate applies.
  ///   - state: Float32 [range] each, the parameters and the vectors of the optimizer's state.
  ///   - norm: of the range, set to that of this gradient, penalty included.
  ///   - copy: [range], set to the new parameters on the way.
  ///   - runPieces: runs the pieces that a long range is cut into. Any order and any threads give the same bits.
  public func apply(
    _ sum: UnsafeRawPointer, scale: FixedPointScale, adding addend: UnsafeRawPointer? = nil, examples: Int? = nil,
    shards: Int? = nil, learningRate step: UInt64, to state: inout TrainingState, norm: inout GradientNorm,
    copy: UnsafeMutablePointer<Float>? = nil, runPieces: PieceRunner = runInOrder
  ) {
    precondition(state.parameters.count == range.count, "the state is that of the range")
    precondition(
      state.slots.count == slotCount && state.slots.allSatisfy { $0.count == range.count },
      "the state is that of the optimizer")
    let examples = examples ?? plan.examplesPerShard * (shards ?? plan.shardCount)
    withUnsafeTemporaryAllocation(of: descent_block.self, capacity: FixedPointScale.maximumBlocks) { kernelBlocks in
      for (index, block) in blocks.enumerated() {
        let unitsPerOne = Double(scale.unitsPerOne(inBlock: index))
        kernelBlocks[index] = descent_block(
          end: block.range.upperBound, gradient_scale: Float(1 / (unitsPerOne * plan.divisor(examples: examples))),
          decay: block.isRegularized ? 2 * plan.l2 : 0, l1: block.isRegularized ? plan.l1 : 0,
          row: block.isRegularized && plan.maxNorm > 0 ? block.rowLength : 0)
      }
      var update = update(at: step, fraction: Double(shards ?? plan.shardCount) / Double(plan.shardCount))
      update.blocks = UnsafePointer(kernelBlocks.baseAddress)
      // Taken out while they are written to: the state then holds no second reference, so nothing is copied.
      var slots = state.slots
      state.slots = []
      state.parameters.withUnsafeMutablePointer { parameters in
        norm.squares.withUnsafeMutableBufferPointer { squares in
          Self.withPointers(to: &slots) { first, second in
            if usesGenericPath {
              applyGenerically(update, sum, addend, parameters, (first, second), squares)
              copy?.update(from: parameters, count: range.count)
            } else {
              withUnsafePointer(to: update) { update in
                runPieces(pieces.count) { index in
                  let piece = pieces[index]
                  let offset = piece.lowerBound - range.lowerBound
                  let bytes = offset * MemoryLayout<Int32>.stride
                  kernel.pointee.apply(
                    update, piece.lowerBound, piece.count, sum + bytes, addend.map { $0 + bytes }, parameters + offset,
                    first.map { $0 + offset }, second.map { $0 + offset }, copy.map { $0 + offset },
                    squares.baseAddress.map { $0 + offset / GradientNorm.chunk * GradientNorm.lanes })
                }
              }
            }
          }
        }
      }
      state.slots = slots
    }
  }

  /// 16 chunks of `GradientNorm`: 128 kB of each vector.
  static let pieceLength = 16 * GradientNorm.chunk

  /// All but the blocks.
  private func update(at step: UInt64, fraction: Double) -> descent_update {
    let averages = optimizer.averages(plan.optimizer, step: step + 1, fraction: fraction)
    return descent_update(
      optimizer: descent_optimizer(UInt32(plan.optimizer.kind.rawValue)),
      learning_rate: Float(Double(plan.learningRate.rate(at: step)) * fraction), first: averages.first,
      second: averages.second, epsilon: Float(plan.optimizer[.epsilon]), max_norm: plan.maxNorm, blocks: nil)
  }

  private static func withPointers(
    to slots: inout [ParameterVector], _ body: (UnsafeMutablePointer<Float>?, UnsafeMutablePointer<Float>?) -> Void
  ) {
    switch slots.count {
    case 0: body(nil, nil)
    case 1: slots[0].withUnsafeMutablePointer { body($0, nil) }
    default:
      slots.withUnsafeMutableBufferPointer { slots in
        slots[0].withUnsafeMutablePointer { first in slots[1].withUnsafeMutablePointer { body(first, $0) } }
      }
    }
  }
}

// MARK: - Pieces

/// Runs `body(0)` to `body(count - 1)`, each once, in any order and on any threads, and returns when all have returned.
public typealias PieceRunner = (_ count: Int, _ body: (Int) -> Void) -> Void

/// The runner of a caller that has one thread.
public func runInOrder(_ count: Int, _ body: (Int) -> Void) {
  for piece in 0..<count { body(piece) }
}

extension Range<Int> {
  fileprivate func cut(into length: Int) -> [Range] {
    stride(from: lowerBound, to: upperBound, by: length).map { $0..<Swift.min($0 + length, upperBound) }
  }
}

// MARK: - Plain Swift

extension UpdateRule {
  /// What the kernels compute, in the same order and so with the same bits.
  private func applyGenerically(
    _ update: descent_update, _ sum: UnsafeRawPointer, _ addend: UnsafeRawPointer?,
    _ parameters: UnsafeMutablePointer<Float>,
    _ slots: (first: UnsafeMutablePointer<Float>?, second: UnsafeMutablePointer<Float>?),
    _ squares: UnsafeMutableBufferPointer<Double>
  ) {
    func element(_ index: Int, of sum: UnsafeRawPointer) -> Int32 {
      sum.loadUnaligned(fromByteOffset: index * MemoryLayout<Int32>.stride, as: Int32.self)
    }
    for lane in squares.indices { squares[lane] = 0 }
    for (block, rule) in zip(blocks, UnsafeBufferPointer(start: update.blocks, count: blocks.count))
    where block.range.overlaps(range) {
      for parameter in block.range.clamped(to: range) {
        let index = parameter - range.lowerBound
        let weight = parameters[index]
        let total = element(index, of: sum) &+ (addend.map { element(index, of: $0) } ?? 0)
        let data = Float(total) * rule.gradient_scale
        let subgradient = weight > 0 ? rule.l1 : weight < 0 ? -rule.l1 : 0
        var gradient = data.addingProduct(rule.decay, weight)
        if rule.l1 != 0 { gradient += subgradient }
        var state = SIMD2(slots.first?[index] ?? 0, slots.second?[index] ?? 0)
        var direction = optimizer.direction(of: optimizer.decouplesPenalty ? data : gradient, &state, update)
        if optimizer.decouplesPenalty {
          direction = direction.addingProduct(rule.decay, weight)
          if rule.l1 != 0 { direction += subgradient }
        }
        slots.first?[index] = state[0]
        slots.second?[index] = state[1]
        parameters[index] = weight.addingProduct(-update.learning_rate, direction)
        let lane = index / GradientNorm.chunk * GradientNorm.lanes + index % GradientNorm.lanes
        squares[lane] += Double(gradient) * Double(gradient)
      }
      guard rule.row > 0 else { continue }
      for row in stride(from: block.range.lowerBound, to: block.range.upperBound, by: rule.row)
      where range.contains(row) {
        limitNorm(
          of: UnsafeMutableBufferPointer(start: parameters + (row - range.lowerBound), count: rule.row),
          to: update.max_norm)
      }
    }
  }

  private func limitNorm(of row: UnsafeMutableBufferPointer<Float>, to limit: Float) {
    var squares = InlineArray<16, Double>(repeating: 0)
    for index in row.indices { squares[index % GradientNorm.lanes] += Double(row[index]) * Double(row[index]) }
    let square = sumByHalves(&squares)
    guard square > Double(limit) * Double(limit) else { return }
    let factor = Float(Double(limit) / square.squareRoot())
    for index in row.indices { row[index] *= factor }
  }
}
