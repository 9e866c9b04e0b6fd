import Reporting
import Testing

@Suite struct RunResultTests {
  private func result(trainLoss: Double = 1.75, staleness: [UInt64] = [100]) -> RunResult {
    RunResult(
      run: "r1", runDirectory: "runs/r1", stopReason: .targetAccuracy, steps: 1044, epochs: 12, examples: 534_528,
      seconds: 1.5, imagesPerSecond: 356_352, trainLoss: trainLoss, validationLoss: 1.8, validationAccuracy: 0.39,
      testLoss: nil, testAccuracy: 0.4129, weightsSHA256: "abc", checkpoint: "runs/r1/checkpoints/latest",
      stepSeconds: .init(p50: 0.001, p99: .infinity), staleness: staleness, workers: 2)
  }

  @Test func `the JSON has exactly the keys promised, and null for what is not a number`() {
    let expected =
      #"{"run":"r1","run_directory":"runs/r1","stop_reason":"target-accuracy","steps":1044,"epochs":12,"#
      + #""examples":534528,"seconds":1.5,"images_per_second":356352,"train_loss":null,"validation_loss":1.8,"#
      + #""validation_accuracy":0.39,"test_loss":null,"test_accuracy":0.4129,"weights_sha256":"abc","#
      + #""checkpoint":"runs/r1/checkpoints/latest","step_seconds":{"p50":0.001,"p99":null},"staleness":[100],"#
      + #""workers":2}"# + "\n"
    #expect(result(trainLoss: .nan).json == expected)
  }

  @Test func `the JSON reads back as the same result`() throws {
    let written = result(staleness: [5, 3, 1])
    #expect(try RunResult(json: written.json, source: "result.json") == written)
  }

  @Test func `the text leads with the accuracy on the test set`() {
    #expect(result().text.hasPrefix("test        accuracy 41.3 %, loss -\n"))
    #expect(!result().text.contains("staleness"))
    #expect(result(staleness: [5, 0, 1]).text.contains("staleness   0: 5, 2: 1\n"))
  }
}
