import CKernels

/// ‖g‖₂ of the newest update, kept such that its bits do not depend on how the parameters are split between servers.
///
/// The flat vector of parameters is cut into chunks of 2048 elements, beginning at its first. The square of element i, exact
/// in double precision, is added to lane i mod 16 of its chunk, in rising order. The lanes of a chunk are added by halves
/// (0...7 to 8...15, then 0...3 to 4...7, and so on), and the sums of the chunks in rising order.
public struct GradientNorm: Sendable, Equatable {
  /// 2048, elements of a chunk. The weights of CIFAR-10's linear model fill 15 chunks; its bias begins the 16th.
  public static let chunk = Int(DESCENT_NORM_CHUNK)
  /// Sums of squares that the kernels keep side by side.
  public static let lanes = 16

  /// [chunks, lanes].
  var squares: [Double]

  /// - Parameter range: of the parameters that are updated; begins at a chunk. Their norm is not a number before the first
  ///   update.
  public init(of range: Range<Int>) {
    precondition(range.lowerBound % Self.chunk == 0, "a range of parameters begins at a chunk")
    squares = Array(repeating: .nan, count: (range.count + Self.chunk - 1) / Self.chunk * Self.lanes)
  }

  /// The norm of a gradient whose ranges were updated apart, in rising order.
  public init(joining parts: [GradientNorm]) {
    squares = parts.flatMap(\.squares)
  }

  public var value: Double {
    var total = 0.0
    for chunk in stride(from: 0, to: squares.count, by: Self.lanes) {
      total += sumByHalves(chunk)
    }
    return total.squareRoot()
  }

  private func sumByHalves(_ chunk: Int) -> Double {
    var sums = InlineArray<16, Double>(repeating: 0)
    for lane in 0..<Self.lanes { sums[lane] = squares[chunk + lane] }
    return Optimization.sumByHalves(&sums)
  }
}

/// Adds 16 lanes: 0...7 to 8...15, then 0...3 to 4...7, and so on.
func sumByHalves(_ sums: inout InlineArray<16, Double>) -> Double {
  var half = sums.count / 2
  while half > 0 {
    for lane in 0..<half { sums[lane] += sums[lane + half] }
    half /= 2
  }
  return sums[0]
}
