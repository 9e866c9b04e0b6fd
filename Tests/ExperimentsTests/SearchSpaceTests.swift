import Diagnostics
import Experiments
import RunConfiguration
import Testing

@Suite struct SearchSpaceTests {
  private func space(_ texts: String...) throws -> SearchSpace { try SearchSpace(parsing: texts) }

  @Test func `lists with commas and repeated options are the same space`() throws {
    let listed = try space("learning-rate=log:1e-4..1,l2=log:1e-5..1e-1,hidden=50|100|200")
    #expect(try listed == space("lr=log:1e-4..1", "l2=log:1e-5..1e-1", "hidden=50|100|200"))
    #expect(listed.text == "learning-rate=log:0.0001..1,l2=log:1e-05..0.1,hidden=50|100|200")
    #expect(try SearchSpace(parsing: [listed.text]) == listed)
  }

  @Test func `a comma inside a value belongs to it`() throws {
    let axes = try space("hidden=256,128|512|0,loss=softmax|svm").axes
    #expect(axes.map(\.name) == ["hidden", "loss"])
    #expect(axes[0].values == .choices(["256,128", "512", "0"]))
  }

  @Test func `points of a range: ends are exact, logarithmic ones are equal factors apart`() throws {
    #expect(try space("l2=log:1e-4..1:5").axes[0].values == .choices(["0.0001", "0.001", "0.01", "0.1", "1"]))
    #expect(try space("momentum=0..0.9:4").axes[0].values == .choices(["0", "0.3", "0.6", "0.9"]))
    #expect(try space("hidden=log:10..1000:3").axes[0].values == .choices(["10", "100", "1000"]))
    // Integers close to each other are there once.
    #expect(try space("epochs=1..3:9").axes[0].values == .choices(["1", "2", "3"]))
  }

  @Test(arguments: [
    ("lambda=1..2", "Did you mean `l2`"), ("workers=1|2", "the weights do not depend on it"),
    ("seed=1|2", "it chooses the validation examples"), ("l2", "expected NAME=VALUES"),
    ("l2=1..0.1", "lower bound must be below"), ("l2=log:0..1", "must begin above 0"),
    ("l2=log:5", "expected log:A..B"),
    ("l2=-1..1", "a number from 0 to 1000"), ("loss=softmax|svn", "is \"svn\""),
    ("loss=a..b", "a range is for numbers"),
    ("l2=0.1|1e-1", "names 0.1 twice"), ("l2=1..2:1", "number of points"), ("l2=", "is \"\""),
    ("l2=1..2,l2=3..4", "names `l2` twice"), ("l2=nan..1", "but is \"nan\""),
  ])
  func `what is no space is refused with the reason`(text: String, reason: String) {
    #expect { try space(text) } throws: { error in
      guard let failure = error as? Failure else { return false }
      return failure.status == .usage && failure.description.contains(reason)
    }
  }

  // MARK: Random search

  @Test func `a trial is the same however many there are, and whatever else is varied`() throws {
    let rate = "learning-rate=log:1e-4..1"
    let (few, many) = try (space(rate).randomPoints(3, seed: 7), space(rate).randomPoints(60, seed: 7))
    #expect(Array(many[..<3]) == few)
    #expect(try space("l2=log:1e-5..1e-1", rate).randomPoints(60, seed: 7).map { $0[1] } == many.map { $0[0] })
    #expect(try space(rate).randomPoints(60, seed: 8) != many)
  }

  /// A change of the draws makes sweeps that were begun impossible to continue. In NumPy, the fraction of a value is the upper
  /// 53 bits of the first word, and a choice its product with the number of choices, the upper 64 bits:
  ///
  ///     counter = (fnv1a(name) << 128 | trial << 64) - 1    # NumPy adds one before the first block
  ///     word = numpy.random.Philox(key=seed | 6 << 64, counter=counter).random_raw()
  @Test func `draws are those of NumPy's generator`() throws {
    let points = try space("learning-rate=log:1e-4..1,hidden=50|100|200,epochs=5..20").randomPoints(4, seed: 1)
    #expect(
      points == [
        ["0.00143", "100", "12"], ["0.001501", "200", "7"], ["0.7277", "50", "6"], ["0.02101", "100", "7"],
      ])
  }

  @Test func `draws fill a logarithmic range evenly and stay within its bounds`() throws {
    let values = try space("l2=log:1e-5..1e-1").randomPoints(4000, seed: 3).compactMap { Double($0[0]) }
    #expect(values.count == 4000)
    #expect(values.allSatisfy { (1e-5...1e-1).contains($0) })
    // A quarter in each decade, within five standard deviations.
    for bound in [1e-5, 1e-4, 1e-3, 1e-2] {
      let count = values.count { (bound..<10 * bound).contains($0) }
      #expect(abs(Double(count) - 1000) < 5 * (4000 * 0.25 * 0.75).squareRoot(), "from \(bound)")
    }
    // Typed without effort: at most four digits.
    #expect(values.allSatisfy { Double("\(Int(($0 * 1e9).rounded()))e-9") == $0 })
  }

  @Test func `every integer of a range is as likely as any other`() throws {
    let values = try space("epochs=1..4,l2=log:1e-5..1").randomPoints(4000, seed: 3).map { $0[0] }
    #expect(Set(values) == ["1", "2", "3", "4"])
    for value in Set(values) {
      #expect(abs(Double(values.count { $0 == value }) - 1000) < 5 * (4000 * 0.25 * 0.75).squareRoot(), "\(value)")
    }
  }

  @Test func `no combination is tried twice, and more tries than combinations are refused`() throws {
    let finite = try space("hidden=50|100|200,epochs=1..4")
    let all = try finite.randomPoints(12, seed: 5)
    #expect(Set(all).count == 12)
    #expect { try finite.randomPoints(13, seed: 5) } throws: {
      ($0 as? Failure)?.description.contains("only 12 different combinations") == true
    }
    // Two values of four digits, which no count knows of.
    #expect { try space("l2=1..1.0002").randomPoints(9, seed: 5) } throws: {
      ($0 as? Failure)?.description.contains("no other combination") == true
    }
  }

  // MARK: Grid

  @Test func `a grid has every combination, the last setting fastest`() throws {
    let points = try space("l2=log:1e-2..1:3", "hidden=0|100").gridPoints()
    #expect(
      points == [["0.01", "0"], ["0.01", "100"], ["0.1", "0"], ["0.1", "100"], ["1", "0"], ["1", "100"]])
  }

  @Test func `a grid needs the number of points, and has a limit`() throws {
    #expect { try space("l2=log:1e-2..1").gridPoints() } throws: {
      ($0 as? Failure)?.description.contains("expected l2=log:0.01..1:5") == true
    }
    #expect(throws: Failure.self) { try space("l2=0..1:101", "l1=0..1:100").gridPoints() }
  }
}
