import Checkpoints
import Datasets
import Diagnostics
import Optimization

/// Where in an image the score of each class comes from.
///
/// Of a linear classifier a score is a sum over the pixels, s = b + Σ w x (CS231n, "Linear classification"), so each pixel has
/// a share in it: w x, added over the channels. Of a network the share is gradient × input, (∂s/∂x) x (Shrikumar et al. 2016):
/// its sum is the score of the linear function that touches the network at this image and passes through the origin; what
/// the score has beyond it is the remainder. The input x is (pixel − mean) / 127.5: where the image equals the mean image, a
/// pixel has no share.
public struct Explanation: Sendable {
  public struct ClassScore: Sendable {
    public var name: String
    public var label: Int
    public var score: Double
    /// Nil of a model whose loss does not predict by softmax.
    public var probability: Double?
    /// The shares of the pixels, height × width, row by row from the top.
    public var shares: [Double]
    /// Σ shares.
    public var pixels: Double
    /// The score without the pixels: the bias of a linear model, the remainder of a network.
    public var remainder: Double
  }

  /// A training image, and its L2 distance over the pixel bytes.
  public struct Neighbor: Sendable {
    public var index: Int
    public var className: String
    public var distance: Double
    public var image: RGBImage
  }

  public var isLinear: Bool
  /// As the model sees it.
  public var picture: RGBImage
  /// In falling order of their scores; ties go to the smaller label, as in evaluation.
  public var classes: [ClassScore]
  /// The nearest first; empty where no data set was given.
  public var neighbors: [Neighbor] = []

  /// - Parameters:
  ///   - planes: the pixel bytes of an example [D].
  ///   - model: one of pictures whose `pixelScale` is 127.5.
  ///   - evaluator: of that model.
  /// - Throws: `internalError` where the shares of a linear model do not add up to the score of the kernels.
  public init(of planes: [UInt8], model: TrainedModel, evaluator: Evaluator) throws(Failure) {
    guard let picture = RGBImage(planes: planes, model.inputShape) else {
      preconditionFailure("an explanation is one of a picture")
    }
    (self.picture, isLinear) = (picture, model.shape.isLinear)
    let record: [UInt8] = [0] + planes
    let scores = record.withUnsafeBufferPointer { record in
      model.parameters.withUnsafePointer { parameters in
        evaluator.scores(parameters: parameters, record: record.baseAddress.unsafelyUnwrapped)
      }
    }
    let probabilities = model.loss.predictsBySoftmax ? evaluator.probabilities(ofScores: scores) : nil
    let backpropagation = Backpropagation(model, planes: planes)
    let area = model.inputShape.width * model.inputShape.height
    classes = []
    for label in scores.indices.sorted(by: { (scores[$1], $0) < (scores[$0], $1) }) {
      let products = zip(backpropagation.gradient(ofScore: label), backpropagation.input).map { $0 * $1 }
      let shares = (0..<area).map { pixel in
        stride(from: pixel, to: products.count, by: area).reduce(0.0) { $0 + products[$1] }
      }
      let (score, pixels) = (backpropagation.scores[label], shares.reduce(0, +))
      // The kernels compute in single precision.
      let bound = 1e-4 * (1 + products.reduce(0) { $0 + abs($1) })
      guard !isLinear || abs(score - Double(scores[label])) <= bound else {
        throw Failure(
          .internalError, "the shares of the pixels do not add up to the score of \(model.classNames[label])",
          found: "\(score)", expected: "\(scores[label])")
      }
      classes.append(
        ClassScore(
          name: model.classNames[label], label: label, score: Double(scores[label]),
          probability: probabilities.map { Double($0[label]) }, shares: shares, pixels: pixels,
          remainder: score - pixels))
    }
  }

  /// Finds the training images with the smallest L2 distances to the example; of equal distances the smaller index is first.
  ///
  /// - Parameter planes: of the shape of the data set.
  public mutating func findNeighbors(_ count: Int, of planes: [UInt8], in dataset: Dataset, kernel: KernelVariant) {
    let query = ExampleTable(
      copying: [0] + planes, recordByteCount: 1 + planes.count, classes: dataset.examples.classes)
    let nearest = NeighborSearch(.l2, shape: dataset.description.shape, kernel: kernel).nearest(
      min(count, dataset.count), of: ExampleSet(query, [0]),
      among: ExampleSet(dataset.examples, 0..<UInt32(dataset.count)))
    neighbors = nearest[0].compactMap { found in
      let index = Int(found.index)
      return dataset.picture(at: index).map { image in
        Neighbor(
          index: index, className: dataset.classNames[dataset.examples.label(at: index)],
          distance: Distance.l2.value(of: found.distance), image: image)
      }
    }
  }
}

/// A forward pass of one example in double precision, and the gradient of its scores by its input (CS231n,
/// "Optimization: Backpropagation").
package struct Backpropagation {
  /// x [D].
  package let input: [Double]
  /// s [K].
  package let scores: [Double]
  private let shape: ModelShape
  private let parameters: [Float]
  /// f′(z) of each hidden layer.
  private let slopes: [[Double]]

  /// - Parameter planes: the pixel bytes [D].
  package init(_ model: TrainedModel, planes: [UInt8]) {
    let (shape, parameters) = (model.shape, model.parameters.values)
    (self.shape, self.parameters) = (shape, parameters)
    input = zip(planes, model.meanImage).map { (Double($0) - Double($1)) / Double(model.pixelScale) }
    var (h, slopes) = (input, [[Double]]())
    for (index, layer) in shape.layers.enumerated() {
      let z = (0..<layer.outputs).map { unit in
        let start = layer.weight.lowerBound + unit * layer.inputs
        var sum = Double(parameters[layer.bias.lowerBound + unit])
        for (j, value) in h.enumerated() { sum += Double(parameters[start + j]) * value }
        return sum
      }
      if index == shape.hidden.count {
        h = z
      } else {
        let f = z.map { shape.activation($0) }
        h = f.map(\.value)
        slopes.append(f.map(\.derivative))
      }
    }
    (scores, self.slopes) = (h, slopes)
  }

  /// ∂s/∂x [D] of the score of one class.
  package func gradient(ofScore label: Int) -> [Double] {
    var dz = scores.indices.map { $0 == label ? 1.0 : 0 }
    for (index, layer) in shape.layers.enumerated().reversed() {
      var dh = [Double](repeating: 0, count: layer.inputs)
      for unit in 0..<layer.outputs where dz[unit] != 0 {
        let start = layer.weight.lowerBound + unit * layer.inputs
        for j in dh.indices { dh[j] += dz[unit] * Double(parameters[start + j]) }  // Wᵀ dz
      }
      dz = index == 0 ? dh : zip(dh, slopes[index - 1]).map { $0 * $1 }
    }
    return dz
  }
}
