import CKernels
import Optimization
import Reporting

// The examples of "Linear Classification".

extension LectureExample {
  /// Scores of three images for cat, car and frog; image i has the label i.
  private static let slideScores = [[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]]

  // MARK: Scores

  /// s = W x + b of a linear model, by the trainer that is the oracle of the kernels.
  private static func referenceScores(_ weights: [[Double]], _ biases: [Double], _ x: [Double]) -> [Double] {
    let plan = TrainingPlan(exampleCount: 1, batchSize: 1, shardCount: 1, totalSteps: 1) {
      $0.shape = ModelShape(classes: weights.count, pixels: x.count)
    }
    let w = weights.flatMap(\.self) + biases
    return ReferenceTrainer(plan: plan, w: w).scores(of: x, at: w)
  }

  /// The same of pixel bytes by the kernel, whose input is (pixel − mean) / 127.5: the weights make up for the divisor.
  private static func kernelScores(
    _ weights: [[Double]], _ biases: [Double], _ pixels: [UInt8], _ kernel: KernelVariant
  ) -> [Double] {
    let scaled = weights.flatMap(\.self).map { Float($0) * ExampleTable.pixelScale }
    let table = ExampleTable(copying: [0] + pixels, recordByteCount: 1 + pixels.count, classes: weights.count)
    let evaluator = Evaluator(
      shape: ModelShape(classes: weights.count, pixels: pixels.count), loss: .softmaxCrossEntropy, examples: table,
      meanImage: [Float](repeating: 0, count: pixels.count), kernel: kernel)
    return ParameterVector(scaled + biases.map { Float($0) }).withUnsafePointer {
      evaluator.scores(parameters: $0, record: table.record(at: 0)).map(Double.init)
    }
  }

  static func scores(_ kernel: KernelVariant) -> [LectureExample] {
    let weights = [[0.2, -0.5, 0.1, 2.0], [1.5, 1.3, 2.1, 0.0], [0, 0.25, 0.2, -0.3]]
    let (biases, pixels) = ([1.1, 3.2, -1.2], [56, 231, 24, 2] as [UInt8])
    let x = pixels.map(Double.init)
    let extended = zip(weights, biases).map { $0 + [$1] }
    let second = [[0.01, -0.05, 0.1, 0.05], [0.7, 0.2, 0.05, 0.16], [0, -0.45, -0.2, 0.03]]
    let scores = referenceScores(weights, biases, x)
    let ship = Display.decimal(scores[2], places: 2)
    return [
      LectureExample(
        .linearClassification, "cat-scores", "W x + b of the 2 x 2 cat image (56, 231, 24, 2): cat and dog",
        printed: "-96.8 437.9", found: Array(scores[..<2]), by: "ReferenceTrainer.scores"),
      LectureExample(
        .linearClassification, "cat-ship-row", "the score that the lecture prints for the ship: its row of W x",
        printed: "61.95", found: [referenceScores(weights, [0, 0, 0], x)[2]], by: "ReferenceTrainer.scores",
        note: "the bias of -1.2 is left out there: with it, as for cat and dog, the score is \(ship)"),
      LectureExample(
        .linearClassification, "cat-scores-bias-trick",
        "cat and dog by the bias trick: b is a column of W, and x ends with a 1", printed: "-96.8 437.9",
        found: Array(referenceScores(extended, [0, 0, 0], x + [1])[..<2]), by: "ReferenceTrainer.scores"),
      LectureExample(
        .linearClassification, "cat-scores-kernel", "cat and dog by the kernel, from bytes", printed: "-96.8 437.9",
        found: Array(kernelScores(weights, biases, pixels, kernel)[..<2]), by: "Evaluator.scores (kernel)"),
      LectureExample(
        .linearClassification, "second-matrix-scores",
        "W x + b of the matrix with which the notes compare SVM and softmax, x = (-15, 22, -44, 56)",
        printed: "-2.85 0.86 0.28", found: referenceScores(second, [0, 0.2, -0.3], [-15, 22, -44, 56]),
        by: "ReferenceTrainer.scores"),
      LectureExample(
        .linearClassification, "second-matrix-losses", "their SVM and softmax losses, the label being the third class",
        printed: "1.58 1.04",
        found: [Loss.hinge, .softmaxCrossEntropy].map { loss in
          loss(scores: referenceScores(second, [0, 0.2, -0.3], [-15, 22, -44, 56]), label: 2).value
        }, by: "Loss.hinge, Loss.softmaxCrossEntropy"),
      LectureExample(
        .linearClassification, "linear-parameters", "parameters of the linear classifier of CIFAR-10, 10 x 3073",
        printed: "30730", found: [Double(ModelShape.cifar10.parameterCount)], by: "ModelShape.parameterCount"),
    ]
  }

  // MARK: Losses

  /// Of each example by itself, from the kernel.
  private static func kernelLosses(_ loss: Loss, _ scores: [[Double]], _ kernel: KernelVariant) -> [Double] {
    scores.enumerated().map { label, scores in
      var statistics = descent_statistics()
      var coefficients = [Float](repeating: 0, count: scores.count)
      kernel.functions.pointee.loss_gradient(
        loss.kernelLoss, 1, scores.count, scores.map { Float($0) }, [UInt8(label)], 1, &coefficients, &statistics)
      return Double(statistics.loss_sum) / Double(1 << MinibatchStatistics.lossFractionBits)
    }
  }

  private static func kernelSoftmax(_ scores: [Double], _ kernel: KernelVariant) -> [Double] {
    var probabilities = scores.map { Float($0) }
    let values = probabilities
    kernel.functions.pointee.softmax(values, 1, values.count, &probabilities)
    return probabilities.map(Double.init)
  }

  private static func withMean(_ losses: [Double]) -> [Double] {
    losses + [losses.reduce(0, +) / Double(losses.count)]
  }

  static func losses(_ kernel: KernelVariant) -> [LectureExample] {
    let cat = slideScores[0]
    let softmax = Loss.softmaxCrossEntropy(scores: cat, label: 0).value
    let doubled = slideScores[1].map { 2 * $0 }
    return [
      LectureExample(
        .linearClassification, "svm-losses", "multiclass SVM losses of the cat, the car and the frog, and their mean",
        printed: "2.9 0 12.9 5.27",
        found: withMean(slideScores.enumerated().map { Loss.hinge(scores: $1, label: $0).value }), by: "Loss.hinge"),
      LectureExample(
        .linearClassification, "svm-losses-kernel", "the same by the kernel", printed: "2.9 0 12.9 5.27",
        found: withMean(kernelLosses(.hinge, slideScores, kernel)), by: "loss_gradient (kernel)"),
      LectureExample(
        .linearClassification, "svm-margin", "SVM loss of the scores (13, -7, 11) with a margin of 10, label 0",
        printed: "8", found: [Loss.hinge(scores: [13, -7, 11], label: 0, margin: 10).value], by: "Loss.hinge"),
      LectureExample(
        .linearClassification, "svm-doubled-weights", "SVM loss of the car with W and with 2 W: W is not unique",
        printed: "0 0", found: [slideScores[1], doubled].map { Loss.hinge(scores: $0, label: 1).value },
        by: "Loss.hinge"),
      LectureExample(
        .linearClassification, "first-losses",
        "where W is near 0: SVM of 3 classes, C - 1; SVM and softmax of 10 classes, C - 1 and ln C", printed: "2 9 2.3",
        found: [
          Loss.hinge(scores: [0, 0, 0], label: 0).value,
          Loss.hinge(scores: [Double](repeating: 0, count: 10), label: 0).value,
          Loss.softmaxCrossEntropy(scores: [Double](repeating: 0, count: 10), label: 0).value,
        ], by: "Loss.hinge, Loss.softmaxCrossEntropy"),
      LectureExample(
        .linearClassification, "softmax-probabilities", "e to the scores of the cat, (3.2, 5.1, -1.7)",
        printed: "24.5 164.0 0.18", found: cat.map(ElementaryFunctions.exponential),
        by: "ElementaryFunctions.exponential"),
      LectureExample(
        .linearClassification, "softmax-normalized", "and normalized", printed: "0.13 0.87 0.00",
        found: kernelSoftmax(cat, kernel), by: "softmax (kernel)"),
      LectureExample(
        .linearClassification, "softmax-loss", "softmax loss of the cat, in nats", printed: "2.04", found: [softmax],
        by: "Loss.softmaxCrossEntropy"),
      LectureExample(
        .linearClassification, "softmax-loss-base-10", "the base-10 logarithm of the same probability", printed: "0.89",
        found: [softmax / ElementaryFunctions.logarithm(10)], by: "Loss.softmaxCrossEntropy / ln 10",
        note: "a slide prints -log(0.13) = 0.89: it takes the base-10 logarithm of the 0.13 whose natural one is 2.04"),
      LectureExample(
        .linearClassification, "softmax-loss-kernel", "the softmax loss by the kernel", printed: "2.04",
        found: [kernelLosses(.softmaxCrossEntropy, [cat], kernel)[0]], by: "loss_gradient (kernel)"),
      overflow(kernel),
    ]
  }

  private static func overflow(_ kernel: KernelVariant) -> LectureExample {
    let scores = [123.0, 456, 789]
    return LectureExample(
      .linearClassification, "softmax-overflow",
      "scores (123, 456, 789): the losses of the labels 0, 1 and 2, then the probabilities", printed: "666 333 0 0 0 1",
      found: (0..<3).map { Loss.softmaxCrossEntropy(scores: scores, label: $0).value } + kernelSoftmax(scores, kernel),
      by: "Loss.softmaxCrossEntropy, softmax (kernel)",
      note: "the highest score is subtracted first, which leaves (-666, -333, 0): e^789 is beyond double precision")
  }

  // MARK: SVM against softmax

  static func comparisons(_ kernel: KernelVariant) -> [LectureExample] {
    let scores = [[10.0, -2, 3], [10, 9, 9], [10, -100, -100]]
    func losses(_ loss: Loss, jiggledBy change: Double) -> [Double] {
      scores.map { loss(scores: [$0[0] + change] + $0.dropFirst(), label: 0).value }
    }
    return [
      LectureExample(
        .linearClassification, "softmax-strength", "softmax of (1, -2, 0), then of (0.5, -1, 0): a higher penalty",
        printed: "0.7 0.04 0.26 0.55 0.12 0.33",
        found: kernelSoftmax([1, -2, 0], kernel) + kernelSoftmax([0.5, -1, 0], kernel), by: "softmax (kernel)"),
      LectureExample(
        .linearClassification, "svm-indifferent",
        "SVM losses of (10, -2, 3), (10, 9, 9) and (10, -100, -100), label 0; then with 10.1 for 10",
        printed:
          "0 0 0 0 0 0", found: losses(.hinge, jiggledBy: 0) + losses(.hinge, jiggledBy: 0.1), by: "Loss.hinge",
        note: "once the margin of 1 is met the SVM is indifferent"),
      LectureExample(
        .linearClassification, "svm-at-the-margin", "the same with 9.9 for 10", printed: "0 0.2 0",
        isFromLecture: false,
        found: losses(.hinge, jiggledBy: -0.1), by: "Loss.hinge",
        note: "(10, 9, 9) meets the margin exactly, so it is the one that notices a lower score"),
      LectureExample(
        .linearClassification, "softmax-never-satisfied", "softmax losses of the same scores, with 10 and with 10.1",
        printed: "0.00092 0.5514 0.0000 0.00083 0.5103 0.0000", isFromLecture: false,
        found: losses(.softmaxCrossEntropy, jiggledBy: 0) + losses(.softmaxCrossEntropy, jiggledBy: 0.1),
        by: "Loss.softmaxCrossEntropy", note: "the loss always falls, by less the smaller it is"),
    ]
  }

  // MARK: Penalty

  static var penalties: [LectureExample] {
    let weights: [[Float]] = [[1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25]]
    func penalties(_ change: (inout TrainingPlan) -> Void) -> [Double] {
      var plan = TrainingPlan(exampleCount: 1, batchSize: 1, shardCount: 1, totalSteps: 1) {
        $0.shape = ModelShape(classes: 1, pixels: 4)
      }
      change(&plan)
      return weights.map { ParameterVector($0 + [0]).withUnsafePointer(plan.penalty) }
    }
    return [
      LectureExample(
        .linearClassification, "penalty-same-scores", "scores of (1, 0, 0, 0) and of four quarters, x = (1, 1, 1, 1)",
        printed: "1 1", found: referenceScores(weights.map { $0.map(Double.init) }, [0, 0], [1, 1, 1, 1]),
        by: "ReferenceTrainer.scores"),
      LectureExample(
        .linearClassification, "penalty-l2", "R(W) of both with L2, which prefers the weights that are spread out",
        printed: "1 0.25", found: penalties { $0.l2 = 1 }, by: "TrainingPlan.penalty"),
      LectureExample(
        .linearClassification, "penalty-l1", "R(W) of both with L1, which sees no difference", printed: "1 1",
        isFromLecture: false, found: penalties { $0.l1 = 1 }, by: "TrainingPlan.penalty"),
    ]
  }
}
