import CKernels

/// Loss, accuracy and probabilities of a model on given examples. Owns the memory it works in. Not thread safe; may be
/// moved between threads.
public final class Evaluator {
  private let shape: ModelShape
  private let loss: Loss
  private let margin: Float
  private let examples: ExampleTable
  private let workspace: KernelWorkspace

  /// How many examples are evaluated between two pauses: some tens of microseconds for the linear classifier of CIFAR-10, two
  /// milliseconds for one with 1,024 hidden units.
  private let examplesAtATime: Int

  /// - Parameters:
  ///   - margin: Δ of the hinge losses.
  ///   - examples: of the shape.
  ///   - meanImage: [D], in pixel units.
  public init(
    shape: ModelShape, loss: Loss, margin: Float = 1, examples: ExampleTable, meanImage: [Float], kernel: KernelVariant
  ) {
    self.shape = shape
    self.loss = loss
    self.margin = margin
    self.examples = examples
    examplesAtATime = max(32, min(128, 4_000_000 / shape.parameterCount))
    workspace = KernelWorkspace(shape: shape, meanImage: meanImage, capacity: examplesAtATime, kernel: kernel)
  }

  /// Data loss, without the penalty, and confusion over the examples at `indices`.
  /// - Parameters:
  ///   - parameters: [parameterCount].
  ///   - pause: called between parts of the work, for a thread that wants to let others go first.
  public func evaluate(
    parameters: UnsafePointer<Float>, indices: [UInt32], pause: () -> Void = {}
  ) -> Evaluation {
    let records: [UnsafePointer<UInt8>?] = indices.map { examples.record(at: Int($0)) }
    var confusion = [Int64](repeating: 0, count: shape.classes * shape.classes)
    var total = MinibatchStatistics.zero
    for start in stride(from: 0, to: records.count, by: examplesAtATime) {
      if start > 0 { pause() }
      var statistics = descent_statistics()
      let part = records[start..<min(start + examplesAtATime, records.count)]
      part.withUnsafeBufferPointer { part in
        // Without parameters, those of the part before.
        workspace.kernel.pointee.evaluate(
          workspace.pointer, start == 0 ? parameters : nil, part.baseAddress, part.count, loss.kernelLoss, margin,
          &confusion, &statistics)
      }
      total += MinibatchStatistics(examples: part.count, statistics)
    }
    return Evaluation(total, confusion: confusion.map(Int.init))
  }

  /// Scores of one example, [K].
  /// - Parameter record: a label byte, which is not read, then the pixel bytes.
  public func scores(parameters: UnsafePointer<Float>, record: UnsafePointer<UInt8>) -> [Float] {
    let records: [UnsafePointer<UInt8>?] = [record]
    return [Float](unsafeUninitializedCapacity: shape.classes) { scores, count in
      workspace.kernel.pointee.scores(workspace.pointer, parameters, records, 1, scores.baseAddress)
      count = shape.classes
    }
  }

  /// Scores of the examples at `indices`, [count, K].
  public func scores(parameters: UnsafePointer<Float>, indices: [UInt32]) -> [Float] {
    let records: [UnsafePointer<UInt8>?] = indices.map { examples.record(at: Int($0)) }
    return [Float](unsafeUninitializedCapacity: records.count * shape.classes) { scores, count in
      workspace.kernel.pointee.scores(workspace.pointer, parameters, records, records.count, scores.baseAddress)
      count = records.count * shape.classes
    }
  }

  /// Softmax of scores [count, K]: probabilities of a model whose loss predicts by it.
  public func probabilities(ofScores scores: [Float]) -> [Float] {
    [Float](unsafeUninitializedCapacity: scores.count) { probabilities, count in
      workspace.kernel.pointee.softmax(
        scores, scores.count / shape.classes, shape.classes, probabilities.baseAddress)
      count = scores.count
    }
  }

  /// Softmax of the scores of one example, [K]. A hinge model was not trained to give probabilities: of its numbers only
  /// the order means something.
  /// - Parameter record: a label byte, which is not read, then the pixel bytes.
  public func probabilities(parameters: UnsafePointer<Float>, record: UnsafePointer<UInt8>) -> [Float] {
    probabilities(ofScores: scores(parameters: parameters, record: record))
  }
}
