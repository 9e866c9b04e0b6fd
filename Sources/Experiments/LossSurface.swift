import Diagnostics
import Optimization

/// Slices through the loss as a function of the weights: L(W + a W₁) along a line, and L(W + a W₁ + b W₂) over a plane
/// (CS231n, "Optimization", "Visualizing the loss function"), each of one example, of some, or of all.
///
/// W₁ and W₂ have length 1 and are perpendicular, so a and b are distances from W. Of a linear model with the hinge loss a
/// slice is piecewise linear: each margin is linear in a and b, and the loss of an example has a kink where one of them
/// passes zero.
public struct LossSurface: Sendable {
  /// What W₁ is; W₂ is random.
  public enum Direction: String, Sendable, CaseIterable {
    case random
    /// The negative gradient of the objective over all examples at W: a > 0 is downhill.
    case gradient
  }

  /// Of the loss over the first so many examples.
  public struct Slice: Sendable, Equatable {
    public let examples: Int
    /// Data loss at each of `lineCoordinates`.
    public let line: [Double]
    /// Data loss at each point of the plane, [points, points]: row by row from the lowest b.
    public let plane: [Double]
    /// The a at which the line has a kink, in rising order; nil unless it is of one example, with the hinge loss of a linear
    /// model.
    public let kinks: [Double]?
  }

  public let model: String
  public let loss: Loss
  public let direction: Direction
  /// λ of the penalty λ Σ W².
  public let l2: Float
  public let seed: UInt64
  /// a and b are in −range ... range.
  public let range: Double
  /// The coordinates of the plane's points along either axis; the middle one is 0.
  public let coordinates: [Double]
  /// Those of the line: four times as dense.
  public let lineCoordinates: [Double]
  /// The penalty at each point of line and plane, laid out as the losses of a slice.
  public let linePenalty: [Double]
  public let planePenalty: [Double]
  /// ‖∇‖₂ of the objective over all examples at W; nil along a random direction.
  public let gradientNorm: Double?
  /// In the order of the numbers that were given.
  public let slices: [Slice]

  /// - Parameters:
  ///   - center: W, [parameterCount].
  ///   - loss: over all examples.
  ///   - counts: the numbers of examples of the slices, the first of those of `loss`; each at least 1, at most all.
  ///   - range: above 0.
  ///   - points: of the plane along either axis; odd, at least 3.
  ///   - threads: at least 1; the result does not depend on it.
  ///   - completed: called after each point with the number of those done in all slices, from any thread.
  /// - Throws: `badConfiguration` for more examples than a gradient sum can have, `badData` where there is no direction
  ///   because the gradient is zero.
  public init(
    around center: ParameterVector, of loss: LossOverExamples, counts: [Int], along direction: Direction, l2: Float,
    range: Double, points: Int, seed: UInt64, threads: Int, completed: @Sendable (Int) -> Void = { _ in }
  ) throws(Failure) {
    precondition(points >= 3 && !points.isMultiple(of: 2), "W is in the middle of the points")
    (model, self.loss, self.direction) = (loss.shape.description, loss.loss, direction)
    (self.l2, self.range, self.seed) = (l2, range, seed)
    var first = Self.randomDirection(0, of: center.count, seed: seed)
    var norm: Double?
    if direction == .gradient {
      first = try loss.gradient(at: center, l2: l2).map { -$0 }
      norm = length(first)
      guard let norm, norm > 0 else {
        throw Failure(
          .badData, "the gradient at these weights is zero: it has no direction", remedy: "Use --along random")
      }
      first = first.map { $0 / norm }
    }
    gradientNorm = norm
    let second = Self.perpendicular(to: first, Self.randomDirection(1, of: center.count, seed: seed))
    func spread(_ count: Int) -> [Double] {
      (0..<count).map { range * Double(2 * $0 - (count - 1)) / Double(count - 1) }
    }
    let (line, axis) = (spread(Self.linePoints(points)), spread(points))
    (lineCoordinates, coordinates) = (line, axis)
    let plane = SlicePlane(center: center, first: first, second: second)
    let linePoints = line.map { SlicePlane.Point(a: $0, b: 0) }
    let planePoints = axis.flatMap { b in axis.map { SlicePlane.Point(a: $0, b: b) } }
    linePenalty = plane.penalties(at: linePoints, l2: l2, of: loss.shape, threads: threads)
    planePenalty = plane.penalties(at: planePoints, l2: l2, of: loss.shape, threads: threads)
    slices = counts.enumerated().map { done, count in
      var part = loss
      part.indices = Array(loss.indices.prefix(count))
      let losses = plane.losses(at: linePoints + planePoints, of: part, threads: threads) {
        completed(done * (line.count + planePoints.count) + $0)
      }
      return Slice(
        examples: count, line: Array(losses[..<line.count]), plane: Array(losses[line.count...]),
        kinks: plane.kinks(of: part)?.filter { abs($0) <= range })
    }
  }

  /// Points of the line where the plane has `points` along either axis.
  static func linePoints(_ points: Int) -> Int { 4 * (points - 1) + 1 }

  /// Points of line and plane, at which the loss of each slice is computed.
  public static func pointsOfSlice(_ points: Int) -> Int { linePoints(points) + points * points }

  /// A vector of length 1 in a direction that the seed and the index decide.
  package static func randomDirection(_ index: UInt64, of count: Int, seed: UInt64) -> [Double] {
    let generator = Philox4x64(seed: seed, stream: .slice)
    let numbers = (0..<UInt64(count)).map { generator.normal(at: index * UInt64(count) + $0) }
    let norm = length(numbers)
    return numbers.map { $0 / norm }
  }

  /// The part of a vector that is perpendicular to `unit`, scaled to length 1.
  static func perpendicular(to unit: [Double], _ vector: [Double]) -> [Double] {
    let share = zip(unit, vector).reduce(0) { $0 + $1.0 * $1.1 }
    let rest = zip(unit, vector).map { $1 - share * $0 }
    let norm = length(rest)
    return rest.map { $0 / norm }
  }
}

/// ‖x‖₂.
func length(_ x: [Double]) -> Double { x.reduce(0) { $0 + $1 * $1 }.squareRoot() }
