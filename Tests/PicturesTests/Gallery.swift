import Datasets
import Pictures

/// Pictures of every kind, as the experiments declare them.
enum Gallery {
  static let all: [Figure] = [curves, sweep, bars, surface, confusion, regions, neighbors, narrow]

  /// Lines over a logarithmic axis, with error bars and a gap, and a long caption.
  static let curves = Figure(
    "Loss against examples seen, by minibatch size",
    caption: "Full-batch gradient descent takes one step where minibatches of 64 take 703: after 45,000 examples the "
      + "loss is 2.19 ± 0.01 against 1.83 (CS231n, \"Optimization\"). η = 0.01, λ = 10⁻⁴, x² × ½.",
    panels: [
      .chart(
        Chart(
          "Training loss", x: Axis("examples seen", scale: .log10), y: Axis("data loss"),
          series: [
            Series("minibatches of 1", .line, points: decay(2.31, 1.85, 40)),
            Series("64", .lineAndPoints, points: decay(2.31, 1.72, 12)),
            Series("45,000 (all)", .points, points: decay(2.31, 2.1, 9).map { Point($0.x, $0.y, error: 0.03) }),
            Series("the lecture's 2.30", .dashedLine, points: [Point(10, 2.3), Point(100_000, 2.3)]),
          ]))
    ])

  static let sweep = Figure(
    "Hyperparameters of a linear classifier", caption: "60 trials, the best one at the mark.", columns: 2,
    panels: [
      .chart(
        Chart(
          "Random search", x: Axis("learning rate", scale: .log10), y: Axis("L2 strength λ", scale: .log10),
          series: [Series(points: []), Series("trials", .points, points: trials)],
          valueLabel: "validation accuracy (%)")),
      .heatMap(
        HeatMap(
          "Grid search", x: Axis("learning rate", scale: .categories(["1e-4", "1e-3", "1e-2", "1e-1", "1"])),
          y: Axis("L2 strength λ", scale: .categories(["1e-5", "1e-4", "1e-3", "1e-2"])), columns: 5,
          values: (0..<20).map { $0 == 13 ? .nan : 10 + Double(($0 * 7) % 31) }, valueLabel: "validation accuracy (%)",
          places: 1)),
    ])

  static let bars = Figure(
    "Accuracy and error of ten classes", columns: 2,
    panels: [
      .chart(
        Chart(
          "Accuracy by class", x: Axis("class", scale: .categories(classes)),
          y: Axis("accuracy (%)", range: 0...100),
          series: [
            Series("linear", .bars, points: (0..<10).map { Point(Double($0), 25 + Double($0 * 13 % 37), error: 2.5) }),
            Series("network", .bars, points: (0..<10).map { Point(Double($0), 40 + Double($0 * 11 % 41), error: 2) }),
          ])),
      .chart(
        Chart(
          "Error decomposition", x: Axis("model", scale: .categories(["linear", "hidden 100", "hidden 512"])),
          y: Axis("error (%)"),
          series: [
            Series("modelling", .stackedBars, points: [Point(0, 43), Point(1, 31), Point(2, 25)]),
            Series("estimation", .stackedBars, points: [Point(0, 3), Point(1, 12), Point(2, 17)]),
            Series("optimization", .stackedBars, points: [Point(0, 12.5), Point(1, 3), Point(2, 1)]),
          ])),
      .chart(
        Chart(
          "Probabilities", x: Axis("probability (%)", range: 0...100), y: Axis("", scale: .categories(classes)),
          series: [Series(nil, .bars, points: (0..<10).map { Point(Double(100 >> $0), Double($0)) })])),
      .chart(
        Chart(
          "Reliability", x: Axis("confidence", range: 0...1), y: Axis("accuracy", range: 0...1),
          series: [
            Series("accuracy", .bars, points: (0..<10).map { Point(0.05 + Double($0) / 10, Double($0 * $0) / 100) }),
            Series("calibrated", .dashedLine, points: [Point(0, 0), Point(1, 1)]),
          ])),
    ])

  static let surface = Figure(
    "The loss around a minimum", columns: 2,
    panels: [
      .heatMap(
        HeatMap(
          "W + a·W₁ + b·W₂", x: Axis("a", range: -1...1), y: Axis("b", range: -1...1), columns: 41,
          values: (0..<1681).map { bowl(Double($0 % 41) / 20 - 1, Double($0 / 41) / 20 - 1) }, valueLabel: "data loss",
          overlay: [Series("minimum", .points, points: [Point(0.2, -0.3)])])),
      .heatMap(
        HeatMap(
          "Difference to the mean", x: Axis(""), y: Axis(""), columns: 32,
          values: (0..<1024).map { bowl(Double($0 % 32) / 16 - 1, Double($0 / 32) / 16 - 1) - 1.2 },
          valueLabel: "contribution to the score", colors: .diverging)),
    ])

  static let confusion = Figure(
    "Confusion matrix, test set",
    panels: [
      .heatMap(
        HeatMap(
          x: Axis("predicted", scale: .categories(classes)), y: Axis("actual", scale: .categories(classes)),
          columns: 10, values: (0..<100).map { $0 % 11 == 0 ? 500 : Double($0 * 37 % 140) }, valueLabel: "examples",
          places: 0))
    ])

  static let regions = Figure(
    "Hard cases for a linear classifier", caption: "Left 58 %, right 99 %.", columns: 2,
    panels: [
      .heatMap(
        HeatMap(
          "Linear", x: Axis("x₁", range: -1...1), y: Axis("x₂", range: -1...1), columns: 60,
          values: (0..<3600).map { $0 % 60 + $0 / 60 > 60 ? 1 : 0 }, valueLabel: "class",
          colors: .classes(["inside", "outside"]), overlay: ring)),
      .heatMap(
        HeatMap(
          "Hidden 20", x: Axis("x₁", range: -1...1), y: Axis("x₂", range: -1...1), columns: 60,
          values: (0..<3600).map { bowl(Double($0 % 60) / 30 - 1, Double($0 / 60) / 30 - 1) > 1.3 ? 1 : 0 },
          valueLabel: "class", colors: .classes(["inside", "outside"]), overlay: ring)),
    ])

  static let neighbors = Figure(
    "Test images and their nearest neighbours", caption: "Green: the same class.",
    panels: [
      .tiles(
        Tiles(
          "L2 distance", columns: 6,
          tiles: (0..<12).map {
            Tiles.Tile(
              texture($0, 32), caption: $0 % 6 == 0 ? "automobile" : "bird 3,4\($0)2 → frog",
              frame: [.none, .good, .bad][$0 % 3])
          }))
    ])

  static let narrow = Figure(
    "Three panels", caption: "Narrow ones, and nothing that overlaps.", columns: 3,
    panels: [
      .chart(
        Chart(
          "Numerical and analytic gradient", x: Axis("h", scale: .log10), y: Axis("relative error", scale: .log10),
          series: [
            Series(
              "central differences", .lineAndPoints,
              points: (0..<10).map {
                Point(power(-10, $0), [1e-2, 1e-4, 1e-6, 1e-8, 1e-9, 1e-8, 1e-7, 1e-5, 1e-3, 1e-1][$0])
              }),
            Series("forward differences", .line, points: (0..<10).map { Point(power(-10, $0), power(-8, $0)) }),
          ])),
      .chart(
        Chart(
          "Large and small numbers", x: Axis("step"), y: Axis("norm"),
          series: [Series(nil, .line, points: (0..<50).map { Point(Double($0) * 1_000, 3e-7 * Double($0 * $0)) })])),
      .tiles(
        Tiles("Templates", columns: 5, tiles: (0..<10).map { Tiles.Tile(texture($0 + 40, 8), caption: classes[$0]) })),
    ])

  static let classes = [
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
  ]

  private static let trials = (0..<60).map { index in
    let (a, b) = (Double(index * 37 % 61) / 61, Double(index * index * 11 % 59) / 59)
    return Point(
      power(-4, 0) * powerOfTen(4 * a), 1e-5 * powerOfTen(4 * b), value: 49 - 10 * bowl(2 * a - 1.2, 3 * b - 1.4))
  }

  private static let ring = [0, 1].map { label in
    Series(
      ["inside", "outside"][label], .points,
      points: (0..<60).map { index in
        let (x, y) = (Double(index * 29 % 60) / 30 - 1, Double(index * 17 % 60) / 30 - 1)
        return Point(x, y)
      }.filter { ($0.x * $0.x + $0.y * $0.y < 0.4) == (label == 0) })
  }

  private static func decay(_ start: Double, _ end: Double, _ count: Int) -> [Point] {
    (0..<count).map { index in
      let share = Double(index) / Double(count)
      return Point(10 * powerOfTen(4 * share), end + (start - end) * (1 - share) * (1 - share))
    }
  }

  private static func bowl(_ x: Double, _ y: Double) -> Double { 0.8 + x * x + 0.6 * (y + 0.1 * x) * (y + 0.1 * x) }

  private static func power(_ exponent: Int, _ more: Int) -> Double { Double("1e\(exponent + more)") ?? 0 }

  /// For exponents of at least 0: squares and roots are enough for a picture.
  private static func powerOfTen(_ exponent: Double) -> Double {
    var (result, root, rest) = (1.0, 10.0, exponent)
    while rest >= 1 { (result, rest) = (result * 10, rest - 1) }
    for _ in 0..<20 {
      root = root.squareRoot()
      rest *= 2
      if rest >= 1 { (result, rest) = (result * root, rest - 1) }
    }
    return result
  }

  /// An image whose pixels all differ from their neighbours.
  static func texture(_ seed: Int, _ side: Int) -> RGBImage {
    RGBImage(
      width: side, height: side,
      pixels: (0..<side * side * 3).map {
        UInt8(truncatingIfNeeded: ($0 * (seed * 2 + 31) * 7 + $0 / (side * 3) * 5) % 251)
      })
  }
}
