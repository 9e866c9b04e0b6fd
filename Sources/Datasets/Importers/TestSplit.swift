import Diagnostics
import Optimization

/// Chooses a test set where the source has none: the same share of each class, a function of labels, share and seed alone.
struct TestSplit {
  private static let defaultShare = 0.2
  /// Apart from the streams of training and of the synthetic sets.
  private static let stream: UInt64 = 2 << 32

  let share: Double
  let seed: UInt64

  init(_ options: ImportOptions) {
    share = options.testShare ?? Self.defaultShare
    seed = options.seed ?? 0
  }

  /// Whether each example belongs to the test set. Of a class with two examples or more, at least one is in each set.
  func choose(_ labels: [UInt8], classes: Int) throws(Failure) -> [Bool] {
    var ofClass = [[UInt32]](repeating: [], count: classes)
    for (index, label) in labels.enumerated() { ofClass[Int(label)].append(UInt32(index)) }
    var isTest = [Bool](repeating: false, count: labels.count)
    for (label, examples) in ofClass.enumerated() where examples.count > 1 {
      var order = examples
      var random = RandomSequence(Philox4x64(key: SIMD2(seed, Self.stream)), shard: UInt64(label))
      random.shuffle(&order)
      let count = min(max(Int((Double(examples.count) * share).rounded()), 1), examples.count - 1)
      for index in order.prefix(count) { isTest[Int(index)] = true }
    }
    guard isTest.contains(true) else {
      throw Failure(.badData, "no class has two examples, so none is left for a test set")
    }
    return isTest
  }
}
