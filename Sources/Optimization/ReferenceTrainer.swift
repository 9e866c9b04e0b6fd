// L and N as in the lecture.
// swift-format-ignore: AlwaysUseLowerCamelCase
/// The lecture on one page: a network of fully connected layers, or a linear classifier, trained by minibatch stochastic
/// gradient descent, in double precision and one obvious line each. Slow, and the oracle that everything fast is compared
/// with.
///
/// CS231n, https://cs231n.github.io: "Linear classification" (scores, losses, penalty), "Optimization" (gradient
/// descent, backpropagation) and "Neural Networks Part 1" to "Part 3" (layers, dropout, optimizers). With N examples in a
/// minibatch, layers 1 … M, an input x = h₀ [D], the activation f and scores s = z of layer M [K]:
///
///     z = W h + b                                       of each layer, with the output h of the one before it
///     h = f(z) ⊙ m                                      output of a hidden layer; m is 1, or the dropout mask of a step
///     L = (1/N) Σ Lᵢ(s, y) + R(W)                       the objective; a bias b has no penalty
///     dz = ∂Lᵢ/∂s in layer M,  (Wᵀ dz) ⊙ f′(z) ⊙ m      W and dz of the next layer, in a hidden one
///     dW = (1/N) Σ dz hᵀ + ∂R/∂W,  db = (1/N) Σ dz      the gradient g
///     w −= η d                                          the update of all W and b: d is what the optimizer makes of g
///
/// With `plan.reduction` sum, (1/N) is left out. `w` is flat, [parameterCount], as in `ModelShape.blocks`: of each layer W
/// row-major, then b.
public struct ReferenceTrainer: Sendable {
  /// An input and its label.
  public struct Example: Sendable {
    /// [D], `(pixel − mean) / 127.5`.
    public var x: [Double]
    /// In 0 ..< K.
    public var y: Int
    /// Of the example in its table; the dropout mask depends on it.
    public var index: UInt32

    public init(x: [Double], y: Int, index: UInt32 = 0) { (self.x, self.y, self.index) = (x, y, index) }
  }

  /// What a forward pass computes of one example.
  public struct ForwardPass: Sendable {
    /// h of the layer before, for each layer; the first is x.
    public internal(set) var inputs: [[Double]]
    /// z of each layer; the last are the scores.
    public internal(set) var sums: [[Double]]
    /// f′(z) ⊙ m of each hidden layer.
    var slopes: [[Double]] = []
    /// m of each hidden layer.
    var masks: [[Double]]

    /// s [K].
    public var scores: [Double] { sums[sums.count - 1] }
  }

  /// Shape, loss, penalty, learning rate and optimizer.
  public let plan: TrainingPlan
  /// The parameters [parameterCount].
  public private(set) var w: [Double]
  /// The optimizer's state [parameterCount]: for each parameter the elements of the vectors that the optimizer has, then
  /// zeros.
  public private(set) var state: [SIMD2<Double>]
  /// Updates made so far.
  public private(set) var t: UInt64 = 0

  /// - Parameter w: where to begin [parameterCount]; nil for the initial parameters of the plan.
  public init(plan: TrainingPlan, w: [Double]? = nil) {
    self.plan = plan
    self.w = w ?? ParameterVector.initial(plan: plan).values.map(Double.init)
    state = Array(repeating: SIMD2(), count: plan.shape.parameterCount)
  }

  /// One step of the training loop.
  /// - Returns: the mean of Lᵢ before the update, without the penalty, and ‖g‖₂ with it.
  public mutating func step(_ minibatch: [Example]) -> (loss: Double, gradientNorm: Double) {
    let (loss, g) = lossAndGradient(minibatch, at: w, step: t)
    update(by: g)
    let mean = loss * plan.divisor(examples: minibatch.count) / Double(minibatch.count)
    return (mean, g.reduce(0) { $0 + $1 * $1 }.squareRoot())
  }

  /// (1/N) Σ Lᵢ of N examples, and the gradient of the objective [parameterCount].
  /// - Parameter step: whose dropout masks apply; nil for none, as in an evaluation.
  public func lossAndGradient(
    _ minibatch: [Example], at w: [Double], step: UInt64? = nil
  ) -> (loss: Double, gradient: [Double]) {
    let N = plan.divisor(examples: minibatch.count)
    let layers = plan.shape.layers
    var loss = 0.0
    var g = [Double](repeating: 0, count: plan.shape.parameterCount)
    for example in minibatch {
      let pass = forward(example, at: w, step: step)
      let (value, ds) = plan.lossFunction(scores: pass.scores, label: example.y)  // Lᵢ, [K]
      loss += value / N
      var dz = ds.map { $0 / N }
      for (l, layer) in layers.enumerated().reversed() {
        let (W, b, h) = (layer.weight.lowerBound, layer.bias.lowerBound, pass.inputs[l])
        for k in 0..<layer.outputs {
          let row = W + k * layer.inputs
          for j in 0..<layer.inputs { g[row + j] += dz[k] * h[j] }  // dW [outputs, inputs] += dz hᵀ
          g[b + k] += dz[k]  // db [outputs] += dz
        }
        if l == 0 { break }
        let slopes = pass.slopes[l - 1]
        dz = (0..<layer.inputs).map { j in  // (Wᵀ dz) ⊙ f′(z) ⊙ m
          var dh = 0.0
          for k in 0..<layer.outputs { dh += w[W + k * layer.inputs + j] * dz[k] }
          return dh * slopes[j]
        }
      }
    }
    for block in plan.shape.blocks where block.isRegularized {
      for i in block.range { g[i] += plan.penaltyDerivative(at: w[i]) }  // dW += ∂R/∂W
    }
    return (loss, g)
  }

  /// Moves w by the gradient g [parameterCount] of the objective.
  public mutating func update(by g: [Double]) {
    let eta = Double(plan.learningRate.rate(at: t))
    let optimizer = plan.optimizer.kind.function
    t += 1
    for block in plan.shape.blocks {
      for i in block.range {
        // What passes by the optimizer, such as AdamW's decay.
        let r = optimizer.decouplesPenalty && block.isRegularized ? plan.penaltyDerivative(at: w[i]) : 0
        w[i] -= eta * (optimizer.direction(of: g[i] - r, &state[i], step: t, plan.optimizer) + r)
      }
    }
    plan.limitNorms(of: &w)
  }

  /// s [K] of an input x [D], without dropout.
  public func scores(of x: [Double], at w: [Double]) -> [Double] { forward(Example(x: x, y: 0), at: w).scores }

  /// z and h of every layer.
  /// - Parameter step: whose dropout masks apply; nil for none.
  public func forward(_ example: Example, at w: [Double], step: UInt64? = nil) -> ForwardPass {
    let dropout = DropoutMask(plan: plan)
    let masks = plan.shape.hidden.enumerated().map { l, units in
      (0..<units).map { unit in
        guard let step else { return 1.0 }
        let isKept = dropout.keeps(step: step, example: example.index, layer: l, unit: unit)
        return isKept ? Double(dropout.factor) : 0
      }
    }
    var pass = ForwardPass(inputs: [example.x], sums: [], masks: masks)
    continueForward(&pass, at: w)
    return pass
  }

  /// The pass at parameters that differ in weights or bias of one unit, `unit` of `layer`: what does not depend on them is
  /// taken over from `pass`.
  func forward(_ pass: ForwardPass, changing unit: Int, of layer: Int, at w: [Double]) -> ForwardPass {
    var changed = pass
    changed.inputs.removeSubrange((layer + 1)...)
    changed.sums.removeSubrange((layer + 1)...)
    changed.slopes.removeSubrange(min(layer, changed.slopes.count)...)
    changed.sums[layer][unit] = sum(unit, of: plan.shape.layers[layer], pass.inputs[layer], at: w)
    continueForward(&changed, at: w)
    return changed
  }

  /// Computes what a pass does not have yet.
  private func continueForward(_ pass: inout ForwardPass, at w: [Double]) {
    for (l, layer) in plan.shape.layers.enumerated() where l + 1 >= pass.sums.count {
      if l == pass.sums.count {
        pass.sums.append((0..<layer.outputs).map { sum($0, of: layer, pass.inputs[l], at: w) })  // z = W h + b
      }
      if l == plan.shape.hidden.count { return }
      let f = pass.sums[l].map { plan.shape.activation($0) }
      pass.inputs.append(zip(f, pass.masks[l]).map { $0.value * $1 })  // h = f(z) ⊙ m
      pass.slopes.append(zip(f, pass.masks[l]).map { $0.derivative * $1 })
    }
  }

  /// z of one unit.
  private func sum(_ k: Int, of layer: ModelShape.Layer, _ h: [Double], at w: [Double]) -> Double {
    let row = layer.weight.lowerBound + k * layer.inputs
    var z = w[layer.bias.lowerBound + k]
    for j in 0..<layer.inputs { z += w[row + j] * h[j] }
    return z
  }

  /// R(W) = λ₂ Σ W² + λ₁ Σ |W|.
  public func penalty(at w: [Double]) -> Double {
    let (l2, l1) = (Double(plan.l2), Double(plan.l1))
    return plan.shape.blocks.filter(\.isRegularized).reduce(0) { sum, block in
      w[block.range].reduce(sum) { $0 + l2 * $1 * $1 + l1 * abs($1) }
    }
  }
}

extension ExampleTable {
  /// The examples at `indices` as the model sees them.
  /// - Parameter meanImage: [D], in pixel units.
  public func minibatch(at indices: some Sequence<UInt32>, meanImage: [Float]) -> [ReferenceTrainer.Example] {
    indices.map { index in
      let pixels = record(at: Int(index)) + 1
      let x = meanImage.indices.map { (Double(pixels[$0]) - Double(meanImage[$0])) / Double(Self.pixelScale) }
      return ReferenceTrainer.Example(x: x, y: label(at: Int(index)), index: index)
    }
  }
}
