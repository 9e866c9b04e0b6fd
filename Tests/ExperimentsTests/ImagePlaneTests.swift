import Checkpoints
import Datasets
import Diagnostics
import Experiments
import Optimization
import TestSupport
import Testing

/// A plane through images of a synthetic set, with models whose weights are random.
@Suite struct ImagePlaneTests {
  private let dataset: Dataset
  private let directory = TemporaryDirectory()
  private static let mean = (0..<60).map { 100 + Float($0) }

  init() throws {
    try SyntheticDataset.write(
      to: directory.path + "/data", .images(InputShape(width: 5, height: 4, channels: 3), classes: 4),
      trainingExamples: 40, testExamples: 4, seed: 2)
    dataset = try Dataset(directory: directory.path + "/data", part: .training)
  }

  /// - Parameter values: of the parameters; nil for random ones.
  private func model(hidden: [Int] = [], values: [Float]? = nil) throws -> TrainedModel {
    let shape = ModelShape(classes: 4, pixels: 60, hidden: hidden, activation: .relu)
    let random = Philox4x64(seed: 9, stream: .initialParameters)
    let values = values ?? (0..<shape.parameterCount).map { Float(random.normal(at: UInt64($0))) / 4 }
    var tensors: [SafetensorsFile.Tensor] = [("mean_image", [60], Self.mean)]
    for block in shape.blocks { tensors.append((block.name, block.shape, Array(values[block.range]))) }
    let input = dataset.description.shape
    let metadata = [
      KeyValue("width", "\(input.width)"), KeyValue("height", "\(input.height)"),
      KeyValue("channels", "\(input.channels)"), KeyValue("activation", "relu"),
    ]
    return try TrainedModel(decoding: SafetensorsFile(metadata: metadata, tensors: tensors), path: "model")
  }

  private func pixels(_ example: Int) -> [Double] {
    (1...60).map { Double(dataset.examples.record(at: example)[$0]) }
  }

  /// Scores of the image at (x, y), by the whole model: the axes are found here by Gram and Schmidt.
  private func scores(_ model: TrainedModel, _ examples: [Int], at point: SIMD2<Double>) -> [Double] {
    func dot(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).map { $0 * $1 }.reduce(0, +) }
    func unit(_ a: [Double]) -> [Double] { a.map { $0 / dot(a, a).squareRoot() } }
    let images = examples.map(pixels)
    let first = unit(zip(images[1], images[0]).map { $0 - $1 })
    let side = zip(images[2], images[0]).map { $0 - $1 }
    let second = unit(zip(side, first).map { $0 - dot(side, first) * $1 })
    let x = images[0].indices.map { index in
      let pixel = images[0][index] + point.x * first[index] + point.y * second[index]
      return (pixel - Double(model.meanImage[index])) / 127.5
    }
    let plan = TrainingPlan(exampleCount: 1, batchSize: 1, shardCount: 1, totalSteps: 1) { $0.shape = model.shape }
    let w = model.parameters.values.map(Double.init)
    return ReferenceTrainer(plan: plan, w: w).scores(of: x, at: w)
  }

  @Test func `distances in the plane are those of the images`() throws {
    let examples = [3, 17, 30]
    let corners = try ImagePlane(model: model(), dataset: dataset, examples: examples).corners
    #expect(corners.map(\.example) == examples && corners[0].x == 0 && corners[0].y == 0 && corners[1].y == 0)
    #expect(corners[1].x > 0 && corners[2].y > 0)
    for (i, j) in [(0, 1), (0, 2), (1, 2)] {
      let squares = zip(pixels(examples[i]), pixels(examples[j])).map { ($0 - $1) * ($0 - $1) }
      let (x, y) = (corners[i].x - corners[j].x, corners[i].y - corners[j].y)
      #expect(abs((x * x + y * y).squareRoot() - squares.reduce(0, +).squareRoot()) < 1e-9)
    }
  }

  @Test(arguments: [[], [7], [7, 5]])
  func `the scores of the three images are those of the kernels`(hidden: [Int]) throws {
    let model = try model(hidden: hidden)
    let evaluator = Evaluator(
      shape: model.shape, loss: model.loss, examples: dataset.examples, meanImage: model.meanImage, kernel: .best)
    for corner in try ImagePlane(model: model, dataset: dataset, examples: [8, 2, 21]).corners {
      let record = dataset.examples.record(at: corner.example)
      let scores = model.parameters.withUnsafePointer { evaluator.scores(parameters: $0, record: record) }
      #expect(zip(scores, corner.scores).allSatisfy { abs(Double($0) - $1) < 1e-4 })
      #expect(corner.label == Int(record[0]))
    }
  }

  @Test func `on its line a class has the score 0, and the line ends at the edges of the rectangle`() throws {
    let (model, examples) = (try model(), [3, 17, 30])
    let plane = try ImagePlane(model: model, dataset: dataset, examples: examples)
    #expect(!plane.zeroLines.isEmpty)
    for line in plane.zeroLines {
      for share in [0, 0.3, 1] {
        let point = line.from + share * (line.to - line.from)
        #expect(abs(scores(model, examples, at: point)[line.label]) < 1e-10)
      }
      // On either side of it the score has another sign.
      let across = SIMD2(line.from.y - line.to.y, line.to.x - line.from.x)
      let sides = [1, -1].map { scores(model, examples, at: line.from + $0 * across)[line.label] }
      #expect(sides[0] * sides[1] < 0)
      for end in [line.from, line.to] {
        let (x, y) = (plane.regions.x, plane.regions.y)
        let distances = [end.x - x.lowerBound, x.upperBound - end.x, end.y - y.lowerBound, y.upperBound - end.y]
        #expect(distances.allSatisfy { $0 > -1e-9 } && distances.contains { abs($0) < 1e-9 })
      }
    }
    // A class without a line has one sign at all corners of the rectangle.
    for label in 0..<4 where !plane.zeroLines.contains(where: { $0.label == label }) {
      let (x, y) = (plane.regions.x, plane.regions.y)
      let corners = [
        (x.lowerBound, y.lowerBound), (x.lowerBound, y.upperBound), (x.upperBound, y.lowerBound),
        (x.upperBound, y.upperBound),
      ]
      let signs = corners.map { scores(model, examples, at: SIMD2($0.0, $0.1))[label] > 0 }
      #expect(Set(signs).count == 1)
    }
  }

  @Test(arguments: [[], [9]])
  func `a cell is predicted as the image at its centre`(hidden: [Int]) throws {
    let (model, examples) = (try model(hidden: hidden), [0, 1, 2])
    let plane = try ImagePlane(model: model, dataset: dataset, examples: examples)
    let (regions, cells) = (plane.regions, plane.regions.cells)
    for cell in stride(from: 0, to: cells * cells, by: 97) {
      func center(_ index: Int, _ range: ClosedRange<Double>) -> Double {
        range.lowerBound + Double(index) * (range.upperBound - range.lowerBound) / Double(cells - 1)
      }
      let point = SIMD2(center(cell % cells, regions.x), center(cell / cells, regions.y))
      let scores = scores(model, examples, at: point)
      #expect(scores[regions.labels[cell]] > (scores.max() ?? 0) - 1e-9)
    }
    #expect(plane.zeroLines.isEmpty == !hidden.isEmpty)
    #expect(abs(regions.shares.reduce(0, +) - 1) < 1e-12)
  }

  @Test func `images on a line span no plane`() {
    for examples in [[1, 1, 2], [1, 2, 1], [1, 2, 2]] {
      let failure = #expect(throws: Failure.self) {
        try ImagePlane(model: model(), dataset: dataset, examples: examples)
      }
      #expect(failure?.status == .badData)
    }
  }

  @Test func `without a choice the images are the first correct ones of three classes`() throws {
    // The first image of each class as its template: w · x − ‖w‖² / 2 is highest for the nearest one.
    let templates = try (0..<4).map { label in
      let first = try #require((0..<40).first { dataset.examples.label(at: $0) == label })
      return zip(pixels(first), Self.mean).map { (Float($0) - $1) / 127.5 }
    }
    let biases = templates.map { -$0.reduce(0) { $0 + $1 * $1 } / 2 }
    let model = try model(values: templates.flatMap(\.self) + biases)
    let candidates = Array((0..<40 as Range<UInt32>).reversed())
    let found = try ImagePlane.examples(among: candidates, of: dataset, model: model, kernel: .best)
    var expected: [Int] = []
    for candidate in candidates.map(Int.init) where expected.count < 3 {
      let scores = scores(model, [candidate, (candidate + 1) % 40, (candidate + 2) % 40], at: SIMD2(0, 0))
      let label = dataset.examples.label(at: candidate)
      let isNew = !expected.contains { dataset.examples.label(at: $0) == label }
      if scores.firstIndex(of: scores.max() ?? 0) == label, isNew { expected.append(candidate) }
    }
    #expect(found == expected && found.count == 3)
    let failure = #expect(throws: Failure.self) {
      try ImagePlane.examples(among: [found.map(UInt32.init)[0]], of: dataset, model: model, kernel: .best)
    }
    #expect(failure?.status == .badData)
  }

  @Test func `an example as a picture has its planes as colours`() throws {
    let picture = try #require(dataset.picture(at: 11))
    #expect(picture.width == 5 && picture.height == 4)
    #expect(picture.pixels(as: dataset.description.shape).map(Double.init) == pixels(11))
  }
}
