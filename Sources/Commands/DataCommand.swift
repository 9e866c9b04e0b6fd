import ArgumentParser
import Datasets
import Diagnostics

struct DataCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "data", abstract: "Check a data set or make a synthetic one.",
    subcommands: [DataCheckCommand.self, DataSynthesizeCommand.self])
}

struct DataCheckCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "check", abstract: "Check the files of a data set: counts, classes, SHA-256.",
    discussion: """
      Examples:
        descent data check data/cifar10
        descent data check data/cifar10 --json

      A data set is a directory with data_batch_1.bin, data_batch_2.bin, … and test_batch.bin. A file is a sequence of \
      records of 3,073 bytes: a label, 0 to 9, then 32 rows of 32 red values, the green plane and the blue plane. \
      batches.meta.txt, where it exists, names the ten classes, one a line. In NumPy, for images [n, 32, 32, 3] and \
      labels [n] of the type uint8:

        planes = images.transpose(0, 3, 1, 2).reshape(len(images), 3072)
        numpy.column_stack([labels, planes]).tofile("data_batch_1.bin")
      """)

  @Argument(help: "Directory with data_batch_*.bin and test_batch.bin.") var directory: String
  @Flag(help: "Print JSON.") var json = false

  func perform() throws {
    let report = try DatasetReport(directory: directory)
    print(json ? report.json : report.text, terminator: "")
  }
}

struct DataSynthesizeCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "synthesize", abstract: "Write a synthetic data set in the format of CIFAR-10.",
    discussion: """
      Examples:
        descent data synthesize data/synthetic
        descent data synthesize /tmp/tiny --train-examples 2000 --test-examples 500 --seed 7
      """)

  @Argument(help: "Directory to write; existing data files are never overwritten.") var directory: String
  @Option(help: "Examples in data_batch_1.bin to data_batch_5.bin together.")
  var trainExamples = SyntheticDataset.defaultTrainingExamples
  @Option(help: "Examples in test_batch.bin.") var testExamples = SyntheticDataset.defaultTestExamples
  @Option(help: "Another seed, other classes and images.") var seed: UInt64 = 0

  func perform() throws {
    try SyntheticDataset.write(
      to: directory, trainingExamples: trainExamples, testExamples: testExamples, seed: seed)
    print("\(directory): \(trainExamples) training and \(testExamples) test examples, synthetic")
  }
}
