/// A computational graph of the gates of CS231n's "Backpropagation, Intuitions": it computes forwards as it is built, and
/// every gate keeps its local gradient, so that the chain rule is all that the pass backwards has to know. With one number
/// in each node it is slow, and knows nothing of layers, vectors or losses: beside the derived gradients and the numerical
/// ones it is a third witness.
///
///     let graph = ComputationalGraph()
///     let (x, y, z) = (graph.variable(-2), graph.variable(5), graph.variable(-4))
///     let gradients = graph.gradients(of: (x + y) * z)
///     gradients[x], gradients[y], gradients[z]    // −4, −4, 3
public final class ComputationalGraph {
  /// What flows backwards into the inputs of a gate: their gradients gain `local` times that of the output.
  private typealias Flow = (input: Int, local: Double)

  /// Of each node, in the order in which they were computed.
  private var flows: [[Flow]] = []

  public init() {}

  /// A node with its value.
  public struct Node {
    fileprivate let graph: ComputationalGraph
    fileprivate let index: Int
    public let value: Double

    fileprivate func gate(_ value: Double, _ local: Double) -> Node { graph.node(value, [(index, local)]) }

    fileprivate func gate(_ other: Node, _ value: Double, _ local: Double, _ otherLocal: Double) -> Node {
      graph.node(value, [(index, local), (other.index, otherLocal)])
    }
  }

  /// Of one output, by each node.
  public struct Gradients {
    fileprivate let values: [Double]

    public subscript(node: Node) -> Double { values[node.index] }
  }

  public func variable(_ value: Double) -> Node { node(value, []) }

  public func gradients(of output: Node) -> Gradients {
    var values = [Double](repeating: 0, count: flows.count)
    values[output.index] = 1
    for (index, inputs) in flows.enumerated().reversed() {
      for flow in inputs { values[flow.input] += flow.local * values[index] }
    }
    return Gradients(values: values)
  }

  private func node(_ value: Double, _ inputs: [Flow]) -> Node {
    flows.append(inputs)
    return Node(graph: self, index: flows.count - 1, value: value)
  }
}

// MARK: - Gates

extension ComputationalGraph.Node {
  /// Distributes the gradient.
  public static func + (a: Self, b: Self) -> Self { a.gate(b, a.value + b.value, 1, 1) }
  public static func - (a: Self, b: Self) -> Self { a.gate(b, a.value - b.value, 1, -1) }
  /// Switches the gradient.
  public static func * (a: Self, b: Self) -> Self { a.gate(b, a.value * b.value, b.value, a.value) }
  public static func + (a: Self, c: Double) -> Self { a.gate(a.value + c, 1) }
  public static func * (c: Double, a: Self) -> Self { a.gate(c * a.value, c) }
  public static prefix func - (a: Self) -> Self { -1 * a }

  /// 1/x.
  public var reciprocal: Self { gate(1 / value, -1 / (value * value)) }
  public var exponential: Self {
    let e = ElementaryFunctions.exponential(value)
    return gate(e, e)
  }
  public var logarithm: Self { gate(ElementaryFunctions.logarithm(value), 1 / value) }
  /// 1 / (1 + e⁻ˣ), of its own gates: those that the lecture then makes one of.
  public var sigmoidOfGates: Self { ((-self).exponential + 1).reciprocal }
  /// 1 / (1 + e⁻ˣ), with the local gradient (1 − σ) σ.
  public var sigmoid: Self {
    let s = Logistic.sigmoid(value)
    return gate(s, (1 - s) * s)
  }

  /// Routes the gradient to the larger input; of equal ones to the constant.
  public func maximum(_ c: Double) -> Self { value > c ? gate(value, 1) : gate(c, 0) }
}

// MARK: - The objective

extension ReferenceTrainer {
  /// The objective of a minibatch, penalty included, and its gradient [parameterCount], from gates alone.
  /// - Parameter step: whose dropout masks apply; nil for none.
  public func objectiveAndGradientByGates(
    _ minibatch: [Example], at w: [Double], step: UInt64? = nil
  ) -> (objective: Double, gradient: [Double]) {
    let graph = ComputationalGraph()
    let parameters = w.map(graph.variable)
    var objective = graph.variable(0)
    for example in minibatch {
      let masks = forward(example, at: w, step: step).masks
      var h = example.x.map(graph.variable)
      for (l, layer) in plan.shape.layers.enumerated() {
        h = (0..<layer.outputs).map { k in
          let row = parameters[layer.weight].dropFirst(k * layer.inputs)
          return zip(row, h).reduce(parameters[layer.bias.lowerBound + k]) { sum, factors in
            sum + factors.0 * factors.1
          }
        }
        if l < masks.count { h = zip(h, masks[l]).map { z, factor in factor * plan.shape.activation(z) } }
      }
      let share = 1 / plan.divisor(examples: minibatch.count)
      objective = objective + share * plan.lossFunction(gates: h, label: example.y)
    }
    for block in plan.shape.blocks where block.isRegularized {
      for weight in parameters[block.range] {
        let magnitude = weight.maximum(0) + (-weight).maximum(0)
        objective = objective + Double(plan.l2) * (weight * weight) + Double(plan.l1) * magnitude
      }
    }
    let gradients = graph.gradients(of: objective)
    return (objective.value, parameters.map { gradients[$0] })
  }
}

extension [ComputationalGraph.Node] {
  /// Of at least one.
  var sum: Element { dropFirst().reduce(self[0], +) }
}
