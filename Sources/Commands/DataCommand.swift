import ArgumentParser
import Datasets
import Diagnostics
import NodeRuntime
import Reporting

struct DataCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "data", abstract: "Import a data set, check one, or make a synthetic one.",
    subcommands: [DataImportCommand.self, DataCheckCommand.self, DataSynthesizeCommand.self])
}

struct DataCheckCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "check", abstract: "Check the files of a data set: counts, classes, SHA-256.",
    discussion: """
      Examples:
        descent data check data/cifar10
        descent data check data/mnist --json

      A data set is a directory with files of records and dataset.json. A record is a label byte, 0 to K-1, and the pixel \
      bytes: for each channel its rows from top to bottom. dataset.json has exactly these keys:

        {"name": "MNIST", "width": 28, "height": 28, "channels": 1, "classes": ["0", "1", …],
         "train": ["train.bin"], "test": ["test.bin"]}

      From 2 to 256 classes, and from 2 to 1,048,576 bytes of pixels. The binary version of CIFAR-10, data_batch_1.bin, \
      data_batch_2.bin, … and test_batch.bin, needs no dataset.json; batches.meta.txt, where it exists, names its ten \
      classes, one a line. In NumPy, for images [n, height, width, channels] and labels [n] of the type uint8:

        planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        numpy.column_stack([labels, planes]).tofile("train.bin")
      """)

  @Argument(help: "Directory of the data set.", completion: .directory) var directory: String
  @Flag(help: "Print JSON.") var json = false

  func perform() throws {
    let report = try DatasetReport(directory: directory)
    print(json ? report.json : report.text, terminator: "")
  }
}

extension SyntheticSet: ExpressibleByArgument {}

/// What `descent data synthesize` makes.
enum SyntheticSet: String, CaseIterable {
  case images, quadrants, ring
  case threeModes = "three-modes"
}

extension PictureSize: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}

struct DataSynthesizeCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "synthesize", abstract: "Write a synthetic data set.",
    discussion: """
      Examples:
        descent data synthesize data/synthetic
        descent data synthesize /tmp/tiny --train-examples 2000 --test-examples 500 --seed 7
        descent data synthesize /tmp/grey --size 28 --channels 1 --classes 26
        descent data synthesize /tmp/ring --set ring --train-examples 4000 --test-examples 1000

      images are soft coloured patches, by default of the format and with the file names of CIFAR-10. quadrants, ring and \
      three-modes are two classes of points in the plane that no linear classifier separates (CS231n, "Linear \
      Classification"): an example is two bytes, x and y, and a coordinate of the lecture is (byte - 127.5) / 51.
      """)

  @Argument(help: "Directory to write, which must not exist or be empty.", completion: .directory) var directory: String
  @Option(help: "images, quadrants, ring or three-modes.") var set = SyntheticSet.images
  @Option(help: ArgumentHelp("Pixels of the side of a square image, or WxH.", valueName: "n|WxH"))
  var size: PictureSize?
  @Option(help: "Channels of an image, 1 to 16.") var channels: Int?
  @Option(help: "Classes of images, 2 to 256.") var classes: Int?
  @Option(help: "Examples in the training files together.")
  var trainExamples = SyntheticDataset.defaultTrainingExamples
  @Option(help: "Examples in the test file.") var testExamples = SyntheticDataset.defaultTestExamples
  @Option(help: "Another seed, other classes and images.") var seed: UInt64 = 0

  func validate() throws {
    guard set != .images else {
      if let channels, channels < 1 { throw ValidationError("--channels must be at least 1") }
      return
    }
    if size != nil || channels != nil || classes != nil {
      throw ValidationError("--size, --channels and --classes have no meaning for points in the plane")
    }
  }

  private var kind: SyntheticDataset.Kind {
    if let points = PlaneSet(rawValue: set.rawValue) { return .points(points) }
    let (size, usual) = (size, InputShape.cifar10)
    return .images(
      InputShape(
        width: size?.width ?? usual.width, height: size?.height ?? usual.height, channels: channels ?? usual.channels),
      classes: classes ?? CIFAR10Format.classCount)
  }

  func perform() throws {
    try SyntheticDataset.write(
      to: directory, kind, trainingExamples: trainExamples, testExamples: testExamples, seed: seed)
    print("\(directory): \(trainExamples) training and \(testExamples) test examples, synthetic")
  }
}
