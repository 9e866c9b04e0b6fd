import Reporting
import Testing

@Suite struct RunResultTests {
  private func result(trainLoss: Double = 1.75, staleness: [UInt64] = [100]) -> RunResult {
    var result = RunResult(run: "r1", runDirectory: "runs/r1", stopReason: .targetAccuracy)
    (result.steps, result.epochs, result.examples) = (1044, 12, 534_528)
    (result.seconds, result.imagesPerSecond) = (1.5, 356_352)
    (result.trainLoss, result.validationLoss, result.validationAccuracy) = (trainLoss, 1.8, 0.39)
    result.testAccuracy = 0.4129
    result.weightsSHA256 = "abc"
    result.checkpoint = "runs/r1/checkpoints/latest"
    (result.stepSeconds.p50, result.stepSeconds.p99) = (0.001, .infinity)
    result.staleness = staleness
    result.workers = 2
    return result
  }

  @Test func `the JSON has exactly the keys promised, and null for what is not a number`() {
    let expected =
      #"{"run":"r1","run_directory":"runs/r1","stop_reason":"target-accuracy","steps":1044,"epochs":12,"#
      + #""examples":534528,"seconds":1.5,"images_per_second":356352,"train_loss":null,"validation_loss":1.8,"#
      + #""validation_accuracy":0.39,"test_loss":null,"test_accuracy":0.4129,"weights_sha256":"abc","#
      + #""checkpoint":"runs/r1/checkpoints/latest","step_seconds":{"p50":0.001,"p99":null},"staleness":[100],"#
      + #""workers":2,"slowest_worker":null}"# + "\n"
    #expect(result(trainLoss: .nan).json == expected)
  }

  @Test func `the JSON reads back as the same result`() throws {
    let written = result(staleness: [5, 3, 1])
    #expect(try RunResult(json: written.json, source: "result.json") == written)
  }

  @Test func `the text leads with the accuracy on the test set`() {
    #expect(result().text.hasPrefix("test        accuracy 41.3 %, loss -\n"))
    #expect(!result().text.contains("staleness"))
    #expect(result().text.contains("ended       target accuracy reached\n"))
    #expect(result().text.contains("step        1.000 ms median\n"))
    #expect(result(staleness: [5, 0, 1]).text.contains("staleness   0: 5, 2: 1\n"))
  }

  @Test func `the text leaves out what was not measured`() {
    let text = RunResult(run: "r1", runDirectory: "runs/r1", stopReason: .signal).text
    #expect(text.hasPrefix("test        not evaluated\ntrain       loss -\nended       interrupted by a signal\n"))
    #expect(!text.contains("validation") && !text.contains("median") && !text.contains("checkpoint"))
  }
}
