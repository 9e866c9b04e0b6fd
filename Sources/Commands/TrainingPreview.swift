import Diagnostics
import Messaging
import NodeRuntime
import Optimization

/// What `descent train --dry-run` prints: the run as it would be.
struct TrainingPreview {
  private let rehearsal: Rehearsal

  init(_ rehearsal: Rehearsal) { self.rehearsal = rehearsal }

  private var plan: TrainingPlan { rehearsal.job.plan }
  private var parameterBytes: Int { plan.shape.parameterCount * MemoryLayout<Float>.size }
  private var stateBytes: Int { OptimizerState.byteCount(plan) }
  private var meanImageBytes: Int { plan.shape.pixels * MemoryLayout<Float>.size }
  private var trainingExamples: Int { plan.exampleCount - plan.validationCount }
  private var workers: Int { rehearsal.job.settings.workers }
  /// Settings that cannot act.
  var warnings: [String] { rehearsal.job.settings.withoutEffect(in: plan) }
  private var bytesPerStep: Int { 2 * parameterBytes * workers }

  /// The shards of each worker at the start.
  private var shards: [ShardSet] {
    (0..<workers).map { rank in
      ShardSet(range: rank * plan.shardCount / workers..<(rank + 1) * plan.shardCount / workers)
    }
  }

  var text: String {
    let start = rehearsal.start
    let source = start.checkpoint ?? start.weights.map { "the weights of \($0.phrase)" }
    var lines = [
      rehearsal.job.settings.listing,
      "start                step \(start.state.step)" + (source.map { ", from \($0)" } ?? ""),
      "model                \(plan.shape), \(plan.shape.parameterCount) parameters",
      "training examples    \(trainingExamples) in \(plan.shardCount) shards, \(plan.validationCount) for validation",
      "steps                \(plan.totalSteps), \(plan.stepsPerEpoch) per epoch, "
        + "\(plan.examplesPerShard) examples of each shard per step",
      "checkpoint           \(stateBytes) bytes of parameters and optimizer state, \(meanImageBytes) of mean image",
    ]
    if workers > 0 {
      lines.append("bytes per step       \(bytesPerStep) between \(workers) workers and the server")
      lines += shards.enumerated().map { "worker \($0.offset)             shards \($0.element)" }
    }
    return lines.joined(separator: "\n") + "\n"
  }

  /// One JSON object.
  var json: String {
    let start = rehearsal.start
    let value: JSONValue = [
      "run_directory": JSONValue(reflecting: rehearsal.directory as Any),
      "start": [
        "step": .number(start.state.step), "checkpoint": JSONValue(reflecting: start.checkpoint as Any),
        "weights": JSONValue(reflecting: start.weights as Any),
      ],
      "model": .string(plan.shape.description), "parameters": .number(plan.shape.parameterCount),
      "steps": .number(plan.totalSteps), "steps_per_epoch": .number(plan.stepsPerEpoch),
      "training_examples": .number(trainingExamples), "validation_examples": .number(plan.validationCount),
      "shards": .number(plan.shardCount), "examples_per_shard": .number(plan.examplesPerShard),
      "checkpoint_bytes": .number(stateBytes + meanImageBytes), "bytes_per_step": .number(bytesPerStep),
      "worker_shards": .strings(shards.map { "\($0)" }),
      "warnings": .strings(warnings), "settings": rehearsal.job.settings.jsonValue,
    ]
    return value.indentedText
  }
}
