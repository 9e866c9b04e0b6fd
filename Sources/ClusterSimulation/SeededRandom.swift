import Messaging
import Optimization

/// The only source of randomness of a simulation: a function of the seed and of what it is used for, so that a
/// fault more in the plan does not change how the cluster itself is drawn.
struct SeededRandom {
  enum Purpose: UInt64 {
    case plan = 1
    case faults = 2
    case faultTimes = 3
    case network = 4
    case processes = 5
    case disk = 6
    case clocks = 7
    case supervision = 8
    case scale = 9
    case optimizer = 10
    case speeds = 11
    case lease = 12
    case hosts = 13
  }

  private var sequence: RandomSequence

  init(seed: UInt64, purpose: Purpose) {
    sequence = RandomSequence(Philox4x64(key: [seed, 0x5349_4D00 + purpose.rawValue]))
  }

  mutating func word() -> UInt64 { sequence.next() }

  /// Uniform in 0 ..< bound; `bound` is at least 1.
  mutating func integer(below bound: UInt64) -> UInt64 { sequence.next(below: bound) }

  mutating func index(below bound: Int) -> Int { Int(sequence.next(below: UInt64(bound))) }

  /// Uniform in 0 ..< 1.
  mutating func fraction() -> Double { Double(sequence.next() >> 11) * 0x1p-53 }

  mutating func happens(_ probability: Double) -> Bool { probability > 0 && fraction() < probability }

  /// One of them, which must not be none.
  mutating func element<Element>(of elements: [Element]) -> Element { elements[index(below: elements.count)] }

  /// Uniform between two spans of time.
  mutating func interval(from shortest: Interval, to longest: Interval) -> Interval {
    guard longest > shortest else { return shortest }
    return Interval(
      nanoseconds: shortest.nanoseconds + integer(below: longest.nanoseconds - shortest.nanoseconds))
  }
}
