import Foundation
import TestSupport
import Testing

@Suite("The command neighbors", .serialized)
struct NeighborsCommandTests {
  private func run(_ arguments: [String], expecting status: Int32 = 0, kernel: String = "") throws -> Program.Output {
    try Program.run(
      "descent", ["neighbors", "--data", try SharedData.directory.get()] + arguments,
      environment: ["DESCENT_KERNEL": kernel], expecting: status)
  }

  @Test
  func `prints the same bytes twice, and with every instruction set`() throws {
    for more in [[], ["--folds", "3", "--distance", "l1"]] {
      let arguments = ["--json", "--k", "1,5", "--seed", "9"] + more
      let first = try run(arguments)
      #expect(try run(arguments).standardOutput == first.standardOutput)
      #expect(try run(arguments, kernel: "portable").standardOutput == first.standardOutput)
      let object = try first.object()
      #expect((object["curve"] as? [[String: Any]])?.compactMap { $0["k"] as? Int } == [1, 5])
      let accuracy = try #require(object["test_accuracy"] as? Double)
      // Chance is 10 %.
      #expect(accuracy > 0.2)
      #expect(first.standardError.contains("test: 500 of 500 examples, each against"))
    }
  }

  @Test
  func `wrong options are refused before the data are read`() throws {
    let wrong = [
      ["--k", "0"], ["--k", "1,,3"], ["--folds", "1"], ["--limit", "0"], ["--distance", "l3"],
      ["--folds", "5", "--validation-examples", "100"], ["--picture", "neighbors.gif"],
    ]
    for arguments in wrong {
      let output = try Program.run("descent", ["neighbors", "--data", "/nonexistent"] + arguments, expecting: 64)
      #expect(output.standardError.contains("descent: error: "), "\(arguments)")
    }
    try Program.run("descent", ["neighbors", "--data", "/nonexistent"], expecting: 66)
    let many = try run(["--k", "3000"], expecting: 64)
    #expect(many.standardError.contains("--k must be at most 2250, the number of examples to compare with"))
  }
}
