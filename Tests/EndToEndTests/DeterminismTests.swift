import Foundation
import TestSupport
import Testing

/// Promise 1: under `bsp` the bits of W depend on settings, seed and data alone.
@Suite("The same bits", .serialized)
struct DeterminismTests {
  @Test(arguments: [
    ["loss": "softmax"], ["loss": "svm"], ["loss": "softmax", "momentum": "0.9", "learning-rate": "0.01"],
    ["loss": "svm", "momentum": "0.9", "momentum-kind": "nesterov", "learning-rate": "0.001"],
    // Here the scale of the sums follows the gradients; the first weights are far from it.
    ["loss": "squared-hinge", "initial-standard-deviation": "0.05"],
    ["loss": "squared-error", "momentum": "0.9", "learning-rate": "0.0005"],
    ["loss": "logistic"], ["loss": "sigmoid-squared-error"],
    ["loss": "squared-hinge", "optimizer": "adam", "l1": "0.0001", "max-norm": "1"],
  ])
  func `0, 1, 2, 3 and 5 workers give the same weights`(settings: [String: String]) throws {
    let sequential = try Training(workers: 0, settings).result()
    #expect(sequential.steps == 300)
    for workers in [1, 2, 3, 5] {
      let result = try Training(workers: workers, settings).result()
      #expect(result.hash == sequential.hash, "\(workers) workers")
      for key in [
        "train_data_loss", "train_accuracy", "penalty", "validation_data_loss", "validation_accuracy", "best_step",
        "best_validation_data_loss", "test_step", "test_data_loss", "test_accuracy",
      ] {
        let (found, expected) = (try #require(result.object[key]), try #require(sequential.object[key]))
        #expect("\(found)" == "\(expected)", "\(key), \(workers) workers")
      }
    }
  }

  @Test
  func `memory, ipc and tcp give the same weights`() throws {
    let memory = try Training(["transport": "memory"]).result()
    let ipc = try Training(["transport": "ipc"]).result()
    let tcp = try Training(["transport": "tcp"]).result()
    #expect(memory.hash == tcp.hash)
    #expect(ipc.hash == tcp.hash)
  }

  @Test(arguments: ["softmax", "squared-hinge"])
  func `every kernel the machine has gives the same weights`(loss: String) throws {
    var training = Training(workers: 0, ["max-steps": "20", "loss": loss])
    let chosen = try training.result()
    var tried = 0
    for kernel in ["portable", "avx2", "avx512"] {
      training.environment = ["DESCENT_KERNEL": kernel]
      let output = try TemporaryDirectory.with { try training.start(in: $0.appendingPathComponent("run")).wait() }
      // A machine without the instructions says so; the portable kernel runs anywhere.
      guard output.status != 78 || kernel == "portable" else { continue }
      #expect(try TrainingResult(output).hash == chosen.hash, "\(kernel)")
      tried += 1
    }
    #expect(tried >= 1)
  }

  @Test
  func `another seed gives other weights`() throws {
    let first = try Training(workers: 0).result()
    let second = try Training(workers: 0, ["seed": "6"]).result()
    #expect(first.hash != second.hash)
  }

  @Test(arguments: [
    ("target-accuracy", ["target-accuracy": "0.3"]),
    ("converged", ["patience": "2", "tolerance": "0.05"]),
    ("gradient-norm", ["gradient-norm": "0.9"]),
  ])
  func `a decision to stop falls at the same step, whichever worker was quick`(
    reason: String, criterion: [String: String]
  ) throws {
    let settings = criterion.merging(["evaluate-every": "20", "max-steps": "3000"]) { $1 }
    let sequential = try Training(workers: 0, settings).result()
    #expect(sequential.stopReason == reason)
    #expect(sequential.steps < 3000 && sequential.steps % 20 == 0)
    for workers in [1, 3] {
      let result = try Training(workers: workers, settings).result()
      #expect(result.stopReason == reason)
      #expect(result.steps == sequential.steps)
      #expect(result.hash == sequential.hash)
      for key in ["best_step", "test_step", "test_data_loss"] {
        let (found, expected) = (try #require(result.object[key]), try #require(sequential.object[key]))
        #expect("\(found)" == "\(expected)", "\(key)")
      }
    }
    let tested = reason == "converged" ? "best_step" : "steps"
    #expect(sequential.object["test_step"] as? Int == sequential.object[tested] as? Int)
  }
}

/// The other consistency models keep what they promise, though not the bits.
@Suite("Consistency models", .serialized)
struct ConsistencyTests {
  @Test
  func `ssp:4 never observes a staleness above 4`() throws {
    let result = try Training(workers: 4, ["consistency": "ssp:4", "max-steps": "1000"]).result()
    #expect(result.steps == 1000)
    #expect(result.staleness.dropFirst(5).allSatisfy { $0 == 0 })
    #expect(result.staleness.reduce(0, +) > 0)
  }

  @Test
  func `bsp observes no staleness, asp ends at its last step and bsp:backup drops only late shards`() throws {
    let synchronous = try Training(workers: 3).result()
    #expect(synchronous.staleness.dropFirst().allSatisfy { $0 == 0 })
    let asynchronous = try Training(workers: 4, ["consistency": "asp"]).result()
    #expect(asynchronous.steps == 300)
    #expect(asynchronous.object["examples"] as? Int == 300 * 64)
    let backup = try Training(workers: 4, ["consistency": "bsp:backup=4"]).result()
    #expect(backup.steps == 300)
    let examples = try #require(backup.object["examples"] as? Int)
    #expect(examples >= 300 * 48 && examples <= 300 * 64)
  }

  @Test(.enabled(if: RealData.directory != nil, "DESCENT_DATA is not set"))
  func `asp and ssp:4 reach within 1.5 points of bsp with 4 workers on CIFAR-10`() throws {
    let settings = [
      "data": try #require(RealData.directory), "batch-size": "512", "validation-examples": "5000", "epochs": "12",
      "max-steps": "0", "evaluate-every": "200", "checkpoint-every": "0",
    ]
    let synchronous = try Training(workers: 4, settings).result().testAccuracy
    #expect(synchronous > 0.40)
    for consistency in ["asp", "ssp:4"] {
      let accuracy = try Training(workers: 4, settings.merging(["consistency": consistency]) { $1 }).result()
        .testAccuracy
      #expect(abs(accuracy - synchronous) <= 0.015, "\(consistency): \(accuracy), bsp: \(synchronous)")
    }
  }
}
