import Optimization

/// The parameters W + a W₁ + b W₂, and losses at them.
package struct SlicePlane: Sendable {
  package struct Point: Sendable {
    package let a: Double
    package let b: Double

    package init(a: Double, b: Double) { (self.a, self.b) = (a, b) }
  }

  /// W, [parameterCount].
  package let center: ParameterVector
  /// W₁ and W₂, [parameterCount].
  let first: [Double]
  let second: [Double]

  package init(center: ParameterVector, first: [Double], second: [Double]) {
    (self.center, self.first, self.second) = (center, first, second)
  }

  package func parameters(at point: Point) -> ParameterVector {
    center.moved([(point.a, first), (point.b, second)])
  }

  /// λ Σ W² at each point.
  func penalties(at points: [Point], l2: Float, of shape: ModelShape, threads: Int) -> [Double] {
    let plan = TrainingPlan(exampleCount: 1, batchSize: 1, shardCount: 1, totalSteps: 1) {
      ($0.shape, $0.l2) = (shape, l2)
    }
    return concurrentMap(points.count, threads: threads) { index in
      parameters(at: points[index]).withUnsafePointer { plan.penalty(of: $0) }
    }
  }

  /// The mean data loss at each point; not a number where that of an example is beyond the kernels.
  /// - Parameter completed: called after each point with the number of those done, from any thread.
  package func losses(
    at points: [Point], of loss: LossOverExamples, threads: Int, completed: @Sendable (Int) -> Void = { _ in }
  ) -> [Double] {
    loss.shape.isLinear
      ? lossesByScores(at: points, of: loss, threads: threads, completed: completed)
      : loss.scores(at: points.count, threads: threads, completed: completed) { parameters(at: points[$0]) }.map(
        \.meanLoss)
  }

  /// Of a linear model: its scores are linear in the parameters, s(W) + a s(W₁) + b s(W₂), so three passes over the pixels
  /// serve all points.
  private func lossesByScores(
    at points: [Point], of loss: LossOverExamples, threads: Int, completed: @Sendable (Int) -> Void
  ) -> [Double] {
    let (classes, count) = (loss.shape.classes, loss.indices.count)
    let (scores, labels) = (scores(of: loss, threads: threads), loss.labels)
    let block = 512
    let zeros = [Float](repeating: 0, count: block * classes)
    return concurrentMap(
      points.count, threads: threads, completed: completed, memory: (sums: zeros, derivatives: zeros)
    ) {
      memory, index in
      let (a, b) = (Float(points[index].a), Float(points[index].b))
      var total = MinibatchStatistics.zero
      for start in stride(from: 0, to: count, by: block) {
        let present = min(block, count - start)
        Self.combine(scores, start * classes..<(start + present) * classes, a, b, into: &memory.sums)
        total += loss.kernel.statistics(
          ofScores: memory.sums, labels: labels[start..<start + present], loss.loss, margin: loss.margin,
          classes: classes, derivatives: &memory.derivatives)
      }
      return total.isFinite ? total.meanLoss : .nan
    }
  }

  /// s(W) + a s(W₁) + b s(W₂) of a part of the scores.
  private static func combine(_ scores: [[Float]], _ part: Range<Int>, _ a: Float, _ b: Float, into sums: inout [Float])
  {
    scores[0][part].withUnsafeBufferPointer { center in
      scores[1][part].withUnsafeBufferPointer { first in
        scores[2][part].withUnsafeBufferPointer { second in
          sums.withUnsafeMutableBufferPointer { sums in
            for index in center.indices { sums[index] = center[index] + a * first[index] + b * second[index] }
          }
        }
      }
    }
  }

  /// s(W), s(W₁) and s(W₂) of every example, [count, K] each.
  private func scores(of loss: LossOverExamples, threads: Int) -> [[Float]] {
    let parameters = [center, ParameterVector(first.map { Float($0) }), ParameterVector(second.map { Float($0) })]
    return concurrentMap(parameters.count, threads: threads, memory: loss.evaluator) { evaluator, index in
      parameters[index].withUnsafePointer { [evaluator] parameters in
        evaluator.scores(parameters: parameters, indices: loss.indices)
      }
    }
  }

  /// The a at which the loss has a kink for b = 0, in rising order; nil unless it is the hinge loss of one example and a
  /// linear model.
  func kinks(of loss: LossOverExamples) -> [Double]? {
    guard loss.shape.isLinear, loss.loss == .hinge, loss.indices.count == 1 else { return nil }
    let scores = scores(of: loss, threads: 1).map { $0.map(Double.init) }
    let label = Int(loss.labels[0])
    // s_j − s_y + Δ is zero.
    return (0..<loss.shape.classes).filter { $0 != label }.compactMap { other in
      let slope = scores[1][other] - scores[1][label]
      return slope == 0 ? nil : -(scores[0][other] - scores[0][label] + Double(loss.margin)) / slope
    }.sorted()
  }
}

extension LossOverExamples {
  /// Of each of its examples, in 0 ..< K.
  var labels: [UInt8] { indices.map { UInt8(examples.label(at: Int($0))) } }

  var evaluator: Evaluator {
    Evaluator(shape: shape, loss: loss, margin: margin, examples: examples, meanImage: meanImage, kernel: kernel)
  }
}
