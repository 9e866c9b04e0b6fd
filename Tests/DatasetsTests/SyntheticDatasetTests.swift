import Datasets
import Diagnostics
import Foundation
import Optimization
import TestSupport
import Testing

@Suite struct `The synthetic set` {
  let directory: TemporaryDirectory

  init() throws {
    directory = TemporaryDirectory()
  }

  @Test func `has the same bytes everywhere and always`() throws {
    try SyntheticDataset.write(to: directory.path, trainingExamples: 103, testExamples: 20, seed: 1)
    let digests = try ["data_batch_1.bin", "data_batch_5.bin", "test_batch.bin"].map {
      try sha256(ofFile: directory.path + "/" + $0)
    }
    #expect(
      digests == [
        "4c1dd473e5d2ac37ec88101a4d67dbb4d948724a75c5a0791784cc619b8c30f8",
        "25aa557df7e0daf83aa56a03d0b472a674a67fd40fb91dedad0a6a37c1378c8b",
        "604d46e6923c3aa1c07dec03756bf381f9519cbf2b592d90e71c4a96d6a78a8b",
      ])
  }

  @Test func `has the same bytes where a file is written in several pieces`() throws {
    try SyntheticDataset.write(to: directory.path, trainingExamples: 5, testExamples: 6000, seed: 1)
    #expect(
      try sha256(ofFile: directory.path + "/test_batch.bin")
        == "0c7cdef87f68d85a42bd5fdaf3b12f59b635bc0e54201d16b82267d7744f0680")
  }

  @Test func `another seed gives other images`() throws {
    let parts = try [UInt64(1), 2].map { seed in
      let path = "\(directory.path)/\(seed)"
      try SyntheticDataset.write(to: path, trainingExamples: 10, testExamples: 10, seed: seed)
      return try Dataset(directory: path, part: .test)
    }
    #expect(parts[0].fingerprint != parts[1].fingerprint)
  }

  @Test func `looks like CIFAR-10 and says that it is not`() throws {
    try SyntheticDataset.write(to: directory.path + "/a/b", trainingExamples: 103, testExamples: 20)
    let training = try Dataset(directory: directory.path + "/a/b", part: .training)
    #expect(training.files.map(\.name) == (1...5).map { "data_batch_\($0).bin" })
    #expect(training.files.map(\.recordCount) == [20, 21, 20, 21, 21])
    #expect(training.classNames == CIFAR10Format.classNames)
    #expect(training.isSynthetic && !training.looksOfficial)
    #expect(training.classHistogram().allSatisfy { (10...11).contains($0) })
    let marker = try contents(of: directory.path + "/a/b/SYNTHETIC.txt")
    #expect(String(decoding: marker, as: UTF8.self).hasPrefix("These files are not CIFAR-10."))
    let names = try FileManager.default.contentsOfDirectory(atPath: directory.path + "/a/b")
    #expect(names.count == 8, "nothing is left of the staging area: \(names)")
  }

  @Test func `never overwrites data`() throws {
    try directory.write(records(labels: [1]), to: "data_batch_7.bin")
    let failure = #expect(throws: Failure.self) { try SyntheticDataset.write(to: directory.path) }
    #expect(failure?.status == .cannotCreate)
    #expect(failure?.message == "\(directory.path) already holds data_batch_7.bin: data are never overwritten")
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["data_batch_7.bin"])
  }

  @Test func `a place that cannot be written and sizes out of range are refused`() throws {
    let file = try directory.write([], to: "file")
    let failure = #expect(throws: Failure.self) { try SyntheticDataset.write(to: file + "/set") }
    #expect(failure?.status == .cannotCreate)
    for size in [0, -1, SyntheticDataset.maximumExamples + 1] {
      let failure = #expect(throws: Failure.self) {
        try SyntheticDataset.write(to: directory.path, trainingExamples: size)
      }
      #expect(failure?.status == .usage)
    }
  }

  @Test func `a linear classifier learns it, but not all of it`() throws {
    let (trainingExamples, testExamples) = (10_000, 2000)
    try SyntheticDataset.write(
      to: directory.path, trainingExamples: trainingExamples, testExamples: testExamples)
    let training = try Dataset(directory: directory.path, part: .training)
    let test = try Dataset(directory: directory.path, part: .test)
    let mean = training.mean(.meanImage, over: Array(0..<UInt32(trainingExamples)))
    let steps: UInt64 = 400
    let plan = TrainingPlan(exampleCount: trainingExamples, batchSize: 256, shardCount: 16, totalSteps: steps) {
      $0.l2 = 1e-4
      $0.seed = 0
      $0.initialStandardDeviation = 0.001
      $0.learningRate.base = 0.1
      $0.learningRate.schedule = .cosine
    }
    try plan.validate()
    var trainer = SequentialTrainer(
      plan: plan, examples: training.examples, meanImage: mean, state: TrainingState(plan: plan), kernel: .best)
    for _ in 0..<steps { _ = trainer.step() }

    let evaluator = Evaluator(
      shape: .cifar10, loss: .softmaxCrossEntropy, examples: test.examples, meanImage: mean, kernel: .best)
    let evaluation = trainer.state.parameters.withUnsafePointer {
      evaluator.evaluate(parameters: $0, indices: Array(0..<UInt32(testExamples)))
    }
    #expect((0.6...0.8).contains(evaluation.score.accuracy), "test accuracy \(evaluation.score.accuracy)")
  }
}
