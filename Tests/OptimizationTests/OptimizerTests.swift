import Foundation
import Optimization
import TestSupport
import Testing

@Suite struct OptimizerTests {
  /// A trainer of one weight w and one bias, with learning rate 1, both at zero.
  private func trainer(_ optimizer: Optimizer) -> ReferenceTrainer {
    ReferenceTrainer(
      plan: .fixture {
        $0.shape = ModelShape(classes: 2, pixels: 1)
        $0.optimizer = optimizer
      })
  }

  /// The directions that the optimizer takes for these gradients of one parameter.
  private func directions(_ optimizer: Optimizer, _ gradients: [Double]) -> [Double] {
    var trainer = trainer(optimizer)
    return gradients.map { g in
      let before = trainer.w[0]
      trainer.update(by: [g, 0, 0, 0])
      return before - trainer.w[0]
    }
  }

  private func expectClose(_ values: [Double], _ expected: [Double]) {
    #expect(values.count == expected.count)
    #expect(zip(values, expected).allSatisfy { abs($0 - $1) < 1e-12 * max(1, abs($1)) }, "\(values)")
  }

  // By hand; ε is so small that it does not count.

  @Test func `momentum of one half`() {
    // v = 4, 2 + 2, 2 + 0.
    expectClose(directions(Optimizer(.momentum, [.momentum: 0.5]), [4, 2, 0]), [4, 4, 2])
  }

  @Test func `Nesterov looks half a velocity ahead`() {
    // v as above; 4 + 2, 2 + 2, 0 + 1.
    expectClose(directions(Optimizer(.nesterov, [.momentum: 0.5]), [4, 2, 0]), [6, 4, 1])
  }

  @Test func `AdaGrad divides by the root of all squares`() {
    // s = 9, 25, 169.
    expectClose(directions(Optimizer(.adagrad, [.epsilon: 1e-20]), [3, 4, 12]), [1, 0.8, 12.0 / 13])
  }

  @Test func `RMSProp divides by the root of an average of squares`() {
    // s = ¼ · 4 = 1, ¾ + ¼ = 1, ¾ + ¼ · 13.
    expectClose(
      directions(Optimizer(.rmsprop, [.decayRate: 0.75, .epsilon: 1e-20]), [2, 1, 13.0.squareRoot()]),
      [2, 1, 13.0.squareRoot() / 2])
  }

  @Test func `Adam corrects both averages for their begin at zero`() {
    // m = 1, ½; m̂ = 1 / ½, ½ / ¾. v = 1, ¾; v̂ = 1 / ¼, ¾ / (7/16).
    expectClose(
      directions(Optimizer(.adam, [.beta1: 0.5, .beta2: 0.75, .epsilon: 1e-20]), [2, 0]),
      [1, 2.0 / 3 / (12.0 / 7).squareRoot()])
  }

  @Test(arguments: [Optimizer.Kind.adagrad, .adam, .adamw])
  func `the first step has the length of the learning rate, whatever the gradient`(kind: Optimizer.Kind) {
    for g in [1e-3, 1, -1e6] { expectClose(directions(Optimizer(kind, [.epsilon: 1e-20]), [g]), [g < 0 ? -1 : 1]) }
  }

  @Test func `epsilon stands outside of the root`() {
    expectClose(directions(Optimizer(.adagrad, [.epsilon: 0.5]), [2]), [2 / 2.5])
    expectClose(directions(Optimizer(.adam, [.epsilon: 0.5]), [2]), [2 / 2.5])
    expectClose(directions(Optimizer(.rmsprop, [.decayRate: 0.75, .epsilon: 0.5]), [2]), [2 / 1.5])
  }

  @Test func `an optimizer has only the hyperparameters that it uses`() {
    #expect(Optimizer(.sgd, [.momentum: 0.5, .beta1: 0.25]) == Optimizer(.sgd))
    #expect(Optimizer(.adam)[.beta1] == 0.9 && Optimizer(.adam)[.beta2] == 0.999)
    #expect(Optimizer(.adam)[.decayRate] == 0)
    var optimizer = Optimizer(.rmsprop)
    optimizer[.beta1] = 0.5
    #expect(optimizer == Optimizer(.rmsprop))
  }

  @Test func `names of optimizers, hyperparameters and vectors differ, and no optimizer has more than two vectors`() {
    let kinds = Optimizer.Kind.allCases
    #expect(Set(kinds.map(\.settingName)).count == kinds.count)
    #expect(kinds.allSatisfy { $0.slotNames.count <= Optimizer.Kind.maximumSlots })
    #expect(kinds.map(\.slotNames).map(\.count) == [0, 1, 1, 1, 1, 2, 2])
    let hyperparameters = Optimizer.Hyperparameter.allCases
    #expect(Set(hyperparameters.map(\.settingName)).count == hyperparameters.count)
  }

  /// What `Reference/optimizers.py` computed with PyTorch in double precision: weights that follow ten gradients.
  private struct PyTorch: Decodable {
    struct Run: Decodable {
      var optimizer: String
      var hyperparameters: [String: Double]
      var l2: Float
      var weights: [Double]
    }
    var gradients: [Double]
    var firstWeight: Double
    var learningRate: Float
    var runs: [Run]
  }

  @Test func `ten steps of each optimizer are those of PyTorch`() throws {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    let reference = try JSONDecoder().decode(
      PyTorch.self, from: Data(contentsOf: tests.appending(path: "Reference/optimizers.json")))
    #expect(Set(reference.runs.map(\.optimizer)) == Set(Optimizer.Kind.allCases.map(\.settingName)))
    for run in reference.runs {
      let kind = try #require(Optimizer.Kind.allCases.first { $0.settingName == run.optimizer })
      var optimizer = Optimizer(kind)
      for hyperparameter in kind.hyperparameters {
        optimizer[hyperparameter] = try #require(run.hyperparameters[hyperparameter.settingName])
      }
      let plan = TrainingPlan.fixture {
        $0.shape = ModelShape(classes: 2, pixels: 1)
        $0.optimizer = optimizer
        $0.l2 = run.l2
        $0.learningRate.base = reference.learningRate
      }
      // The weight begins where it does in PyTorch: an update by hand.
      var trainer = ReferenceTrainer(plan: plan, w: [reference.firstWeight, 0, 0, 0])
      let weights = reference.gradients.map { g in
        trainer.update(by: [g + plan.penaltyDerivative(at: trainer.w[0]), 0, 0, 0])
        return trainer.w[0]
      }
      expectClose(weights, run.weights)
    }
  }
}
