import CKernels
import Foundation
import Optimization
import Testing

/// The activations of the kernels, beside the C library's functions and `Activation`, both in double precision.
@Suite struct ActivationKernelTests {
  private static let activations =
    Activation.all + [
      .leakyReLU(slope: 0), .leakyReLU(slope: 1), .elu(alpha: 0.3), .elu(alpha: 0),
    ]

  /// From the smallest to the largest floats, both signs, and evenly where functions bend.
  private static let sums: [Float] =
    (-4_000...4_000).map { Float($0) / 200 }
    + (-148...127).flatMap { exponent -> [Float] in
      let z = Float(sign: .plus, exponent: exponent, significand: 1.375)
      return [z, -z]
    } + [0, -0.0, -87.3, -87.4, -43.6, -43.7, .greatestFiniteMagnitude, -.greatestFiniteMagnitude]

  private func exact(_ activation: Activation, _ z: Double) -> (value: Double, derivative: Double) {
    let e = exp(-abs(z))
    switch activation {
    case .relu: return z > 0 ? (z, 1) : (0, 0)
    case .leakyReLU(let slope): return z > 0 ? (z, 1) : (Double(slope) * z, Double(slope))
    case .elu(let alpha): return z > 0 ? (z, 1) : (Double(alpha) * expm1(z), Double(alpha) * exp(z))
    case .tanh: return (tanh(z), 4 * (e * e) / ((1 + e * e) * (1 + e * e)))
    case .sigmoid: return (z < 0 ? e / (1 + e) : 1 / (1 + e), e / ((1 + e) * (1 + e)))
    case .identity: return (z, 1)
    }
  }

  @Test(arguments: activations)
  func `values and derivatives are within 4 units in the last place, and the same bits in every variant`(
    activation: Activation
  ) {
    let results = KernelVariant.supported.map { Kernel($0).activate(activation, Self.sums) }
    let (values, derivatives) = results[0]
    // Below 1e-37 numbers have fewer bits, or are 0.
    func error(_ result: Float, _ exact: Double) -> Double {
      max(0, abs(Double(result) - exact) - 1e-37) / Double(Float(exact).ulp)
    }
    for (index, z) in Self.sums.enumerated() {
      let (value, derivative) = exact(activation, Double(z))
      #expect(error(values[index], value) < 4 && error(derivatives[index], derivative) < 4, "\(z)")
      let (ours, slope) = activation(Double(z))
      #expect(abs(ours - Double(values[index])) <= 1e-6 * max(1, abs(ours)), "\(z)")
      #expect(abs(slope - Double(derivatives[index])) <= 1e-6, "\(z)")
    }
    for result in results {
      #expect(result.values.map(\.bitPattern) == values.map(\.bitPattern))
      #expect(result.derivatives.map(\.bitPattern) == derivatives.map(\.bitPattern))
    }
  }

  /// CS231n, "Backpropagation, Intuitions": the sigmoid neuron at a sum of 1 gives 0.73 and the derivative 0.20.
  @Test(arguments: KernelVariant.supported)
  func `the lecture's sigmoid neuron`(variant: KernelVariant) {
    let (values, derivatives) = Kernel(variant).activate(.sigmoid, [1])
    #expect(abs(values[0] - 0.73) < 0.005 && abs(derivatives[0] - 0.20) < 0.005)
  }
}
