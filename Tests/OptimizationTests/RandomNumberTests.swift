import Optimization
import Testing

@Suite struct RandomNumberTests {
  @Test
  func `Philox4x64-10 gives the words of NumPy, the published known answers among them`() throws {
    for block in try Reference.load().philox {
      let generator = Philox4x64(key: SIMD2(block.key[0], block.key[1]))
      let counter = SIMD4(block.counter[0], block.counter[1], block.counter[2], block.counter[3])
      #expect((0..<4).map { generator.block(at: counter)[$0] } == block.words)
    }
    // kat_vectors of Random123, the authors' own library: philox4x64 10, all zeros.
    let zeros = Philox4x64(key: SIMD2(0, 0)).block(at: SIMD4(0, 0, 0, 0))
    #expect(
      zeros == SIMD4(0x1655_4D9E_CA36_314C, 0xDB20_FE9D_672D_0FDC, 0xD7E7_72CE_E186_176B, 0x7E68_B68A_EC7B_A23B))
  }

  @Test
  func `bounded integers and their rejected words agree with NumPy's words`() throws {
    let reference = try Reference.load().bounded
    var random = RandomSequence(
      Philox4x64(seed: SyntheticExamples.seed, stream: .dataSplit), epoch: reference.epoch, shard: reference.shard)
    #expect(reference.bounds.map { random.next(below: $0) } == reference.values)
  }

  @Test
  func `every value of a small range is drawn about equally often`() {
    var random = RandomSequence(Philox4x64(seed: 1, stream: .dataSplit))
    var counts = [Int](repeating: 0, count: 7)
    for _ in 0..<70_000 { counts[Int(random.next(below: 7))] += 1 }
    // χ² with 6 degrees of freedom exceeds 22.5 once in a thousand; the seed is fixed.
    let statistic = counts.reduce(0.0) { $0 + Double(($1 - 10_000) * ($1 - 10_000)) / 10_000 }
    #expect(statistic < 22.5)
  }

  @Test
  func `normal numbers agree with NumPy's words, by index and in any order`() throws {
    let generator = Philox4x64(seed: SyntheticExamples.seed, stream: .initialParameters)
    for (index, expected) in try Reference.load().normals.enumerated().reversed() {
      // Two functions of a C library against ours: a few units in the last place.
      #expect(abs(generator.normal(at: UInt64(index)) - expected) <= 4e-15)
    }
  }

  @Test
  func `initial weights have the asked deviation, initial biases are zero, and no deviation means all zeros`() {
    var plan = makePlan()
    plan.initialStandardDeviation = 0.001
    let values = ParameterVector.initial(plan: plan).values
    #expect(values.count == 30_730)
    #expect(values[30_720...].allSatisfy { $0 == 0 })
    let weights = values[..<30_720].map(Double.init)
    let mean = weights.reduce(0, +) / 30_720
    let variance = weights.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 30_720
    // Four standard errors: σ/√n of the mean, σ/√(2n) of the deviation.
    #expect(abs(mean) < 4 * 0.001 / 30_720.0.squareRoot())
    #expect(abs(variance.squareRoot() - 0.001) < 4 * 0.001 / 61_440.0.squareRoot())

    plan.initialStandardDeviation = 0
    #expect(ParameterVector.initial(plan: plan) == ParameterVector(zeros: 30_730))
  }

  @Test
  func `another seed gives other weights`() {
    var plan = makePlan()
    let first = ParameterVector.initial(plan: plan)
    plan.seed += 1
    #expect(ParameterVector.initial(plan: plan) != first)
  }
}
