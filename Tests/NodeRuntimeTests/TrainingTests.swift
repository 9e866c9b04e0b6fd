import Checkpoints
import Cluster
import Diagnostics
import Dispatch
import FoundationEssentials
import Glibc
import Messaging
import NodeRuntime
import Optimization
import Reporting
import Synchronization
import TestSupport
import Testing

@Suite struct TrainingTests {
  /// Sequentially and with workers, from an empty directory.
  private func weights(_ workers: Int, _ changes: [String: String] = [:]) throws -> String {
    let directory = TemporaryDirectory()
    let settings = try settings(directory.path + "/run", changes.merging(["workers": "\(workers)"]) { $1 })
    let ending =
      workers == 0
      ? try runSequentially(quiet(settings)) : try trainWithWorkers(settings)
    #expect(ending.status == .success, "\(ending.reason)")
    return ending.result.weightsSHA256
  }

  @Test(arguments: [
    ["loss": "softmax"], ["loss": "svm", "momentum": "0.9"],
    ["loss": "softmax", "momentum": "0.9", "momentum-kind": "nesterov", "transport": "tcp"],
    ["loss": "squared-hinge", "optimizer": "adamw", "l1": "0.0001", "max-norm": "0.5"],
  ])
  func `any number of workers ends with the bits of the sequential trainer`(changes: [String: String]) throws {
    let sequential = try weights(0, changes)
    #expect(try weights(1, changes) == sequential)
    #expect(try weights(2, changes) == sequential)
    #expect(try weights(3, changes) == sequential)
  }

  @Test(arguments: [
    (0, 2, ["momentum": "0.9"]), (2, 0, ["optimizer": "adam"]), (1, 3, ["optimizer": "rmsprop", "max-norm": "0.5"]),
  ])
  func `a run that was interrupted ends with the bits of one that was not`(
    before: Int, after: Int, changes: [String: String]
  ) throws {
    let directory = TemporaryDirectory()
    let path = directory.path + "/run"
    func train(_ workers: Int, _ others: [String: String]) throws -> RunEnding {
      let settings = try settings(path, changes.merging(others) { $1 }.merging(["workers": "\(workers)"]) { $1 })
      return workers == 0
        ? try runSequentially(quiet(settings))
        : try trainWithWorkers(settings)
    }
    let first = try train(before, ["max-steps": "13"])
    let resumed = try train(after, ["resume": "must"])
    let result = resumed.result
    #expect(try result.weightsSHA256 == weights(0, changes))
    #expect(result.run == first.result.run)
    #expect(result.examples == 64 * result.steps)
  }

  @Test(arguments: [0, 2])
  func `the run directory holds what the result says`(workers: Int) throws {
    let directory = TemporaryDirectory()
    let path = directory.path + "/run"
    let settings = try settings(path, ["workers": "\(workers)"])
    let ending =
      workers == 0
      ? try runSequentially(quiet(settings)) : try trainWithWorkers(settings)
    let result = ending.result
    let stored = try CheckpointStore.load(path)
    #expect(stored.path == result.checkpoint)
    #expect(stored.checkpoint.step == result.steps)
    #expect(stored.checkpoint.run.validation?.accuracy == result.validationAccuracy)
    let json = try String(contentsOfFile: path + "/result.json", encoding: .utf8)
    #expect(try RunResult(json: json, source: "result.json") == result)
    let metrics = try String(contentsOfFile: path + "/metrics.jsonl", encoding: .utf8).split(separator: "\n")
    // Before the first step, every ten steps, and at the end.
    #expect(metrics.count == 1 + Int((result.steps + 9) / 10))
    #expect(metrics.first?.hasPrefix("{\"step\":0,") == true)
    let lines = try WorkersRecord.all(in: path + "/workers.jsonl")
    #expect(lines.count == metrics.count && lines.allSatisfy { $0.members.count == workers || $0.step == 0 })
    #expect(lines.last?.step == result.steps && lines.last?.staleness == result.staleness)
    #expect(lines.last?.members.map(\.shards) == (workers == 0 ? [] : ["0-7", "8-15"]))
    let best = try CheckpointStore.load(path + "@best").checkpoint
    #expect(best.step == result.bestStep && best.run.validation?.meanLoss == result.bestValidationDataLoss)
    #expect(result.testStep == result.steps && result.testAccuracy != nil && result.synthetic)
    #expect(try RunFile(readingFrom: path + "/run.json").status == .finished)
    let names = try FileManager.default.contentsOfDirectory(atPath: path)
    #expect(!names.contains("coordinator.endpoint"))
    #expect(try !FileManager.default.contentsOfDirectory(atPath: "/tmp").contains("descent-\(result.run)"))
  }

  @Test(arguments: [0, 2])
  func `a stopping criterion ends every process`(workers: Int) throws {
    let directory = TemporaryDirectory()
    let settings = try settings(
      directory.path + "/run", ["workers": "\(workers)", "target-accuracy": "0.01", "epochs": "1000"])
    let ending =
      workers == 0
      ? try runSequentially(quiet(settings)) : try trainWithWorkers(settings)
    #expect(ending.status == .success)
    #expect(ending.result.stopReason == .targetAccuracy)
    #expect(ending.result.steps == 10)
  }

  /// The sanity checks of CS231n's notes.
  @Test(arguments: [(0, "softmax", 2.303), (2, "softmax", 2.303), (0, "svm", 9)])
  func `before the first step the loss is ln 10 or 9, and a larger penalty raises the objective`(
    workers: Int, loss: String, expected: Double
  ) throws {
    var objectives: [Double] = []
    for l2 in ["0.001", "10"] {
      let directory = TemporaryDirectory()
      let settings = try settings(
        directory.path + "/run", ["workers": "\(workers)", "loss": loss, "l2": l2, "max-steps": "1"])
      _ = workers == 0 ? try runSequentially(quiet(settings)) : try trainWithWorkers(settings)
      let text = try String(contentsOfFile: directory.path + "/run/metrics.jsonl", encoding: .utf8)
      let rows = try text.split(separator: "\n").map { try JSONFields(parsing: Array($0.utf8), source: "metrics") }
      #expect(try rows.map { try $0["step"] as UInt64 } == [0, 1])
      let dataLoss: Double = try rows[0]["validation_data_loss"]
      #expect(abs(dataLoss - expected) < 0.01 * expected)
      #expect(try rows[0]["train_data_loss"] as Double? == nil && rows[1]["train_data_loss"] as Double? != nil)
      #expect(try rows[1]["images_per_second"] as Double? == nil)
      objectives.append(try rows[0]["validation_objective"])
    }
    // σ² of 30,720 weights, times λ.
    #expect(abs(objectives[1] - objectives[0] - 30_720 * 1e-6 * 9.999) < 0.02)
  }

  @Test(arguments: [0, 2])
  func `a stop because of patience evaluates the best model on the test split, which never leaves out`(
    workers: Int
  ) throws {
    for (test, evaluates) in [("end", true), ("never", false)] {
      let directory = TemporaryDirectory()
      // So high that the loss rises.
      let settings = try settings(
        directory.path + "/run",
        [
          "workers": "\(workers)", "patience": "3", "learning-rate": "2", "epochs": "100", "schedule": "constant",
          "test": test,
        ])
      let ending = workers == 0 ? try runSequentially(quiet(settings)) : try trainWithWorkers(settings)
      let (result, best) = (ending.result, try CheckpointStore.load(directory.path + "/run@best").checkpoint)
      #expect(result.stopReason == .converged && ending.status == .success)
      #expect(ending.reason == "early stop: no improvement in 3 evaluations (best: step \(best.step))")
      #expect(best.step < result.steps && result.bestStep == best.step)
      #expect(result.testStep == (evaluates ? best.step : nil) && (result.testAccuracy != nil) == evaluates)
      #expect(result.text.contains("(best model, step \(best.step); synthetic data)") == evaluates)
    }
  }

  /// So long that the other thread of the worker takes over the talking. What the first one has computed with must not
  /// stay with it, for the memory that it came in has four places, and the server would wait for ever for one to be free.
  /// Not at the first step: its weights may have come through the socket.
  @Test(arguments: ["memory", "ipc"])
  func `a gradient that took long holds nothing up later`(transport: String) throws {
    let directory = TemporaryDirectory()
    let settings = try settings(directory.path + "/run", ["workers": "1", "transport": transport])
    let ending = try trainWithWorkers(settings) {
      ZeroGradients(plan: $0) { step in if step == 2 { usleep(200_000) } }
    }
    #expect(ending.status == .success, "\(ending.reason)")
    #expect(ending.result.steps > 8)
  }

  /// What a worker says last is on its way when it ends, whatever its other thread still holds: a process that ends with
  /// libzmq at work takes with it what has not left.
  @Test func `a worker ends with nothing left to send although it still computes`() throws {
    let directory = TemporaryDirectory()
    let release = DispatchSemaphore(value: 0)
    defer { release.signal() }
    let hasStuck = Mutex(false)
    let settings = try settings(
      directory.path + "/run", ["workers": "2", "transport": "ipc", "consistency": "bsp:backup=8"])
    let ending = try trainWithWorkers(settings) { plan in
      let isFirst = hasStuck.withLock { hasStuck in
        defer { hasStuck = true }
        return !hasStuck
      }
      return ZeroGradients(plan: plan) { _ in if isFirst { release.wait() } }
    }
    #expect(ending.status == .success, "\(ending.reason)")
    // Those of the coordinator and of other tests end by themselves.
    try waitUntil("all of libzmq's threads have ended", seconds: 20) { try messagingThreads() == 0 }
  }
}

/// libzmq's threads in this process.
private func messagingThreads() throws -> Int {
  try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").count {
    // A thread may end meanwhile.
    (try? String(contentsOfFile: "/proc/self/task/\($0)/comm", encoding: .utf8))?.hasPrefix("ZMQbg") ?? false
  }
}

/// Gradients of zeros, each after `pause` at its step.
private final class ZeroGradients: GradientBackend {
  private let plan: TrainingPlan
  private let pause: (UInt64) -> Void

  init(plan: TrainingPlan, pause: @escaping (UInt64) -> Void) {
    self.plan = plan
    self.pause = pause
  }

  func gradient(
    parameters: UnsafePointer<Float>, step: UInt64, shards: ShardSet, scale: FixedPointScale,
    into sum: UnsafeMutablePointer<Int32>
  ) -> MinibatchStatistics {
    pause(step)
    sum.update(repeating: 0, count: plan.shape.parameterCount)
    return MinibatchStatistics(
      examples: shards.count * plan.examplesPerShard, lossSum: 1, correct: 0, isFinite: true)
  }
}
