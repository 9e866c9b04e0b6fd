import ArgumentParser
import Datasets
import Diagnostics
import Glibc
import NodeRuntime
import Reporting

extension ImportOptions.Labels: ExpressibleByArgument {}

struct DataImportCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "import", abstract: "Make a data set from files in another format.",
    discussion: """
      Examples:
        descent data import cifar-10-batches-py data/cifar10
        descent data import cifar-100-python data/cifar100 --labels coarse
        descent data import MNIST/raw data/mnist
        descent data import photos data/photos --size 64 --test-share 0.1 --seed 3
        descent data import mnist.npz data/mnist

      SOURCE is recognized by its names and first bytes:

        CIFAR-10, CIFAR-100   the directory of the Python version (nothing in it is executed), or of CIFAR-100's binary \
      version
        IDX                   train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-…, or .gz of them, as MNIST and \
      Fashion-MNIST have them
        pictures              a folder of PNG and JPEG files for each class, also below train and test (or val), as \
      torchvision's ImageFolder reads them; a picture becomes an example as `descent predict` makes it one
        FILE.npz              x_train, y_train, x_test, y_test, or images, labels: uint8 [n, height, width], [n, height, \
      width, 1 or 3] or [n, 1 or 3, height, width]; integers [n]

      DIR must not exist or be empty; it appears whole or not at all. A source without a test set is split: the same share \
      of each class becomes the test set, chosen by the seed.
      """)

  @Argument(help: "Directory or file to import.", completion: .directory) var source: String
  @Argument(help: "Directory of the new data set.", completion: .directory) var directory: String
  @Option(help: "Name of the data set. Default: that of the source.") var name: String?
  @Option(help: "Which labels of CIFAR-100: fine (100 classes) or coarse (20).") var labels: ImportOptions.Labels?
  @Option(help: ArgumentHelp("Names of the classes in label order, where the source has numbers.", valueName: "a,b,…"))
  var classes: String?
  @Option(help: ArgumentHelp("Width and height that pictures are scaled to. Default: 32.", valueName: "n|WxH"))
  var size: PictureSize?
  @Flag(help: "Make pictures grey (ITU-R BT.601).") var grayscale = false
  @Option(help: "Share of each class for the test set, where the source has none. Default: 0.2.") var testShare: Double?
  @Option(help: "Seed of that choice. Default: 0.") var seed: UInt64?
  @Flag(help: "Leave out pictures that cannot be read; otherwise nothing is imported.") var skipBad = false
  @Flag(name: .shortAndLong, help: "Write nothing but errors to standard error.") var quiet = false
  @Flag(help: "Print the result as one JSON object on standard output.") var json = false

  func perform() throws {
    var options = ImportOptions()
    (options.name, options.labels, options.size) = (name, labels, size)
    (options.testShare, options.seed) = (testShare, seed)
    options.classes = classes?.split(separator: ",", omittingEmptySubsequences: false).map {
      $0.trimming(\.isWhitespace)
    }
    options.grayscale = grayscale ? true : nil
    options.skipBad = skipBad ? true : nil
    // Held back, so that what was written is removed before the process ends.
    holdTerminationSignals()
    var display = ImportDisplay(isQuiet: quiet)
    defer { display.end() }
    let summary = try DatasetImport.run(source, to: directory, options: options) { (count) throws(Failure) in
      if let signal = pendingTerminationSignal() {
        throw Failure(.stoppedBySignal, "stopped by \(signalName(signal)): nothing was imported")
      }
      display.show(count)
    }
    display.end()
    for remark in summary.remarks where !quiet { StandardError.write("descent: note: \(printable(remark))\n") }
    let description = summary.description
    guard !json else {
      let result: JSONValue = [
        "directory": .string(directory), "format": .string(summary.format), "name": .string(description.name),
        "width": .number(description.shape.width), "height": .number(description.shape.height),
        "channels": .number(description.shape.channels), "classes": .strings(description.classNames),
        "training_examples": .number(summary.trainingExamples), "test_examples": .number(summary.testExamples),
        "remarks": .strings(summary.remarks),
      ]
      return print(result.indentedText, terminator: "")
    }
    print(
      "\(directory): \(printable(description.name)) from \(summary.format): \(description.shape), "
        + "\(description.classes) classes, \(grouped(UInt64(summary.trainingExamples))) training and "
        + "\(grouped(UInt64(summary.testExamples))) test examples")
  }
}

/// How far a long import is, on standard error: a line that is rewritten on a terminal, otherwise a line now and then.
private struct ImportDisplay {
  let isQuiet: Bool
  private var next = ContinuousClock.now + .seconds(1)
  private var hasLine = false

  init(isQuiet: Bool) { self.isQuiet = isQuiet }

  mutating func show(_ count: Int) {
    guard !isQuiet, ContinuousClock.now >= next else { return }
    let isTerminal = StandardError.isTerminal
    next = .now + (isTerminal ? .milliseconds(200) : .seconds(10))
    hasLine = isTerminal
    StandardError.write(
      (isTerminal ? "\r" : "descent: ") + "\(grouped(UInt64(count))) examples" + (isTerminal ? "" : "\n"))
  }

  mutating func end() {
    if hasLine { StandardError.write("\n") }
    hasLine = false
  }
}
