import Checkpoints
import Datasets
import Diagnostics
import Optimization
import Pictures
import Reporting

/// The plane through three images, and what a model says of its points (CS231n, "Linear Classification", "Analogy of
/// images as high-dimensional points"): the regions of the classes and, of a linear classifier, the line on which each
/// class has the score 0, where the hyperplane of its row of W cuts the plane.
///
/// The coordinates are orthonormal: the first image is at (0, 0), the second on the positive x axis, the third above
/// it, and distances are L2 distances of images in pixel units (0 to 255 per value). So (x, y) is the image p₁ + x e₁ +
/// y e₂, with e₁ ∥ p₂ − p₁ and e₂ ∥ p₃ − p₁ − ((p₃ − p₁) · e₁) e₁, unit vectors [D]. Nearly all of it is no picture
/// that a camera takes, and its values may lie outside 0 to 255.
public struct ImagePlane: Sendable {
  /// One of the three images.
  public struct Corner: Sendable {
    /// Its number in the data set.
    public let example: Int
    public let label: Int
    public let prediction: Int
    /// s [K].
    public let scores: [Double]
    /// In the plane.
    public let x: Double
    public let y: Double
    /// Nil for data that are no pictures.
    let image: RGBImage?
  }

  /// The part of a class's line of score 0 inside the rectangle.
  public struct ZeroLine: Sendable, Equatable {
    public let label: Int
    public let from: SIMD2<Double>
    public let to: SIMD2<Double>
  }

  public let corners: [Corner]
  public let regions: DecisionRegions
  /// In label order, of the classes whose line cuts the rectangle; none for a network.
  public let zeroLines: [ZeroLine]
  public let isLinear: Bool
  let classNames: [String]

  /// - Parameters:
  ///   - model: with inputs of the kernels' scale.
  ///   - examples: the numbers of three images of `dataset`, which fits the model.
  /// - Throws: `badData` where the three images lie on a line.
  public init(model: TrainedModel, dataset: Dataset, examples: [Int]) throws(Failure) {
    precondition(examples.count == 3 && model.pixelScale == ExampleTable.pixelScale)
    let images = examples.map { example in
      let pixels = dataset.examples.record(at: example) + 1
      return (0..<model.shape.pixels).map { Double(pixels[$0]) }
    }
    guard let frame = Frame(images) else {
      throw Failure(
        .badData,
        "the images \(examples.map(String.init).joined(separator: ", ")) lie on a line, so many planes contain them",
        remedy: "Choose others with --images")
    }
    let (shape, parameters) = model.restricted(to: frame)
    let plan = TrainingPlan(exampleCount: 1, batchSize: 1, shardCount: 1, totalSteps: 1) { $0.shape = shape }
    let reference = ReferenceTrainer(plan: plan, w: parameters)
    corners = zip(examples, frame.corners).map { example, place in
      let scores = reference.scores(of: [place.x, place.y], at: parameters)
      return Corner(
        example: example, label: dataset.examples.label(at: example),
        prediction: scores.indices.reduce(0) { scores[$1] > scores[$0] ? $1 : $0 }, scores: scores, x: place.x,
        y: place.y, image: dataset.picture(at: example))
    }
    let (x, y) = frame.surroundings
    regions = DecisionRegions(x: x, y: y, cells: 121, classCount: shape.classes) { x, y in
      reference.scores(of: [x, y], at: parameters)
    }
    isLinear = shape.isLinear
    zeroLines = shape.isLinear ? Self.zeroLines(shape, parameters, x, y) : []
    classNames = model.classNames
  }

  /// The first three of `candidates` that are correctly classified and of different classes.
  ///
  /// - Throws: `badData` where there are no three.
  public static func examples(
    among candidates: [UInt32], of dataset: Dataset, model: TrainedModel, kernel: KernelVariant
  ) throws(Failure) -> [Int] {
    let evaluator = Evaluator(
      shape: model.shape, loss: model.loss, margin: model.margin, examples: dataset.examples,
      meanImage: model.meanImage, kernel: kernel)
    var (found, labels) = ([Int](), [Int]())
    model.parameters.withUnsafePointer { parameters in
      for candidate in candidates.lazy.map(Int.init) where found.count < 3 {
        let label = dataset.examples.label(at: candidate)
        if labels.contains(label) { continue }
        let scores = evaluator.scores(parameters: parameters, record: dataset.examples.record(at: candidate))
        guard scores.indices.reduce(0, { scores[$1] > scores[$0] ? $1 : $0 }) == label else { continue }
        found.append(candidate)
        labels.append(label)
      }
    }
    guard found.count == 3 else {
      throw Failure(
        .badData,
        "of \(candidates.count) examples the model classifies only \(found.count) of different classes correctly, and "
          + "three are needed", remedy: "Choose them with --images")
    }
    return found
  }

  /// The lines w · (x, y) + b = 0 of a linear model of two inputs.
  private static func zeroLines(
    _ shape: ModelShape, _ parameters: [Double], _ x: ClosedRange<Double>, _ y: ClosedRange<Double>
  ) -> [ZeroLine] {
    let layer = shape.layers[0]
    return (0..<shape.classes).compactMap { label in
      let row = layer.weight.lowerBound + 2 * label
      let w = SIMD2(parameters[row], parameters[row + 1])
      let squaredNorm = (w * w).sum()
      guard squaredNorm > 0 else { return nil }
      // From the point next to the origin in the direction of the line, as far as the rectangle reaches.
      let foot = -parameters[layer.bias.lowerBound + label] / squaredNorm * w
      let direction = SIMD2(-w.y, w.x) / squaredNorm.squareRoot()
      var (first, last) = (-Double.infinity, Double.infinity)
      for (start, slope, range) in [(foot.x, direction.x, x), (foot.y, direction.y, y)] {
        guard slope != 0 else {
          if range.contains(start) { continue }
          return nil
        }
        let ends = [range.lowerBound, range.upperBound].map { ($0 - start) / slope }
        (first, last) = (max(first, min(ends[0], ends[1])), min(last, max(ends[0], ends[1])))
      }
      return first < last ? ZeroLine(label: label, from: foot + first * direction, to: foot + last * direction) : nil
    }
  }
}

/// Orthonormal coordinates of the plane through three points.
struct Frame {
  /// The first point [D].
  let origin: [Double]
  /// The unit vectors e₁ and e₂ [D] of the axes.
  let axes: [[Double]]
  /// The points in the plane.
  let corners: [SIMD2<Double>]

  /// - Parameter points: three of [D].
  /// - Returns: nil if they lie on a line.
  init?(_ points: [[Double]]) {
    func dot(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
    let (origin, second, third) = (points[0], points[1], points[2])
    let sides = [second, third].map { zip($0, origin).map { $0.0 - $0.1 } }
    let length = dot(sides[0], sides[0]).squareRoot()
    guard length > 0 else { return nil }
    let first = sides[0].map { $0 / length }
    let along = dot(sides[1], first)
    let rest = zip(sides[1], first).map { $0.0 - along * $0.1 }
    let height = dot(rest, rest).squareRoot()
    // Of images on a line only rounding remains.
    guard height > 1e-9 * dot(sides[1], sides[1]).squareRoot() else { return nil }
    self.origin = origin
    axes = [first, rest.map { $0 / height }]
    corners = [SIMD2(0, 0), SIMD2(length, 0), SIMD2(along, height)]
  }

  /// A square around the points, with a margin of 40 % of its side on each of their longer sides.
  var surroundings: (x: ClosedRange<Double>, y: ClosedRange<Double>) {
    let (low, high) = corners.dropFirst().reduce((corners[0], corners[0])) {
      (pointwiseMin($0.0, $1), pointwiseMax($0.1, $1))
    }
    let half = 0.9 * (high - low).max()
    let middle = (low + high) / 2
    return (middle.x - half...middle.x + half, middle.y - half...middle.y + half)
  }
}

extension TrainedModel {
  /// The model of the two coordinates of a plane, in double precision: the first layer's weights W [outputs, D] become
  /// W [e₁ e₂] / scale [outputs, 2] and its bias b + W (p₁ − mean) / scale, and all other layers stay as they are. Its
  /// scores at (x, y) are those of the model at p₁ + x e₁ + y e₂.
  func restricted(to frame: Frame) -> (shape: ModelShape, parameters: [Double]) {
    let layer = shape.layers[0]
    let scale = Double(pixelScale)
    let origin = zip(frame.origin, meanImage).map { $0 - Double($1) }
    func product(_ unit: Int, _ vector: [Double]) -> Double {
      let row = parameters.values[layer.weight].dropFirst(unit * layer.inputs)
      return zip(row, vector).reduce(0) { $0 + Double($1.0) * $1.1 } / scale
    }
    let weights = (0..<layer.outputs).flatMap { unit in frame.axes.map { product(unit, $0) } }
    let biases = (0..<layer.outputs).map { unit in
      Double(parameters.values[layer.bias.lowerBound + unit]) + product(unit, origin)
    }
    let rest = parameters.values[layer.bias.upperBound...].map(Double.init)
    let restricted = ModelShape(
      classes: shape.classes, pixels: 2, hidden: shape.hidden, activation: shape.activation)
    return (restricted, weights + biases + rest)
  }
}

// MARK: - Reporting

extension ImagePlane {
  private static let unit = "L2 distance in pixel units"
  /// A, B and C.
  private static let letters = ["A", "B", "C"]

  /// Images, rectangle, shares of the classes and lines.
  package var json: JSONValue {
    func pair(_ point: SIMD2<Double>) -> JSONValue { .array([.measurement(point.x), .measurement(point.y)]) }
    func pair(_ range: ClosedRange<Double>) -> JSONValue { pair(SIMD2(range.lowerBound, range.upperBound)) }
    let images = corners.map { corner -> JSONValue in
      [
        "example": .number(corner.example), "class": .string(classNames[corner.label]),
        "predicted": .string(classNames[corner.prediction]), "x": .measurement(corner.x), "y": .measurement(corner.y),
        "scores": .array(corner.scores.map { .measurement($0) }),
      ]
    }
    let shares = regions.shares
    let classes = classNames.indices.map { label -> JSONValue in
      let line = zeroLines.first { $0.label == label }
      return [
        "name": .string(classNames[label]), "share": .measurement(shares[label]),
        "zero_line": line.map { .array([pair($0.from), pair($0.to)]) } ?? .null,
      ]
    }
    return [
      "unit": .string(Self.unit), "linear": .boolean(isLinear), "images": .array(images), "x": pair(regions.x),
      "y": pair(regions.y), "classes": .array(classes),
    ]
  }

  /// A row for each image, then one for each class.
  public var text: String {
    func number(_ value: Double) -> String { Display.decimal(value, places: 0) }
    let names = classNames.map(printable)
    let images = zip(Self.letters, corners).map { letter, corner in
      [
        letter, "\(corner.example)", names[corner.label], names[corner.prediction],
        "(\(number(corner.x)), \(number(corner.y)))",
      ]
    }
    let shares = regions.shares
    let classes = classNames.indices.map { label in
      let line = zeroLines.first { $0.label == label }
      func place(_ point: SIMD2<Double>) -> String { "(\(number(point.x)), \(number(point.y)))" }
      let ends = line.map { "\(place($0.from)) to \(place($0.to))" } ?? (isLinear ? "outside" : "-")
      return [names[label], Display.percent(shares[label]), ends]
    }
    let (x, y) = (regions.x, regions.y)
    return table([["image", "example", "class", "predicted", "(x, y)"]] + images)
      + "\nx from \(number(x.lowerBound)) to \(number(x.upperBound)), y from \(number(y.lowerBound)) to "
      + "\(number(y.upperBound)), in units of the \(Self.unit)\n\n"
      + table([["predicted", "share", "score 0 from"]] + classes)
  }

  public var figure: Figure {
    let points = zip(Self.letters, corners).map { letter, corner in
      Series("\(letter): \(classNames[corner.label])", .points, points: [Point(corner.x, corner.y)])
    }
    // Of the name of the class, and so of its colour.
    let lines = zeroLines.map { line in
      Series(
        classNames[line.label], .line, points: [Point(line.from.x, line.from.y), Point(line.to.x, line.to.y)])
    }
    let map = regions.heatMap(
      "predicted class", xLabel: "x (\(Self.unit))", yLabel: "y (\(Self.unit))", classNames: classNames,
      overlay: lines + points)
    let tiles = zip(Self.letters, corners).compactMap { letter, corner in
      corner.image.map { image in
        Tiles.Tile(
          image, caption: "\(letter): \(classNames[corner.label]), example \(corner.example)",
          frame: corner.prediction == corner.label ? .good : .bad)
      }
    }
    return Figure(
      "The plane through three images",
      caption: "A is at (0, 0), B on the x axis. "
        + (isLinear
          ? "On the line of its colour a class has the score 0: its row of W is a hyperplane, and the plane cuts it."
          : "The regions of a network are not bounded by straight lines."),
      columns: 2,
      panels: [.heatMap(map)] + (tiles.isEmpty ? [] : [.tiles(Tiles("images", columns: 1, tiles: tiles))]))
  }
}
