import Optimization
import Testing

/// The worked examples of CS231n's lecture on backpropagation. The slides round to two decimals at every gate.
@Suite struct ComputationalGraphTests {
  @Test
  func `(x + y) z at −2, 5, −4 has the gradients −4, −4, 3`() {
    let graph = ComputationalGraph()
    let (x, y, z) = (graph.variable(-2), graph.variable(5), graph.variable(-4))
    let (sum, output) = (x + y, (x + y) * z)
    #expect(sum.value == 3 && output.value == -12)
    let gradients = graph.gradients(of: output)
    #expect([x, y, z].map { gradients[$0] } == [-4, -4, 3])
  }

  @Test
  func `the sigmoid neuron gives 0.73, and the gradients of the slides gate by gate`() {
    let graph = ComputationalGraph()
    let (w0, x0, w1, x1, w2) = (
      graph.variable(2), graph.variable(-1), graph.variable(-3), graph.variable(-2), graph.variable(-3)
    )
    let products = (w0 * x0, w1 * x1)
    let sums = (products.0 + products.1, products.0 + products.1 + w2)
    let negated = -sums.1
    let power = negated.exponential
    let shifted = power + 1
    let output = shifted.reciprocal
    func rounded(_ values: [Double]) -> [Double] { values.map { ($0 * 100).rounded() / 100 } }
    // The lower row of the slides' circuit, forwards, and the upper one, backwards.
    #expect(
      rounded([products.0, products.1, sums.0, sums.1, negated, power, shifted, output].map(\.value))
        == [-2, 6, 4, 1, -1, 0.37, 1.37, 0.73])
    let gradients = graph.gradients(of: output)
    #expect(rounded([output, shifted, power, negated, sums.1].map { gradients[$0] }) == [1, -0.53, -0.53, -0.2, 0.2])
    // The slides have 0.4 and −0.6 where 0.2 is multiplied on, and 0.39 and −0.59 elsewhere.
    #expect(rounded([w0, x0, w1, x1, w2].map { gradients[$0] }) == [-0.2, 0.39, -0.39, -0.59, 0.2])
  }

  @Test
  func `one sigmoid gate has the gradient of its four gates, 0.73 (1 − 0.73) at 1`() {
    for value in [1, -3, 0, 0.5, 20] {
      let graph = ComputationalGraph()
      let x = graph.variable(value)
      let (gates, gate) = (x.sigmoidOfGates, x.sigmoid)
      #expect(abs(gates.value - gate.value) < 1e-15)
      #expect(abs(graph.gradients(of: gates)[x] - graph.gradients(of: gate)[x]) < 1e-15)
    }
    let graph = ComputationalGraph()
    let x = graph.variable(1)
    let s = x.sigmoid
    #expect(abs(graph.gradients(of: s)[x] - 0.2) < 0.005)
    #expect(graph.gradients(of: s)[x] == (1 - s.value) * s.value)
  }

  @Test
  func `a maximum routes the gradient, and where paths meet the gradients add up`() {
    // The slides' circuit of add, max and multiply gates: 2 (x y + max(z, w)) at 3, −4, 2, −1.
    let graph = ComputationalGraph()
    let (x, y, z) = (graph.variable(3), graph.variable(-4), graph.variable(2))
    let gradients = graph.gradients(of: 2 * (x * y + z.maximum(-1)))
    #expect([x, y, z].map { gradients[$0] } == [-8, 6, 2])
    let u = graph.variable(3)
    #expect(graph.gradients(of: u * u + u)[u] == 7)
    #expect(graph.gradients(of: u.maximum(4))[u] == 0)
  }
}
