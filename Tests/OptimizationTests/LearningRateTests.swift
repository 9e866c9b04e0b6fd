import Foundation
import Optimization
import Testing

@Suite struct LearningRateTests {
  @Test
  func `warm-up rises in equal parts to the base rate, for every schedule`() {
    for schedule in [LearningRateSchedule.constant, .step(every: 3, factor: 0.5), .cosine] {
      let rate = LearningRate(base: 0.8, schedule: schedule, warmupSteps: 4, horizon: 100)
      #expect((0..<5).map { rate.rate(at: $0) } == [0.2, 0.4, 0.6, 0.8, 0.8])
    }
  }

  @Test
  func `a constant rate stays`() {
    let rate = LearningRate(base: 0.03, schedule: .constant, warmupSteps: 0, horizon: 10)
    #expect([0, 5, 10, 1_000, .max].allSatisfy { rate.rate(at: $0) == 0.03 })
  }

  @Test
  func `a step schedule falls by its factor after every n steps from the end of the warm-up`() {
    let rate = LearningRate(base: 1, schedule: .step(every: 10, factor: 0.5), warmupSteps: 5, horizon: 0)
    #expect(rate.rate(at: 5) == 1)
    #expect(rate.rate(at: 14) == 1)
    #expect(rate.rate(at: 15) == 0.5)
    #expect(rate.rate(at: 25) == 0.25)
    #expect(rate.rate(at: 104) == Float(0x1p-9))
    #expect(rate.rate(at: .max) == 0)
  }

  @Test
  func `cosine starts at the base rate, is half of it midway, and zero at the horizon and beyond`() {
    let rate = LearningRate(base: 0.5, schedule: .cosine, warmupSteps: 20, horizon: 120)
    #expect(rate.rate(at: 20) == 0.5)
    #expect(rate.rate(at: 70) == 0.25)
    #expect(rate.rate(at: 119) > 0)
    #expect(rate.rate(at: 120) == 0)
    #expect(rate.rate(at: .max) == 0)
    for step in UInt64(20)..<120 {
      let expected = Float(0.25 * (1 + cos(Double.pi * Double(step - 20) / 100)))
      #expect(abs(rate.rate(at: step) - expected) <= expected.ulp)
      #expect(rate.rate(at: step) > rate.rate(at: step + 1))
    }
  }

  @Test
  func `a cosine whose horizon lies within the warm-up ends with it`() {
    let rate = LearningRate(base: 0.5, schedule: .cosine, warmupSteps: 10, horizon: 5)
    #expect(rate.rate(at: 9) == 0.5)
    #expect(rate.rate(at: 10) == 0)
  }
}
