import Optimization
import Testing

@Suite struct SamplingTests {
  @Test
  func `the split and the minibatches are those of the NumPy reference`() throws {
    let reference = try Reference.load()
    let split = SyntheticExamples.split()
    #expect(split.validation == reference.validation)
    #expect(split.shards == reference.shards)
    let plan = makePlan()
    var sampler = MinibatchSampler(plan: plan)
    #expect(plan.stepsPerEpoch == 6)
    for expected in reference.minibatches {
      #expect(Array(sampler.minibatch(shard: expected.shard, step: expected.step)) == expected.examples)
    }
  }

  @Test(arguments: [(50_000, 5_000, 16), (253, 34, 4), (10, 0, 10), (1_000, 1, 7)])
  func `validation and shards part the examples, with sizes at most one apart`(
    exampleCount: Int, validationCount: Int, shardCount: Int
  ) {
    let split = DataSplit(
      exampleCount: exampleCount, validation: 0..<validationCount, shardCount: shardCount, seed: 3)
    #expect(split.validation.count == validationCount)
    #expect(split.shards.count == shardCount)
    #expect((split.validation + split.training).sorted() == Array(0..<UInt32(exampleCount)))
    let sizes = split.shards.map(\.count)
    #expect(sizes.max()! - sizes.min()! <= 1)
    #expect(sizes.min()! == (exampleCount - validationCount) / shardCount)
  }

  @Test
  func `folds are disjoint, hold every example once, and the others train in the order of the seed`() {
    let folds = (0..<5).map { fold in
      DataSplit(
        exampleCount: 253, validation: 253 * fold / 5..<253 * (fold + 1) / 5, shardCount: 4, seed: 3)
    }
    #expect(folds.map(\.validation.count) == [50, 51, 50, 51, 51])
    #expect(folds.flatMap(\.validation).sorted() == Array(0..<253))
    #expect(folds[0].validation == DataSplit(exampleCount: 253, validation: 0..<50, shardCount: 4, seed: 3).validation)
    for fold in folds { #expect((fold.validation + fold.training).sorted() == Array(0..<253)) }
    // What is held out does not change the order of the rest.
    let order = folds.flatMap(\.validation)
    #expect(
      folds[2].shards[1] == (order[..<101] + order[151...]).enumerated().filter { $0.offset % 4 == 1 }.map(\.element))
  }

  @Test
  func `a data set sorted by class puts every class into every shard and the validation split`() {
    let split = DataSplit(exampleCount: 50_000, validation: 0..<5_000, shardCount: 16, seed: 0)
    for part in split.shards + [split.validation] {
      var counts = [Int](repeating: 0, count: 10)
      for example in part { counts[Int(example) / 5_000] += 1 }
      let expected = Double(part.count) / 10
      // Five standard deviations of a binomial count.
      #expect(counts.allSatisfy { abs(Double($0) - expected) < 5 * (expected * 0.9).squareRoot() })
    }
  }

  @Test
  func `within an epoch no example of a shard comes twice, and all come that fit into minibatches`() {
    let plan = makePlan()
    let split = DataSplit(plan: plan)
    var sampler = MinibatchSampler(plan: plan)
    for shard in 0..<4 {
      var orders: [[UInt32]] = []
      for epoch in UInt64(0)..<3 {
        let steps = (epoch * plan.stepsPerEpoch)..<((epoch + 1) * plan.stepsPerEpoch)
        let drawn = steps.flatMap { Array(sampler.minibatch(shard: shard, step: $0)) }
        #expect(drawn.count == 48)
        #expect(Set(drawn).count == 48)
        #expect(Set(drawn).isSubset(of: split.shards[shard]))
        orders.append(drawn)
      }
      #expect(orders[0] != orders[1] && orders[1] != orders[2] && orders[0] != orders[2])
    }
  }

  @Test
  func `validation examples are never drawn`() {
    let plan = makePlan()
    let split = DataSplit(plan: plan)
    var sampler = MinibatchSampler(plan: plan)
    var drawn: Set<UInt32> = []
    for step in UInt64(0)..<60 {
      for shard in 0..<4 { drawn.formUnion(sampler.minibatch(shard: shard, step: step)) }
    }
    #expect(drawn.isDisjoint(with: split.validation))
    #expect(drawn == Set(split.training))
  }

  @Test
  func `a minibatch depends on shard and step alone, not on the calls before`() {
    var rising = MinibatchSampler(plan: makePlan())
    var falling = rising
    var expected: [[UInt32]] = []
    for step in UInt64(0)..<30 {
      for shard in 0..<4 { expected.append(Array(rising.minibatch(shard: shard, step: step))) }
    }
    for step in (UInt64(0)..<30).reversed() {
      for shard in (0..<4).reversed() {
        #expect(Array(falling.minibatch(shard: shard, step: step)) == expected[Int(step) * 4 + shard])
      }
    }
    var fresh = MinibatchSampler(plan: makePlan())
    #expect(Array(fresh.minibatch(shard: 2, step: 29)) == expected[29 * 4 + 2])
  }

  @Test
  func `steps beyond any real run are answered too`() {
    var sampler = MinibatchSampler(plan: makePlan())
    #expect(sampler.minibatch(shard: 0, step: .max).count == 8)
  }
}
