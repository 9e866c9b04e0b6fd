/// The size of a linear classifier, and with it the layout of every flat vector of parameters, gradients and
/// velocities: the blocks of `blocks`, one after the other.
public struct ModelShape: Sendable, Equatable {
  /// CIFAR-10: 10 classes, 32 × 32 pixels of 3 colours, 30,730 parameters.
  public static let cifar10 = ModelShape(classes: 10, pixels: 3_072)

  /// K, the number of classes.
  public let classes: Int
  /// D, the number of pixel values of one example.
  public let pixels: Int

  public init(classes: Int, pixels: Int) {
    self.classes = classes
    self.pixels = pixels
  }

  /// K · (D + 1).
  public var parameterCount: Int { classes * (pixels + 1) }

  /// The named parts of the flat vector, in order, without gaps. The bias trick's column of ones stands as a block
  /// of its own, so that the penalty can leave it out and a checkpoint names it as `torch.nn.Linear` does.
  public var blocks: [ParameterBlock] {
    let weights = classes * pixels
    return [
      ParameterBlock(name: "weight", shape: [classes, pixels], range: 0..<weights, isRegularized: true),
      ParameterBlock(name: "bias", shape: [classes], range: weights..<parameterCount, isRegularized: false),
    ]
  }
}

/// One named, shaped part of the flat vector of parameters, row-major.
public struct ParameterBlock: Sendable, Equatable {
  public let name: String
  public let shape: [Int]
  /// The block's indices in the flat vector; as many as the product of `shape`.
  public let range: Range<Int>
  /// Whether the L2 penalty counts this block.
  public let isRegularized: Bool
}
