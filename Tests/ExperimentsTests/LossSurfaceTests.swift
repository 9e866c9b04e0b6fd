import Diagnostics
import Experiments
import Optimization
import TestSupport
import Testing

@Suite struct LossSurfaceTests {
  private func surface(
    _ loss: LossOverExamples, counts: [Int] = [1, 20, 60], along: LossSurface.Direction = .random, l2: Float = 0,
    range: Double = 4, points: Int = 5, threads: Int = 2
  ) throws -> LossSurface {
    try LossSurface(
      around: center(loss.shape), of: loss, counts: counts, along: along, l2: l2, range: range, points: points,
      seed: 1, threads: threads)
  }

  private func center(_ shape: ModelShape) -> ParameterVector {
    guard !shape.isLinear else { return RandomWeights(shape: shape, standardDeviation: 0.002, seed: 4).draw(0) }
    let generator = Philox4x64(key: SIMD2(7, 98))
    return ParameterVector((0..<UInt64(shape.parameterCount)).map { Float(generator.normal(at: $0) / 2) })
  }

  @Test(.enabled(if: RealData.directory != nil, "DESCENT_DATA is not set"))
  func `the planes are those that NumPy computes`() throws {
    let reference = try SlopeReference.load()
    #expect(reference.slices.count == 12)
    for loss in ["softmax", "svm"] {
      let function = try reference.function(loss)
      let weights = RandomWeights(shape: .cifar10, standardDeviation: reference.scale, seed: reference.seed)
      for along in LossSurface.Direction.allCases {
        let expected = reference.slices.filter { $0.loss == loss && $0.along == along.rawValue }
        let surface = try LossSurface(
          around: weights.draw(0), of: function, counts: expected.map(\.examples), along: along, l2: reference.l2,
          range: expected[0].range, points: 3, seed: reference.seed, threads: 2)
        for (slice, expected) in zip(surface.slices, expected) {
          #expect(zip(slice.plane, expected.plane).allSatisfy { abs($0 - $1) < 1e-5 * max(1, $1) })
          #expect([slice.line[0], slice.line[4], slice.line[8]] == Array(slice.plane[3..<6]))
        }
      }
    }
  }

  @Test(arguments: [Loss.softmaxCrossEntropy, .hinge, .squaredHinge])
  func `scores that are added give the losses of parameters that are added`(loss: Loss) {
    let function = LossOverExamples.small(loss)
    let (first, second) = (
      LossSurface.randomDirection(0, of: function.shape.parameterCount, seed: 1),
      LossSurface.randomDirection(1, of: function.shape.parameterCount, seed: 1)
    )
    let plane = SlicePlane(center: center(function.shape), first: first, second: second)
    let points = [(0.0, 0.0), (1, 0), (-2, 0.5), (0.25, -3)].map { SlicePlane.Point(a: $0, b: $1) }
    let losses = plane.losses(at: points, of: function, threads: 2)
    for (point, loss) in zip(points, losses) {
      let parameters = zip(plane.center.values, zip(first, second)).map {
        Double($0) + point.a * $1.0 + point.b * $1.1
      }
      #expect(abs(loss - function.oracle(at: parameters)) < 1e-5)
      #expect(abs(loss - function.score(at: plane.parameters(at: point)).meanLoss) < 1e-5)
    }
  }

  @Test func `the slices of a network are those of the oracle`() throws {
    let function = LossOverExamples.small(
      .softmaxCrossEntropy, shape: ModelShape(classes: 3, pixels: 8, hidden: [5], activation: .tanh))
    let surface = try surface(function, counts: [60])
    let first = LossSurface.randomDirection(0, of: function.shape.parameterCount, seed: 1)
    for (a, loss) in zip(surface.lineCoordinates, surface.slices[0].line) {
      let parameters = zip(center(function.shape).values, first).map { Double($0) + a * $1 }
      #expect(abs(loss - function.oracle(at: parameters)) < 1e-5)
    }
  }

  /// The slope changes at a kink by the distance of two scores' slopes, and nowhere else: the second difference of a point
  /// is the sum over the kinks within h of the change times h less the distance.
  @Test func `the hinge loss of one example is piecewise linear, with its kinks where margins are zero`() throws {
    let function = LossOverExamples.small(.hinge, shape: ModelShape(classes: 6, pixels: 8))
    let surface = try surface(function, counts: [1], points: 21)
    let (slice, a) = (surface.slices[0], surface.lineCoordinates)
    let kinks = try #require(slice.kinks)
    #expect((2...5).contains(kinks.count) && kinks == kinks.sorted())
    let first = LossSurface.randomDirection(0, of: function.shape.parameterCount, seed: 1)
    let example = function.examples.minibatch(at: [0], meanImage: function.meanImage)[0]
    let slopes = function.reference.scores(of: example.x, at: first)
    let scores = function.reference.scores(of: example.x, at: center(function.shape).values.map(Double.init))
    let margins = (0..<6).filter { $0 != example.y }.map {
      (scores[$0] - scores[example.y] + 1, slopes[$0] - slopes[example.y])
    }
    let changes = margins.map { (kink: -$0 / $1, change: abs($1)) }
    #expect(zip(kinks, changes.map(\.kink).filter { abs($0) <= 4 }.sorted()).allSatisfy { abs($0 - $1) < 1e-5 })
    let h = a[1] - a[0]
    var bends = 0
    for point in 1..<a.count - 1 {
      let second = slice.line[point - 1] - 2 * slice.line[point] + slice.line[point + 1]
      let expected = changes.reduce(0) { $0 + $1.change * max(0, h - abs($1.kink - a[point])) }
      #expect(abs(second - expected) < 1e-5)
      if expected > 1e-5 { bends += 1 }
    }
    #expect(bends >= kinks.count && bends <= 2 * kinks.count)
  }

  @Test func `only the hinge loss of one example of a linear model has kinks that are computed`() throws {
    #expect(try surface(.small(.hinge)).slices.map { $0.kinks == nil } == [false, true, true])
    #expect(try surface(.small(.softmaxCrossEntropy)).slices[0].kinks == nil)
  }

  @Test func `along the gradient the objective of all examples falls with its norm`() throws {
    let function = LossOverExamples.small(.softmaxCrossEntropy)
    let surface = try surface(function, counts: [60], along: .gradient, l2: 0.1, range: 0.01, points: 3)
    let objective = zip(surface.slices[0].line, surface.linePenalty).map { $0 + $1 }
    let slope = (objective[5] - objective[3]) / (surface.lineCoordinates[5] - surface.lineCoordinates[3])
    #expect(abs(slope / -(try #require(surface.gradientNorm)) - 1) < 1e-3)
  }

  @Test func `the penalty is that of the weights, a parabola along the line`() throws {
    let function = LossOverExamples.small(.hinge)
    let surface = try surface(function, l2: 0.5)
    let weights = function.shape.layers[0].weight
    let (w, first) = (
      center(function.shape).values[weights].map(Double.init),
      LossSurface.randomDirection(0, of: function.shape.parameterCount, seed: 1)[weights]
    )
    for (a, penalty) in zip(surface.lineCoordinates, surface.linePenalty) {
      let expected = 0.5 * zip(w, first).reduce(0) { $0 + ($1.0 + a * $1.1) * ($1.0 + a * $1.1) }
      #expect(abs(penalty - expected) < 1e-5)
    }
    #expect(surface.planePenalty[2 * 5 + 4] == surface.linePenalty[16])
  }

  @Test func `the bytes depend neither on the threads nor on the kernels`() throws {
    func json(_ threads: Int, _ kernel: KernelVariant, _ shape: ModelShape) throws -> String {
      try surface(.small(.hinge, shape: shape, kernel: kernel), along: .gradient, threads: threads).json.indentedText
    }
    for shape in [ModelShape(classes: 3, pixels: 8), ModelShape(classes: 3, pixels: 8, hidden: [4], activation: .relu)]
    {
      let expected = try json(1, .best, shape)
      #expect(try json(5, .best, shape) == expected)
      for kernel in KernelVariant.supported { #expect(try json(2, kernel, shape) == expected) }
    }
  }
}
