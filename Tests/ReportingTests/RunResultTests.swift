import Reporting
import Testing

@Suite struct RunResultTests {
  private func result(trainDataLoss: Double = 1.75, staleness: [UInt64] = [100]) -> RunResult {
    var result = RunResult(run: "r1", runDirectory: "runs/r1", stopReason: .targetAccuracy)
    (result.steps, result.epochs, result.examples) = (1044, 12, 534_528)
    (result.seconds, result.imagesPerSecond) = (1.5, 356_352)
    (result.trainDataLoss, result.trainAccuracy) = (trainDataLoss, 0.42)
    (result.penalty, result.trainObjective, result.validationObjective) = (0.0625, trainDataLoss + 0.0625, 1.8625)
    (result.validationDataLoss, result.validationAccuracy) = (1.8, 0.39)
    (result.bestStep, result.bestValidationDataLoss, result.bestValidationAccuracy) = (957, 1.75, 0.395)
    (result.testStep, result.testAccuracy) = (1044, 0.4129)
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
      + #""examples":534528,"seconds":1.5,"images_per_second":356352,"penalty":0.0625,"train_data_loss":null,"#
      + #""train_objective":null,"train_accuracy":0.42,"validation_data_loss":1.8,"validation_objective":1.8625,"#
      + #""validation_accuracy":0.39,"best_step":957,"best_validation_data_loss":1.75,"#
      + #""best_validation_accuracy":0.395,"test_step":1044,"test_data_loss":null,"test_accuracy":0.4129,"#
      + #""synthetic":false,"weights_sha256":"abc","#
      + #""checkpoint":"runs/r1/checkpoints/latest","step_seconds":{"p50":0.001,"p99":null},"staleness":[100],"#
      + #""taken_over_shards":0,"late_shards":0,"workers":2,"slowest_worker":null}"# + "\n"
    #expect(result(trainDataLoss: .nan).json == expected)
  }

  @Test func `the JSON reads back as the same result`() throws {
    let written = result(staleness: [5, 3, 1])
    #expect(try RunResult(json: written.json, source: "result.json") == written)
  }

  @Test func `the text leads with the accuracy on the validation split`() {
    #expect(
      result().text.hasPrefix(
        """
        validation  accuracy 39.0 %, data loss 1.8000
        best        step 957: validation accuracy 39.5 %, data loss 1.7500
        test        accuracy 41.3 %, data loss - (last model, step 1,044)
        train       accuracy 42.0 %, data loss 1.7500, penalty 0.0625, objective 1.8125

        """))
    #expect(!result().text.contains("staleness"))
    #expect(result().text.contains("ended       target accuracy reached\n"))
    #expect(result().text.contains("step        1.000 ms median\n"))
    #expect(result(staleness: [5, 0, 1]).text.contains("staleness   0: 5, 2: 1\n"))
  }

  @Test func `the text leaves out what was not measured`() {
    let text = RunResult(run: "r1", runDirectory: "runs/r1", stopReason: .signal).text
    #expect(text.hasPrefix("test        not evaluated\nended       interrupted by a signal\n"))
    #expect(!text.contains("validation") && !text.contains("median") && !text.contains("checkpoint"))
  }

  @Test func `the text says of which model the test numbers are, and that the data are synthetic`() {
    var result = result()
    (result.testStep, result.testDataLoss, result.synthetic) = (957, 1.5, true)
    #expect(
      result.text.contains(
        "test        accuracy 41.3 %, data loss 1.5000 (best model, step 957; synthetic data)\n"))
  }
}
