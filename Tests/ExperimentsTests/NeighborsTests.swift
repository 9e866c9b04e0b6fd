import Datasets
import Diagnostics
import Experiments
import Foundation
import Optimization
import Pictures
import Synchronization
import TestSupport
import Testing

private typealias Settings = Neighbors.Settings

@Suite struct NeighborsTests {
  private let directory = TemporaryDirectory()

  /// 300 and 90 examples of 3 classes.
  private func data(_ shape: InputShape = InputShape(width: 16, height: 16, channels: 3)) throws -> String {
    let path = directory.path + "/data"
    try SyntheticDataset.write(
      to: path, .images(shape, classes: 3), trainingExamples: 300, testExamples: 90, seed: 5)
    return path
  }

  private func run(
    _ settings: Settings, _ path: String, kernel: KernelVariant = .best
  ) throws -> Neighbors {
    try Neighbors(
      settings, training: Dataset(directory: path, part: .training), kernel: kernel,
      test: { () throws(Failure) in try Dataset(directory: path, part: .test) })
  }

  // MARK: The vote

  @Test func `most votes win, and of several classes with as many that of the nearest`() {
    let table = ExampleTable.inMemory([4, 0, 7, 0, 7, 0, 4, 0, 2, 0], recordSize: 2)
    func vote(_ indices: [UInt32]) -> Int { Neighbors.vote(indices.map { Neighbor(distance: 0, index: $0) }, table) }
    #expect(vote([4]) == 2)
    #expect(vote([4, 0, 3]) == 4)
    #expect(vote([1, 0]) == 7)
    #expect(vote([0, 1]) == 4)
    #expect(vote([4, 1, 0, 2, 3]) == 7)
    #expect(vote([4, 0, 1, 2, 3]) == 4)
  }

  // MARK: Choosing k

  @Test(arguments: [nil, 4])
  func `the test set is opened once, after every comparison that chooses k`(folds: Int?) throws {
    let path = try data()
    let training = try Dataset(directory: path, part: .training)
    let stages = Mutex<[Neighbors.Stage]>([])
    var opened: [[Neighbors.Stage]] = []
    let neighbors = try Neighbors(
      Settings(distance: .l1, k: [5, 1, 3], folds: folds, validationExamples: 60, seed: 2), training: training,
      kernel: .best,
      test: { () throws(Failure) in
        opened.append(stages.withLock { $0 })
        return try Dataset(directory: path, part: .test)
      },
      progress: { progress in if progress.done == progress.queries { stages.withLock { $0.append(progress.stage) } } })
    let choosing = folds.map { (1...$0).map(Neighbors.Stage.fold) } ?? [.validation]
    #expect(opened == [choosing])
    #expect(stages.withLock { $0 } == choosing + [.test])
    #expect(neighbors.curve.map(\.k) == [1, 3, 5])
    #expect(neighbors.tested.queries == 90 && neighbors.tested.examples == 300)

    // Other test examples, here those for training, change neither the curve nor the choice.
    let other = try Neighbors(
      neighbors.settings, training: training, kernel: .best, test: { () throws(Failure) in training })
    #expect(other.curve == neighbors.curve && other.chosen == neighbors.chosen)
    #expect(other.testAccuracy != neighbors.testAccuracy)
  }

  @Test func `accuracies are those of classifying one by one`() throws {
    let path = try data()
    let training = try Dataset(directory: path, part: .training)
    let test = try Dataset(directory: path, part: .test)
    let neighbors = try run(Settings(distance: .l2, k: [1, 7], validationExamples: 60, seed: 2), path)
    func accuracy(_ queries: ExampleTable, _ indices: [UInt32], _ candidates: [UInt32], k: Int) -> Double {
      let right = indices.filter { index in
        let query = queries.record(at: Int(index))
        let sorted = candidates.map { candidate -> (Int, UInt32) in
          let example = training.examples.record(at: Int(candidate))
          let squares = (1...768).reduce(0) {
            let difference = Int(query[$1]) - Int(example[$1])
            return $0 + difference * difference
          }
          return (squares, candidate)
        }.sorted { $0 < $1 }.prefix(k)
        let labels = sorted.map { training.examples.label(at: Int($0.1)) }
        let votes = (0..<3).map { label in labels.count { $0 == label } }
        return labels.first { votes[$0] == votes.max() } == queries.label(at: Int(index))
      }
      return Double(right.count) / Double(indices.count)
    }
    let split = DataSplit(exampleCount: 300, validation: 0..<60, shardCount: 16, seed: 2)
    for point in neighbors.curve {
      #expect(point.mean == accuracy(training.examples, split.validation, split.training, k: point.k))
      #expect(point.standardDeviation == nil)
    }
    let everything = Array(0..<UInt32(300))
    #expect(
      neighbors.testAccuracy == accuracy(test.examples, Array(0..<90), everything, k: neighbors.chosen))
  }

  @Test func `every example is in one fold`() throws {
    for (limit, folds) in [(nil, 7), (50, 5), (9, 9)] as [(Int?, Int)] {
      let plan = try NeighborsPlan(
        Settings(distance: .l1, k: [1], folds: folds, validationExamples: 0, seed: 3, limit: limit), exampleCount: 100)
      let count = limit ?? 100
      #expect(plan.trials.count == folds)
      #expect(plan.all.count == count)
      #expect(plan.trials.flatMap(\.queries).sorted() == plan.all.sorted())
      for trial in plan.trials {
        #expect((trial.queries + trial.examples).sorted() == plan.all.sorted())
        #expect(abs(trial.queries.count - count / folds) <= 1)
      }
    }
  }

  @Test func `the mean and the standard deviation of folds`() {
    // numpy.std([0.1, 0.2, 0.6], ddof=1)
    let accuracy = Neighbors.Accuracy(k: 1, folds: [0.1, 0.2, 0.6])
    #expect(abs(accuracy.mean - 0.3) < 1e-15)
    #expect(abs((accuracy.standardDeviation ?? 0) - 0.264_575_131_106_459) < 1e-12)
  }

  @Test func `what cannot be compared is refused`() throws {
    func refused(_ settings: Settings) -> Failure? {
      do {
        _ = try NeighborsPlan(settings, exampleCount: 100)
        return nil
      } catch { return error }
    }
    let many = refused(Settings(distance: .l1, k: [1, 91], validationExamples: 10, seed: 1))
    #expect(many?.status == .usage && many?.message.contains("at most 90") == true)
    #expect(refused(Settings(distance: .l1, k: [90], validationExamples: 10, seed: 1)) == nil)
    #expect(refused(Settings(distance: .l1, k: [1], validationExamples: 0, seed: 1))?.status == .usage)
    #expect(refused(Settings(distance: .l1, k: [1], validationExamples: 100, seed: 1))?.status == .usage)
    #expect(refused(Settings(distance: .l1, k: [1], folds: 101, validationExamples: 0, seed: 1))?.status == .usage)
    #expect(
      refused(Settings(distance: .l1, k: [1], folds: 5, validationExamples: 0, seed: 1, limit: 4))?.status == .usage)
  }

  @Test(arguments: KernelVariant.supported)
  func `the result is the same with every instruction set`(variant: KernelVariant) throws {
    let path = try data()
    for folds in [nil, 3] {
      let settings = Settings(
        distance: .l2, k: [1, 2, 9], folds: folds, validationExamples: 60, seed: 4, limit: 200)
      let portable = try run(settings, path, kernel: .portable)
      #expect(try run(settings, path, kernel: variant).json.compactText == portable.json.compactText)
      #expect(portable.json.compactText.contains("\"k\":\(portable.chosen)"))
    }
  }

  // MARK: Pictures

  @Test func `the picture has the curve, rows of neighbours, and variants at equal distance`() throws {
    let neighbors = try run(
      Settings(distance: .l1, k: [1, 3], folds: 3, validationExamples: 0, seed: 4), data())
    let panels = neighbors.figure.panels
    #expect(panels.count == 3)
    guard case .chart(let chart) = panels[0], case .tiles(let rows) = panels[1], case .tiles(let variants) = panels[2]
    else {
      Issue.record("other panels")
      return
    }
    #expect(chart.series.map { $0.points.count } == [6, 2, 1])
    #expect(chart.series[1].points.allSatisfy { ($0.error ?? 0) > 0 })
    #expect(rows.columns == 8 && rows.tiles.count == 64)
    // The frame of a neighbour says whether it is of the class of the test image.
    for (index, tile) in rows.tiles.enumerated() where index % 8 > 0 {
      #expect((tile.frame == .good) == (tile.caption == rows.tiles[index / 8 * 8].caption))
    }
    #expect(variants.tiles.map { String($0.caption.prefix(7)) } == ["origina", "shifted", "tinted:", "boxed: "])
    #expect(Set(variants.tiles.map(\.image.pixels)).count == 4)
  }

  @Test(
    arguments: [
      InputShape(width: 32, height: 32, channels: 3), InputShape(width: 28, height: 28, channels: 1),
      InputShape(width: 9, height: 5, channels: 3),
    ])
  func `shifted, tinted and boxed pictures are equally far from the original`(shape: InputShape) throws {
    let dataset = try Dataset(directory: data(shape), part: .test)
    for index in 0..<10 {
      let found = try #require(EqualDistance(of: index, in: dataset))
      let original = try #require(dataset.picture(at: index))
      #expect(found.original == original)
      let aim = found.variants[0].squaredDistance
      for variant in found.variants {
        // A grey picture has each byte three times.
        let copies = shape.channels == 1 ? 3 : 1
        let distance = zip(variant.image.pixels, original.pixels).reduce(0) {
          let difference = Int($1.0) - Int($1.1)
          return $0 + difference * difference
        }
        #expect(distance == copies * variant.squaredDistance)
        #expect(abs(variant.squaredDistance - aim) <= aim / 100, "\(variant.name)")
      }
    }
  }

  @Test func `points in the plane have a curve and no pictures`() throws {
    let path = directory.path + "/plane"
    try SyntheticDataset.write(to: path, .points(.ring), trainingExamples: 300, testExamples: 90, seed: 5)
    let neighbors = try run(Settings(distance: .l2, k: [1, 5], validationExamples: 30, seed: 1), path)
    #expect(neighbors.figure.panels.count == 1)
    #expect(neighbors.json.compactText.contains("\"equal_distance\":null"))
    // No line separates a ring; its neighbours do.
    #expect(neighbors.testAccuracy > 0.9)
  }
}
