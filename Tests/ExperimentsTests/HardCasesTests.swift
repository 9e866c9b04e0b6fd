import Datasets
import Diagnostics
import Experiments
import Optimization
import Testing

@Suite struct HardCasesTests {
  @Test func `a linear model stays near chance where a network is right`() throws {
    for seed in [UInt64(1), 5] {
      let cases = try HardCases(seed: seed, kernel: .best).cases
      #expect(cases.map(\.set) == PlaneSet.allCases)
      for item in cases {
        // Of the ring and the modes a line may cut off a corner that belongs to one class.
        #expect(item.linear.testAccuracy < (item.set == .quadrants ? 0.55 : 0.65), "\(item.set)")
        #expect(item.network.testAccuracy >= 0.95, "\(item.set)")
        #expect(item.network.trainingAccuracy >= 0.95, "\(item.set)")
      }
    }
  }

  @Test func `the regions of the network are those of the set, and those of the linear model two half-planes`() throws {
    let item = try #require(try HardCases(seed: 1, kernel: .best).cases.first { $0.set == .ring })
    let regions = item.network.regions
    let cells = regions.cells
    func label(_ x: Double, _ y: Double) -> Int {
      func cell(_ coordinate: Double) -> Int { Int(((coordinate + 2.5) / 5 * Double(cells - 1)).rounded()) }
      return regions.labels[cell(y) * cells + cell(x)]
    }
    for (x, y) in [(1.5, 0.0), (-1.5, 0), (0, 1.5), (0, -1.5), (1.05, 1.05)] { #expect(label(x, y) == 0) }
    for (x, y) in [(0.0, 0.0), (0.5, 0.3), (2.3, 2.3), (-2.3, 2.3), (2.3, -2.3)] { #expect(label(x, y) == 1) }
    // 3π of 25 belong to the ring.
    #expect(abs(regions.shares[0] - 3 * Double.pi / 25) < 0.04)
    // In a half-plane the labels of a row change once at most.
    for row in 0..<cells {
      let labels = item.linear.regions.labels[row * cells..<(row + 1) * cells]
      #expect(zip(labels, labels.dropFirst()).count { $0 != $1 } <= 1)
    }
  }

  @Test func `the result is the same on every instruction set, and another for another seed`() throws {
    let results = try KernelVariant.supported.map { try HardCases(seed: 3, kernel: $0).json.compactText }
    #expect(Set(results).count == 1)
    #expect(try HardCases(seed: 4, kernel: .best).json.compactText != results[0])
  }

  @Test func `layers out of range are refused`() {
    let failure = #expect(throws: Failure.self) { try HardCases(seed: 1, hidden: [0], kernel: .best) }
    #expect(failure?.status == .badConfiguration)
  }

  @Test func `a cell has the label of its centre, the first row the smallest y, and of a tie the lower label`() {
    // Label 1 above the diagonal, of which the centres are ties.
    let regions = DecisionRegions(x: 0...2, y: 10...12, cells: 3, classCount: 2) { x, y in [x, y - 10] }
    #expect(regions.labels == [0, 0, 0, 1, 0, 0, 1, 1, 0])
    #expect(regions.shares == [6.0 / 9, 3.0 / 9])
  }
}
