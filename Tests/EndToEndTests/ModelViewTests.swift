import Foundation
import TestSupport
import Testing

/// The commands that look at what a model has learned.
@Suite(.serialized) struct ModelViewTests {
  @Test func `templates, explain and mistakes say the same with every instruction set, and write a picture`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run").path
      let result = try Training(workers: 0, ["max-steps": "60"]).result(in: URL(fileURLWithPath: run))
      let data = try SharedData.directory.get()
      let image = directory.appendingPathComponent("units.png").path
      try Program.run("descent", ["templates", run, "--picture", image])
      let commands = [
        ["templates", run], ["explain", image, "--checkpoint", run, "--data", data],
        ["mistakes", "--checkpoint", run, "--data", data],
      ]
      for command in commands {
        let outputs = try ["portable", ""].map { kernel in
          let picture = directory.appendingPathComponent("\(command[0])-\(kernel).svg")
          let environment = kernel.isEmpty ? [:] : ["DESCENT_KERNEL": kernel]
          let output = try Program.run(
            "descent", command + ["--json", "--picture", picture.path], environment: environment)
          return [output.standardOutput, try String(contentsOf: picture, encoding: .utf8)]
        }
        #expect(outputs[0] == outputs[1], "\(command[0])")
        #expect(outputs[0][1].hasPrefix("<svg "))
      }
      let mistakes = try Program.run("descent", commands[2] + ["--json"]).object()
      #expect(mistakes["accuracy"] as? Double == result.testAccuracy)
      let pairs = try #require(mistakes["pairs"] as? [[String: Any]])
      #expect(pairs.compactMap { $0["count"] as? Int }.reduce(0, +) == mistakes["mistakes"] as? Int)
      let explanation = try Program.run("descent", commands[1] + ["--json"]).object()
      #expect((explanation["neighbors"] as? [Any])?.count == 5)
    }
  }

  @Test func `a picture that cannot be written is refused before anything is read`() throws {
    for (picture, status) in [("a.pdf", 64), ("/nonexistent/a.svg", 73)] as [(String, Int32)] {
      for command in [["templates", "none"], ["explain", "none.png", "--checkpoint", "none"]] {
        let output = try Program.run("descent", command + ["--picture", picture], expecting: status)
        #expect(output.standardError.contains(picture))
      }
    }
    try Program.run("descent", ["mistakes", "--checkpoint", "none", "--limit", "0"], expecting: 64)
    try Program.run("descent", ["templates", "none"], expecting: 66)
  }
}
