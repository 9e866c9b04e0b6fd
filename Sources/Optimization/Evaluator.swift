import CKernels

/// Loss, accuracy and probabilities of a model on given examples. Owns the memory it works in. Not thread safe; may be
/// moved between threads.
public final class Evaluator {
  private let shape: ModelShape
  private let loss: Loss
  private let examples: ExampleTable
  private let workspace: KernelWorkspace
  private let variant: KernelVariant

  /// - Parameter meanImage: [D], in pixel units.
  public init(
    shape: ModelShape, loss: Loss, examples: ExampleTable, meanImage: [Float], variant: KernelVariant = .selected
  ) {
    self.shape = shape
    self.loss = loss
    self.examples = examples
    self.variant = variant
    workspace = KernelWorkspace(shape: shape, meanImage: meanImage, capacity: 0, variant: variant)
  }

  /// Data loss, without the penalty, and confusion over the examples at `indices`.
  /// - Parameter parameters: [parameterCount].
  public func evaluate(parameters: UnsafePointer<Float>, indices: [UInt32]) -> Evaluation {
    let records: [UnsafePointer<UInt8>?] = indices.map { examples.record(at: Int($0)) }
    var statistics = descent_statistics()
    var confusion = [Int64](repeating: 0, count: shape.classes * shape.classes)
    descent_evaluate(
      workspace.pointer, parameters, records, records.count, loss.kernelLoss, &confusion, &statistics)
    return Evaluation(
      examples: indices.count, lossSum: statistics.loss_sum, correct: Int(statistics.correct),
      confusion: confusion.map(Int.init), isFinite: statistics.is_finite)
  }

  /// Scores of one example, [K].
  /// - Parameter record: a label byte, which is not read, then the pixel bytes.
  public func scores(parameters: UnsafePointer<Float>, record: UnsafePointer<UInt8>) -> [Float] {
    let records: [UnsafePointer<UInt8>?] = [record]
    return [Float](unsafeUninitializedCapacity: shape.classes) { scores, count in
      descent_scores(workspace.pointer, parameters, records, 1, scores.baseAddress)
      count = shape.classes
    }
  }

  /// Softmax of the scores of one example, [K]. A hinge model was not trained to give probabilities: of its numbers only
  /// the order means something.
  /// - Parameter record: a label byte, which is not read, then the pixel bytes.
  public func probabilities(parameters: UnsafePointer<Float>, record: UnsafePointer<UInt8>) -> [Float] {
    let scores = scores(parameters: parameters, record: record)
    return [Float](unsafeUninitializedCapacity: shape.classes) { probabilities, count in
      descent_softmax(variant.kernel, scores, 1, probabilities.baseAddress)
      count = shape.classes
    }
  }
}
