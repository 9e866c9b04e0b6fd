import Foundation
import TestSupport
import Testing

@Suite struct LossAndSlopeTests {
  private static let commands = [
    ["random-search", "--tries", "12", "--limit", "300"],
    ["follow-slope", "--epochs", "2", "--limit", "400", "--batch-sizes", "1,16,all"],
    ["step-sizes", "--limit", "300"],
    ["loss-surface", "--points", "5", "--examples", "1,100,300", "--along", "gradient"],
    ["gradient-check", "--table", "3", "--batch-size", "64", "--validation-examples", "500"],
  ]

  @Test(arguments: commands)
  func `each experiment prints one object with --json, the same with the slowest kernels`(command: [String]) throws {
    let arguments = command + ["--data", try SharedData.directory.get(), "--json"]
    let output = try Program.run("descent", arguments)
    #expect(try output.object()["loss_function"] is String)
    let portable = try Program.run("descent", arguments, environment: ["DESCENT_KERNEL": "portable"])
    #expect(portable.standardOutput == output.standardOutput)
    let text = try Program.run("descent", arguments.dropLast()).standardOutput
    #expect(text.split(separator: "\n").count >= 4 && !text.contains("nan"))
  }

  @Test(arguments: [
    (["random-search", "--tries", "0"], "--tries must be"), (["random-search", "--scale", "0"], "--scale must be"),
    (["random-search", "--limit", "3000"], "--limit must be 1 to 2500"),
    (["follow-slope", "--batch-sizes", "1,0"], "1,0"), (["follow-slope", "--batch-sizes", "9000"], "1 to 2250"),
    (["follow-slope", "--validation-examples", "2500"], "--validation-examples must be 1 to 2499"),
    (["step-sizes", "--from", "0.5"], "0.5"), (["step-sizes", "--from", "1", "--to", "0.1"], "--from must be less"),
    (["loss-surface", "--points", "4"], "--points must be odd"),
    (["loss-surface", "--examples", "2501"], "1 to 2500"),
    (["loss-surface", "--along", "gradient", "--loss", "softmax", "--picture", "x.gif"], ".svg or .png"),
    (["gradient-check", "--table", "0"], "--table must be"), (["gradient-check", "--table", "3", "--all"], "--all"),
  ])
  func `bad input is refused before the work`(arguments: [String], message: String) throws {
    let data = try SharedData.directory.get()
    let isWithoutData = arguments.contains("--all")
    let output = try Program.run("descent", arguments + (isWithoutData ? [] : ["--data", data]), expecting: 64)
    #expect(output.standardError.contains(message), "\(output.standardError)")
  }
}
