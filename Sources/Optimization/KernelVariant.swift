import CKernels
import Diagnostics

/// The instruction set the hot loops were compiled for. All variants give the same bits.
public enum KernelVariant: String, Sendable, CaseIterable {
  case avx512
  case avx2
  /// The compiler's baseline: NEON on aarch64; slow on x86-64, which is there for processors without AVX2.
  case portable

  /// The variant that this process uses: the one the environment variable DESCENT_KERNEL names, otherwise the best that
  /// the processor has.
  public static var selected: KernelVariant {
    KernelVariant(rawValue: String(cString: descent_kernel_name())) ?? .portable
  }

  /// The variants that this processor can run, best first.
  public static var supported: [KernelVariant] {
    allCases.filter { variant in
      var kernel: OpaquePointer?
      return descent_kernel_find(variant.rawValue, &kernel) == DESCENT_KERNEL_OK
    }
  }

  /// Checks the environment variable DESCENT_KERNEL. Programs call it when they start; without that, a value that
  /// cannot be had is ignored.
  /// - Throws: `badConfiguration` for a name that is unknown or that this processor cannot run.
  public static func checkSelection() throws(Failure) {
    let names = supported.map(\.rawValue).joined(separator: ", ")
    switch descent_kernel_environment_status() {
    case DESCENT_KERNEL_OK:
      return
    case DESCENT_KERNEL_UNSUPPORTED:
      throw Failure(
        .badConfiguration, "DESCENT_KERNEL names a kernel that this processor cannot run", expected: names,
        remedy: "Unset it to use \(selected.rawValue)")
    default:
      throw Failure(
        .badConfiguration, "DESCENT_KERNEL names no kernel", expected: names,
        remedy: "Unset it to use \(selected.rawValue)")
    }
  }

  /// The functions of this variant; those of the selected one where the processor cannot run it.
  var kernel: OpaquePointer {
    var kernel: OpaquePointer?
    return descent_kernel_find(rawValue, &kernel) == DESCENT_KERNEL_OK
      ? kernel.unsafelyUnwrapped : descent_kernel_default()
  }
}

/// The memory one thread's kernel calls work in, of which it is the owner.
final class KernelWorkspace {
  let pointer: OpaquePointer

  /// - Parameters:
  ///   - capacity: the most examples of one gradient; scores and evaluations need none.
  ///   - meanImage: [D], in pixel units.
  init(shape: ModelShape, meanImage: [Float], capacity: Int, variant: KernelVariant) {
    precondition(
      shape.classes == Int(DESCENT_CLASSES) && shape.pixels == Int(DESCENT_PIXELS),
      "the kernels are compiled for \(DESCENT_CLASSES) classes and \(DESCENT_PIXELS) pixels")
    precondition(meanImage.count == shape.pixels, "the mean image has \(meanImage.count) values")
    guard let pointer = descent_workspace_create(variant.kernel, capacity, meanImage) else {
      fatalError("no memory for the gradient of \(capacity) examples")
    }
    self.pointer = pointer
  }

  deinit { descent_workspace_destroy(pointer) }
}

extension Loss {
  var kernelLoss: descent_loss {
    switch self {
    case .softmaxCrossEntropy: DESCENT_LOSS_SOFTMAX
    case .hinge: DESCENT_LOSS_HINGE
    }
  }
}
