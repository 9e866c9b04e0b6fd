import Foundation
import TestSupport
import Testing

/// `descent lecture`, `hard-cases`, `plane` and `error-decomposition`, as they are run.
@Suite struct LectureExperimentTests {
  @Test func `lecture finds every number, in the same bytes on every instruction set`() throws {
    let outputs = try ["portable", "avx2"].map {
      try Program.run("descent", ["lecture", "--json"], environment: ["DESCENT_KERNEL": $0]).standardOutput
    }
    #expect(outputs[0] == outputs[1])
    let object = try Program.run("descent", ["lecture", "--json"]).object()
    #expect(object["count"] as? Int == object["matching"] as? Int)
    let text = try Program.run("descent", ["lecture"]).standardOutput
    #expect(text.contains("  lecture  2.04\n  found    2.0404\n"))
  }

  @Test func `plane and error-decomposition on a run, with the same bytes twice`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      _ = try Training(workers: 0, ["max-steps": "100", "epochs": "4"]).result(in: run)
      let data = try SharedData.directory.get()
      let plane = ["plane", "--checkpoint", run.path, "--data", data]
      let found = try Program.run("descent", plane + ["--json"]).object()
      let images = try #require(found["images"] as? [[String: Any]])
      #expect(Set(images.compactMap { $0["class"] as? String }).count == 3)
      #expect(images.allSatisfy { $0["class"] as? String == $0["predicted"] as? String })
      let numbers = images.compactMap { $0["example"] as? Int }.map(String.init).joined(separator: ",")
      let named = try Program.run("descent", plane + ["--json", "--images", numbers]).object()
      #expect(NSDictionary(dictionary: named) == NSDictionary(dictionary: found))
      for images in ["1,2", "1,2,2", "1,x,2", "-1,2,3", "1,2,2500"] {
        try Program.run("descent", plane + ["--images", images], expecting: 64)
      }

      let errors = ["error-decomposition", "--checkpoint", run.path, "--data", data, "--epochs", "5", "--json"]
      let outputs = try ["portable", "avx2"].map {
        try Program.run("descent", errors + ["--larger", "16"], environment: ["DESCENT_KERNEL": $0])
      }
      #expect(outputs[0].standardOutput == outputs[1].standardOutput)
      #expect(outputs[0].standardError.contains("descent: training hidden 16 relu for 5 epochs\n"))
      let experiments = try #require(try outputs[0].object()["experiments"] as? [[String: Any]])
      for experiment in experiments {
        let parts = ["optimization", "estimation", "modelling", "remainder"].compactMap { experiment[$0] as? Double }
        #expect(abs(parts.reduce(0, +) - (experiment["validation_error"] as? Double ?? 0)) < 1e-12)
      }
      let evaluation = try Program.run(
        "descent", ["evaluate", "--checkpoint", run.path, "--data", data, "--split", "validation", "--json"]
      ).object()
      let accuracy = try #require(evaluation["accuracy"] as? Double)
      // In double precision 1 − 0.55 is not 0.45.
      #expect(try abs(#require(experiments[0]["validation_error"] as? Double) - (1 - accuracy)) < 1e-15)
      try Program.run("descent", errors + ["--larger", "8"], expecting: 64)
      try Program.run("descent", errors + ["--larger", "x"], expecting: 64)
      try Program.run("descent", ["error-decomposition", "--checkpoint", run.path + "/none"], expecting: 66)
    }
  }

  @Test func `a picture that cannot be written is reported before the work`() throws {
    try TemporaryDirectory.with { directory in
      let extensions = try Program.run("descent", ["hard-cases", "--picture", "cases.pdf"], expecting: 64)
      #expect(extensions.standardError.contains("a picture must end in .svg or .png"))
      let place = directory.path + "/none/cases.svg"
      let missing = try Program.run("descent", ["hard-cases", "--picture", place], expecting: 73)
      #expect(missing.standardError.contains("cannot create \(place)"))
      try Program.run("descent", ["hard-cases", "--hidden", "0"], expecting: 64)
    }
  }
}
