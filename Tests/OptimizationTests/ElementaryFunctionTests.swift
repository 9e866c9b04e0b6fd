import Foundation
import Optimization
import Testing

@Suite struct ElementaryFunctionTests {
  @Test
  func `cos 2πu is within 2⁻⁵² of the C library's, and exact at quarter turns`() {
    for index in -4_000...4_000 {
      let turns = Double(index) / 1_000
      // The library's argument is rounded, so its distance from ours may be that of the arguments.
      let argument = 2 * Double.pi * turns
      #expect(abs(ElementaryFunctions.cosineOfTurns(turns) - cos(argument)) <= 0x1p-52 + argument.ulp)
    }
    #expect(
      [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1].map(ElementaryFunctions.cosineOfTurns)
        == [1, 0, -1, 0, 1, 0, -1, 0, 1])
    #expect(ElementaryFunctions.cosineOfTurns(.infinity).isNaN)
  }

  @Test
  func `the logarithm is within two units in the last place of the C library's`() {
    for exponent in -1_074...1_023 {
      for significand in [1, 1.25, 1.4142, 1.4143, 1.999] {
        let x = Double(sign: .plus, exponent: exponent, significand: significand)
        #expect(abs(ElementaryFunctions.logarithm(x) - log(x)) <= 2 * log(x).ulp, "at \(x)")
      }
    }
    for index in -1_000...1_000 {
      let x = 1 + Double(index) * 0x1p-14
      #expect(abs(ElementaryFunctions.logarithm(x) - log(x)) <= 2 * log(x).ulp, "at \(x)")
    }
    #expect(ElementaryFunctions.logarithm(1) == 0)
    #expect(ElementaryFunctions.logarithm(0) == -.infinity)
    #expect(ElementaryFunctions.logarithm(.infinity) == .infinity)
    #expect(ElementaryFunctions.logarithm(-1).isNaN)
    #expect(ElementaryFunctions.logarithm(.nan).isNaN)
  }

  @Test
  func `the exponential is within two units in the last place of the C library's`() {
    for index in -7_450...7_090 {
      let x = Double(index) / 10
      #expect(abs(ElementaryFunctions.exponential(x) - exp(x)) <= 2 * exp(x).ulp, "at \(x)")
    }
    #expect(ElementaryFunctions.exponential(0) == 1)
    #expect(ElementaryFunctions.exponential(-.infinity) == 0)
    #expect(ElementaryFunctions.exponential(1_000) == .infinity)
    #expect(ElementaryFunctions.exponential(.nan).isNaN)
  }
}
