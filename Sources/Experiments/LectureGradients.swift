import CKernels
import Optimization

// The examples of "Image Classification", "Optimization", "Backpropagation" and "Neural Networks".

extension LectureExample {
  static func distance(_ kernel: KernelVariant) -> LectureExample {
    // Behind label bytes, which the kernel does not read.
    let test: [UInt8] = [0, 56, 32, 10, 18, 90, 23, 128, 133, 24, 26, 178, 200, 2, 0, 255, 220]
    let training: [UInt8] = [0, 10, 20, 24, 17, 8, 10, 89, 100, 12, 16, 178, 170, 4, 32, 233, 112]
    let distance = kernel.functions.pointee.distance(DESCENT_L1, test, training, test.count - 1)
    return LectureExample(
      .imageClassification, "l1-distance", "L1 distance of the 4 x 4 test image and the training image of the slide",
      printed: "456", found: [Double(distance)], by: "distance (kernel)")
  }

  static var optimization: [LectureExample] {
    let (loss, h) = (1.25347, 0.0001)
    return [
      LectureExample(
        .optimization, "numerical-gradient",
        "dW of the first three weights, from the losses 1.25322, 1.25353 and 1.25347 a step of 0.0001 away",
        printed: "-2.5 0.6 0", found: [1.25322, 1.25353, 1.25347].map { ($0 - loss) / h }, by: "(L(w + h) - L(w)) / h",
        note: "W = (0.34, -1.11, 0.78, …), L(W) = 1.25347; descent gradient-check takes central differences")
    ]
  }

  // MARK: Backpropagation

  static var graphs: [LectureExample] {
    [product, sumProduct, maximum] + sigmoidNeuron + [vectors]
  }

  private static var product: LectureExample {
    let graph = ComputationalGraph()
    let (x, y) = (graph.variable(4), graph.variable(-3))
    let gradients = graph.gradients(of: x * y)
    return LectureExample(
      .backpropagation, "graph-product", "x y at 4, -3: the value, then the gradients of x and y", printed: "-12 -3 4",
      found: [(x * y).value, gradients[x], gradients[y]], by: "ComputationalGraph")
  }

  private static var sumProduct: LectureExample {
    let graph = ComputationalGraph()
    let (x, y, z) = (graph.variable(-2), graph.variable(5), graph.variable(-4))
    let q = x + y
    let f = q * z
    let gradients = graph.gradients(of: f)
    return LectureExample(
      .backpropagation, "graph-sum-product",
      "(x + y) z at -2, 5, -4: q = x + y and f, then the gradients of q, x, y, z",
      printed: "3 -12 -4 -4 -4 3", found: [q.value, f.value] + [q, x, y, z].map { gradients[$0] },
      by: "ComputationalGraph")
  }

  private static var maximum: LectureExample {
    let graph = ComputationalGraph()
    let (x, y, z, w) = (graph.variable(3), graph.variable(-4), graph.variable(2), graph.variable(-1))
    // max(z, w)
    let larger = z + (w - z).maximum(0)
    let f = 2 * (x * y + larger)
    let gradients = graph.gradients(of: f)
    return LectureExample(
      .backpropagation, "graph-max", "2 (x y + max(z, w)) at 3, -4, 2, -1: the value, then the gradients of x, y, z, w",
      printed: "-20 -8 6 2 0", found: [f.value] + [x, y, z, w].map { gradients[$0] }, by: "ComputationalGraph")
  }

  private static var sigmoidNeuron: [LectureExample] {
    let graph = ComputationalGraph()
    let (w0, x0, w1, x1, w2) = (
      graph.variable(2), graph.variable(-1), graph.variable(-3), graph.variable(-2), graph.variable(-3)
    )
    let products = [w0 * x0, w1 * x1]
    let sum = products[0] + products[1]
    let total = sum + w2
    let negated = -total
    let power = negated.exponential
    let shifted = power + 1
    let output = shifted.reciprocal
    let gradients = graph.gradients(of: output)
    let gate = total.sigmoid
    return [
      LectureExample(
        .backpropagation, "graph-sigmoid-forward",
        "the sigmoid neuron at w = (2, -3, -3), x = (-1, -2), forwards, gate by gate",
        printed: "-2 6 4 1 -1 0.37 1.37 0.73",
        found: (products + [sum, total, negated, power, shifted, output]).map(\.value), by: "ComputationalGraph"),
      LectureExample(
        .backpropagation, "graph-sigmoid-backward", "and backwards, from the output to w0 x0 + w1 x1 + w2",
        printed: "1 -0.53 -0.53 -0.20 0.20",
        found: [output, shifted, power, negated, total].map { gradients[$0] }, by: "ComputationalGraph"),
      LectureExample(
        .backpropagation, "graph-sigmoid-inputs", "the gradients of w0, x0, w1, x1 and w2",
        printed: "-0.20 0.39 -0.39 -0.59 0.20", found: [w0, x0, w1, x1, w2].map { gradients[$0] },
        by: "ComputationalGraph", note: "slides that multiply the rounded 0.20 print 0.40, -0.40 and -0.60"),
      LectureExample(
        .backpropagation, "sigmoid-gate", "the four gates as one: its output, and its local gradient (1 - 0.73) 0.73",
        printed: "0.73 0.20", found: [gate.value, graph.gradients(of: gate)[total]], by: "ComputationalGraph"),
    ]
  }

  private static var vectors: LectureExample {
    let graph = ComputationalGraph()
    let weights = [[0.1, 0.5], [-0.3, 0.8]].map { $0.map(graph.variable) }
    let x = [0.2, 0.4].map(graph.variable)
    let q = weights.map { row in row[0] * x[0] + row[1] * x[1] }
    let f = q[0] * q[0] + q[1] * q[1]
    let gradients = graph.gradients(of: f)
    return LectureExample(
      .backpropagation, "graph-vectors",
      "the squared norm of q = W x, W = ((0.1, 0.5), (-0.3, 0.8)), x = (0.2, 0.4): q, f, then the gradients of q, W, x",
      printed: "0.22 0.26 0.116 0.44 0.52 0.088 0.176 0.104 0.208 -0.112 0.636",
      found: q.map(\.value) + [f.value] + (q + weights.flatMap(\.self) + x).map { gradients[$0] },
      by: "ComputationalGraph")
  }

  // MARK: Neural networks

  static func neuralNetworks(_ kernel: KernelVariant) -> [LectureExample] {
    let sizes = [ModelShape(classes: 2, pixels: 3, hidden: [4]), ModelShape(classes: 1, pixels: 3, hidden: [4, 4])]
    let counts = sizes.flatMap { shape -> [Int] in
      let weights = shape.layers.map(\.weight.count).reduce(0, +)
      let units = shape.layers.map(\.outputs).reduce(0, +)
      return [units, weights, shape.parameterCount]
    }
    let sigmoid = Activation.sigmoid
    var (value, derivative) = ([Float](repeating: 0, count: 1), [Float](repeating: 0, count: 1))
    kernel.functions.pointee.activate(sigmoid.kernelActivation, 0, [1], &value, &derivative, 1)
    return [
      LectureExample(
        .neuralNetworks, "network-sizes",
        "neurons, weights and parameters of the networks 3-4-2 and 3-4-4-1", printed: "6 20 26 9 32 41",
        found: counts.map(Double.init), by: "ModelShape"),
      LectureExample(
        .neuralNetworks, "sigmoid-activation", "the sigmoid of 1 and its derivative, as a layer computes them",
        printed: "0.73 0.20", found: [sigmoid(1).value, sigmoid(1).derivative], by: "Activation.sigmoid"),
      LectureExample(
        .neuralNetworks, "sigmoid-kernel", "the same by the kernel", printed: "0.73 0.20",
        found: [Double(value[0]), Double(derivative[0])], by: "activate (kernel)"),
    ]
  }
}
