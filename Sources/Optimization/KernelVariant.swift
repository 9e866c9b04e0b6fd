import CKernels
import Diagnostics

/// An instruction set the hot loops are compiled for. All variants give the same bits.
///
/// Which one runs is an argument of everything that computes: the shell chooses it once, at the start of a process.
public enum KernelVariant: String, Sendable, CaseIterable {
  case avx512
  case avx2
  /// The compiler's baseline: NEON on aarch64; slow on x86-64, where it serves processors without AVX2.
  case portable

  /// The variants that this processor can run, fastest first.
  public static var supported: [KernelVariant] { allCases.filter { $0.found != nil } }

  /// The fastest variant that this processor can run.
  public static var best: KernelVariant { supported.first ?? .portable }

  /// The variant that DESCENT_KERNEL names; the best one if it is absent or empty.
  /// - Throws: `badConfiguration` for a name that is unknown or that this processor cannot run.
  public init(environment: [String: String]) throws(Failure) {
    guard let name = environment["DESCENT_KERNEL"], !name.isEmpty else {
      self = .best
      return
    }
    let supported = Self.supported
    let variant = KernelVariant(rawValue: name)
    guard let variant, supported.contains(variant) else {
      let names = supported.map(\.rawValue).joined(separator: " or ")
      throw Failure(
        .badConfiguration,
        "DESCENT_KERNEL must be \(names), but is \"\(name.prefix(100))\""
          + (variant == nil ? "" : ", which this processor cannot run"),
        remedy: "Unset it to use \(Self.best.rawValue)")
    }
    self = variant
  }

  /// The functions of this variant, which must be a supported one.
  package var functions: UnsafePointer<descent_kernel> {
    guard let found else { preconditionFailure("this processor cannot run the \(rawValue) kernels") }
    return found
  }

  private var found: UnsafePointer<descent_kernel>? {
    switch self {
    case .avx512: descent_kernel_find(DESCENT_AVX512)
    case .avx2: descent_kernel_find(DESCENT_AVX2)
    case .portable: descent_kernel_find(DESCENT_PORTABLE)
    }
  }

  /// `sum[i] = a[i] + b[i]`, wrapping: how gradient sums of different shards are put together.
  /// - Parameters:
  ///   - a: int32 [sum.count] at any alignment; may be `sum`.
  ///   - b: int32 [sum.count] at any alignment.
  public func add(_ a: UnsafeRawPointer, _ b: UnsafeRawPointer, into sum: UnsafeMutableBufferPointer<Int32>) {
    functions.pointee.add_int32(sum.baseAddress, a, b, sum.count)
  }

  /// Losses and predictions of examples whose scores are known.
  /// - Parameters:
  ///   - scores: [labels.count, K] or more.
  ///   - labels: each in 0 ..< K.
  ///   - margin: Δ of the hinge losses.
  ///   - classes: K.
  ///   - derivatives: set to the derivative of each loss by each score, [labels.count, K] or more.
  package func statistics(
    ofScores scores: [Float], labels: ArraySlice<UInt8>, _ loss: Loss, margin: Float, classes: Int,
    derivatives: inout [Float]
  ) -> MinibatchStatistics {
    precondition(min(scores.count, derivatives.count) >= labels.count * classes, "each example has K scores")
    var statistics = descent_statistics()
    labels.withUnsafeBufferPointer { labels in
      functions.pointee.loss_gradient(
        loss.kernelLoss, margin, classes, scores, labels.baseAddress, labels.count, &derivatives, &statistics)
    }
    return MinibatchStatistics(examples: labels.count, statistics)
  }

  /// ‖a‖₂ in units of the gradient sum, to about 1 part in 20,000.
  /// - Parameter a: int32 [count] at any alignment.
  public func norm(ofGradientSum a: UnsafeRawPointer, count: Int) -> Double {
    functions.pointee.squared_norm_int32(a, count).squareRoot()
  }
}

/// The kernels of a variant, and the memory in which the calls of one thread work for a model. An instance owns that memory.
final class KernelWorkspace {
  let kernel: UnsafePointer<descent_kernel>
  let pointer: OpaquePointer

  /// - Parameters:
  ///   - meanImage: [D], in pixel units.
  ///   - capacity: the most examples of one gradient, or of as many scores as are computed at a time.
  init(shape: ModelShape, meanImage: [Float], capacity: Int, kernel: KernelVariant) {
    precondition(meanImage.count == shape.pixels, "the mean image has \(meanImage.count) values")
    let units = [shape.pixels] + shape.hidden + [shape.classes]
    guard
      let pointer = descent_workspace_create(
        units, shape.layers.count, shape.activation.kernelActivation, shape.activation.parameter ?? 0, capacity,
        meanImage)
    else { fatalError("no memory for the gradient of \(capacity) examples") }
    self.pointer = pointer
    self.kernel = kernel.functions
  }

  deinit { descent_workspace_destroy(pointer) }
}

extension Activation {
  package var kernelActivation: descent_activation {
    switch self {
    case .relu: DESCENT_RELU
    case .leakyReLU: DESCENT_LEAKY_RELU
    case .elu: DESCENT_ELU
    case .tanh: DESCENT_TANH
    case .sigmoid: DESCENT_SIGMOID
    case .identity: DESCENT_IDENTITY
    }
  }
}
