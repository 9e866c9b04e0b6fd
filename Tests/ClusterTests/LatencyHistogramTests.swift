import Cluster
import Testing

@Suite struct LatencyHistogramTests {
  @Test func `an empty histogram has no percentiles`() {
    #expect(LatencyHistogram().seconds(atQuantile: 0.5) == nil)
  }

  @Test func `percentiles are at most one thirty-second too high`() throws {
    var histogram = LatencyHistogram()
    for microseconds in 1...10_000 as ClosedRange<UInt64> { histogram.record(nanoseconds: microseconds * 1000) }
    for (fraction, exact) in [(0.5, 0.005), (0.99, 0.0099), (0.001, 0.00001)] {
      let found = try #require(histogram.seconds(atQuantile: fraction))
      #expect(found >= exact && found <= exact * (1 + 1.0 / 32))
    }
    #expect(histogram.seconds(atQuantile: 1) == 0.01)
    #expect(histogram.count == 10_000)
  }

  @Test func `every power of two and its neighbours have a bucket`() throws {
    for bit in 0..<64 {
      for value in [(1 as UInt64) << bit, (1 << bit) - 1, (1 << bit) &+ 1, .max] {
        var histogram = LatencyHistogram()
        histogram.record(nanoseconds: value)
        #expect(histogram.seconds(atQuantile: 0.5) == Double(value) / 1e9)
      }
    }
  }
}
