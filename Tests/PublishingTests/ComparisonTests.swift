import Pictures
import Publishing
import Reporting
import Testing

@Suite struct ComparisonTests {
  private typealias Settings = [(name: String, value: String?, origin: String)]

  @Test func `a setting differs that one run has otherwise, does not set or does not record`() {
    let first: Settings = [
      ("seed", "1", "default"), ("learning-rate", "0.05", "default"), ("patience", nil, "default"),
      ("run-dir", "a", "--run-dir"), ("workers", "2", "--workers"),
    ]
    let second: Settings = [
      ("seed", "1", "--seed"), ("learning-rate", "0.1", "DESCENT_LEARNING_RATE"), ("patience", "3", "x.yaml:4"),
      ("run-dir", "b", "--run-dir"), ("workers", "2", "--workers"), ("new", "1", "default"),
    ]
    let found = RunComparison.differences([first, second])
    #expect(found.map(\.name) == ["learning-rate", "patience", "new"])
    #expect(found.map(\.values) == [["0.05", "0.1"], [nil, "3"], [nil, "1"]])
    #expect(found.map(\.shapesWeights) == [true, false, false])
    #expect(
      found[0].origins == ["default", "DESCENT_LEARNING_RATE"] && found[2].origins == ["not recorded", "default"])
    #expect(RunComparison.differences([first, first]).isEmpty)
  }

  @Test func `of a long curve the ends and every peak stay`() {
    var points = (0..<100_000).map { Point(Double($0), 1) }
    (points[12_345].y, points[77_777].y) = (9, -9)
    let kept = LearningCurves.thinned(points)
    #expect(kept.count < 820 && kept.first == points.first && kept.last == points.last)
    #expect(kept.contains(points[12_345]) && kept.contains(points[77_777]))
    #expect(zip(kept, kept.dropFirst()).allSatisfy { $0.x < $1.x })
    #expect(LearningCurves.thinned(Array(points.prefix(800))) == Array(points.prefix(800)))
  }

  @Test func `a curve of blocks has the scales of all runs, and no number of a file stops it`() {
    func rows(_ values: [(Double, Double?)]) -> [MetricsRecord] {
      values.map { epoch, accuracy in
        var record = MetricsRecord(step: 1, examples: 1)
        (record.epoch, record.validationAccuracy) = (epoch, accuracy)
        return record
      }
    }
    func line(_ values: [(Double, Double?)], end: Double = 4) -> String {
      LearningCurves.sparkline(rows(values), width: 4, end: end, range: 0...0.8)
    }
    #expect(line([(0, 0), (1, 0.25), (2, 0.45), (4, 0.8)]) == "▁▃▅█")
    #expect(line([(1, 0.8), (3, 0)]) == " ██▁")
    #expect(line([(0, nil), (1, .nan), (2, 1e300), (-1e300, 0.1), (1e300, 0.1), (.infinity, 0.1)]).isEmpty)
    #expect(line([(0, 0.5)], end: 0).isEmpty && line([]).isEmpty)
  }

  @Test func `a list reads as one`() {
    #expect(RunComparison.list(["a"]) == "a" && RunComparison.list(["a", "b"]) == "a and b")
    #expect(RunComparison.list(["a", "b", "c"]) == "a, b and c")
  }
}

@Suite struct ModelCardTests {
  @Test func `a name in the front matter is a quoted scalar that YAML prints`() {
    #expect(ModelCard.scalar("a: b # c") == "\"a: b # c\"")
    #expect(ModelCard.scalar("\"\\\n---\u{85}\u{2028}\u{feff}😀") == #""\"\\\\u{a}---\\u{85}\\u{2028}"# + "\u{fffd}😀\"")
  }

  @Test func `a name in Markdown stays text, and a slug is one word`() {
    #expect(ModelCard.escaped("a|b`<img>[x](y)") == "a\\|b\\`\\<img\\>\\[x\\]\\(y\\)")
    #expect(ModelCard.slug("CIFAR-10 (synthetic)") == "cifar-10-synthetic")
    #expect(ModelCard.slug("é") == "custom")
  }

  @Test func `a licence is an identifier of the hub`() {
    for license in ["apache-2.0", "mit", "cc-by-4.0", "other"] { #expect(ModelCard.isLicense(license)) }
    for license in ["", "MIT", "my license", "a\nb", "-x"] { #expect(!ModelCard.isLicense(license)) }
  }
}
