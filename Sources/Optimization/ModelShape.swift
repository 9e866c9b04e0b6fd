/// A model, except for the values of its parameters: a linear classifier, or a network of fully connected layers with an
/// activation between them (CS231n, "Neural Networks Part 1"). With it the layout of every flat vector of parameters,
/// gradients and optimizer state is given: the blocks of `blocks`, one after the other.
public struct ModelShape: Sendable, Equatable, CustomStringConvertible {
  /// The linear classifier of CIFAR-10: 10 classes, 32 × 32 pixels of 3 colours, 30,730 parameters.
  public static let cifar10 = ModelShape(classes: 10, pixels: 3_072)
  /// The most hidden layers: each layer has two of the blocks that `FixedPointScale` has room for.
  public static let maximumHiddenLayers = FixedPointScale.maximumBlocks / 2 - 1
  /// The most parameters: 128 MiB of float32. A message carries them with two vectors of optimizer state.
  public static let maximumParameterCount = 1 << 25

  /// K, the number of classes.
  public let classes: Int
  /// D, the number of pixel values of one example.
  public let pixels: Int
  /// Units of each hidden layer, that of the pixels first; empty for a linear classifier.
  public let hidden: [Int]
  /// What each hidden unit makes of its sum; `identity` for a linear classifier, where it has no effect.
  public let activation: Activation
  /// The layers, that of the pixels first.
  public let layers: [Layer]

  public init(classes: Int, pixels: Int, hidden: [Int] = [], activation: Activation = .relu) {
    self.classes = classes
    self.pixels = pixels
    self.hidden = hidden
    self.activation = hidden.isEmpty ? .identity : activation
    var layers: [Layer] = []
    for (inputs, outputs) in zip([pixels] + hidden, hidden + [classes]) {
      layers.append(Layer(inputs: inputs, outputs: outputs, start: layers.last?.bias.upperBound ?? 0))
    }
    self.layers = layers
  }

  public var isLinear: Bool { hidden.isEmpty }

  /// "linear", "hidden 256,128 relu".
  public var description: String {
    isLinear ? "linear" : "hidden \(hidden.map(String.init).joined(separator: ",")) \(activation)"
  }

  /// As many as `blocks` has.
  public var blockCount: Int { 2 * layers.count }

  /// Σ outputs · (inputs + 1) over the layers.
  public var parameterCount: Int { layers.last?.bias.upperBound ?? 0 }

  /// The named parts of the flat vector, in order, without gaps: of each layer the weights, then the bias. The bias trick's
  /// column of ones stands as a block of its own, so that the penalty can leave it out and a checkpoint names it as
  /// `torch.nn.Linear` does. The layers of a network are named as those of an `nn.Sequential` with the activations between
  /// them: "0.weight", "0.bias", "2.weight" …
  public var blocks: [ParameterBlock] {
    layers.enumerated().flatMap { index, layer in
      let prefix = isLinear ? "" : "\(2 * index)."
      return [
        ParameterBlock(
          name: prefix + "weight", shape: [layer.outputs, layer.inputs], range: layer.weight, isRegularized: true),
        ParameterBlock(name: prefix + "bias", shape: [layer.outputs], range: layer.bias, isRegularized: false),
      ]
    }
  }

  /// A fully connected layer: z = W x + b.
  public struct Layer: Sendable, Equatable {
    /// The length of x.
    public let inputs: Int
    /// The length of z and b.
    public let outputs: Int
    /// W [outputs, inputs], row-major, in the flat vector.
    public let weight: Range<Int>
    /// b [outputs] in the flat vector.
    public let bias: Range<Int>

    init(inputs: Int, outputs: Int, start: Int) {
      // A shape whose sizes are out of range has a layout too: `TrainingPlan.validate` names what is wrong.
      self.inputs = min(max(inputs, 0), 1 << 21)
      self.outputs = min(max(outputs, 0), 1 << 21)
      weight = start..<(start + self.inputs * self.outputs)
      bias = weight.upperBound..<(weight.upperBound + self.outputs)
    }
  }
}

/// One named, shaped part of the flat vector of parameters, row-major.
public struct ParameterBlock: Sendable, Equatable {
  public let name: String
  public let shape: [Int]
  /// The block's indices in the flat vector; as many as the product of `shape`.
  public let range: Range<Int>
  /// Whether the penalty counts this block.
  public let isRegularized: Bool
}
