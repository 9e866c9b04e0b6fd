import Optimization

/// Successive halving (Jamieson and Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter
/// optimization"), with a factor η in place of two: all trials train for a part 1/η² of their epochs, the best one in η
/// of them continues to 1/η, and the best one in η of those to the end. These stages are the rungs.
///
/// Nothing depends on time: a rung is decided when all of its trials are in, and a trial that continues does so from
/// its checkpoint along the schedule of all its epochs. So what remains has the bits of a run that was never halted.
public struct SuccessiveHalving: Sendable, Equatable {
  /// η, at least 2; nil where every trial is trained to its end.
  public let factor: Int?

  public static let factors = 2...100
  private static let largestRungCount = 3

  public init(factor: Int?) { self.factor = factor }

  /// Three, or fewer where the shortest trial has fewer than η² epochs.
  func rungCount(shortest epochs: UInt64) -> Int {
    guard let factor else { return 1 }
    var (count, needed) = (1, UInt64(factor))
    while count < Self.largestRungCount, needed <= epochs { (count, needed) = (count + 1, needed * UInt64(factor)) }
    return count
  }

  /// The epochs after which each rung ends, for a trial of `epochs`: rising, the last is `epochs`.
  func rungs(_ count: Int, of epochs: UInt64) -> [UInt64] {
    let divisors = (0..<count).reversed().map { rung in
      (0..<rung).reduce(UInt64(1)) { divisor, _ in divisor * UInt64(factor ?? 1) }
    }
    return divisors.map { (epochs + $0 - 1) / $0 }
  }

  /// The trials of a rung from the best to the worst: by accuracy, those that diverged last, and of equal ones the one
  /// with the smaller number first.
  static func ranking(_ rung: [(trial: Int, accuracy: Double?)]) -> [Int] {
    rung.sorted { first, second in
      switch (first.accuracy, second.accuracy) {
      case (let a?, let b?) where a != b: a > b
      case (_?, nil): true
      case (nil, _?): false
      default: first.trial < second.trial
      }
    }.map(\.trial)
  }

  /// The trials that continue: the best ⌈n/η⌉ of n, in the order of their numbers. One that diverged never does.
  func survivors(of rung: [(trial: Int, accuracy: Double?)]) -> [Int] {
    let diverged = Set(rung.filter { $0.accuracy == nil }.map(\.trial))
    let places = (rung.count + (factor ?? 1) - 1) / (factor ?? 1)
    return Self.ranking(rung).prefix(places).filter { !diverged.contains($0) }.sorted()
  }
}
