/// What keeps the weights small. Biases are free: only blocks with `ParameterBlock.isRegularized` count.
///
/// The penalty R(W) = λ₂ Σ w² + λ₁ Σ |w| is part of the objective: L2 with λ₁ = 0, L1 with λ₂ = 0, elastic net with both. The
/// lecture writes the last one as λ Σ (β w² + |w|): λ₁ = λ, λ₂ = λ β (CS231n, "Linear classification" and "Neural Networks
/// Part 2"). Max-norm is no term of the objective but a constraint: after each update the weights of a unit, a row of the
/// block, are scaled such that ‖w‖₂ ≤ c (Srebro et al. 2005; Srivastava et al. 2014 for networks with dropout).
extension TrainingPlan {
  /// R(W).
  /// - Parameter parameters: [parameterCount].
  public func penalty(of parameters: UnsafePointer<Float>) -> Double {
    let sums = shape.blocks.filter(\.isRegularized).map { block in
      block.range.reduce((squares: 0.0, magnitudes: 0.0)) { sums, index in
        let w = Double(parameters[index])
        return (sums.squares + w * w, sums.magnitudes + abs(w))
      }
    }
    let (squares, magnitudes) = (sums.map(\.squares).reduce(0, +), sums.map(\.magnitudes).reduce(0, +))
    return Double(l2) * squares + Double(l1) * magnitudes
  }

  /// ∂R/∂w at a weight, 2 λ₂ w + λ₁ sign w. At zero |w| has the subgradient 0.
  public func penaltyDerivative(at w: Double) -> Double {
    2 * Double(l2) * w + (w == 0 ? 0 : w > 0 ? Double(l1) : -Double(l1))
  }

  /// Projects the rows of the weights onto ‖w‖₂ ≤ c, in double precision.
  /// - Parameter w: [parameterCount].
  public func limitNorms(of w: inout [Double]) {
    guard maxNorm > 0 else { return }
    for block in shape.blocks where block.isRegularized {
      for row in stride(from: block.range.lowerBound, to: block.range.upperBound, by: block.rowLength) {
        let norm = w[row..<row + block.rowLength].reduce(0) { $0 + $1 * $1 }.squareRoot()
        guard norm > Double(maxNorm) else { continue }
        for index in row..<row + block.rowLength { w[index] *= Double(maxNorm) / norm }
      }
    }
  }
}

extension ParameterBlock {
  /// Elements of a row: of weights, those that one unit multiplies its inputs with.
  public var rowLength: Int { shape.last ?? 1 }
}
