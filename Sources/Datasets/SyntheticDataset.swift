import Diagnostics
import Files

/// Synthetic data sets, for machines without real ones and for what the lectures show on the plane.
///
/// Of the images, a class is three patterns of soft coloured patches; an image is one pattern of its class under a random
/// soft pattern of its own, then noise. The random patterns live in the same few dimensions as those of the classes,
/// so no linear classifier separates them all: of the shape and the ten classes of CIFAR-10, it ends between 60 and 80 %
/// on the default sizes, and 10 % is chance. Accuracies on this set say that training works and nothing about CIFAR-10.
///
/// The bytes are a function of kind, sizes and seed alone: integer arithmetic only, so that every machine
/// writes the same files.
public enum SyntheticDataset {
  public enum Kind: Sendable, Equatable {
    /// Pictures, or any planes of values.
    case images(InputShape, classes: Int)
    case points(PlaneSet)

    /// With the format and the file names of CIFAR-10.
    public static let cifar10 = Kind.images(.cifar10, classes: CIFAR10Format.classCount)
  }

  public static let defaultTrainingExamples = 50_000
  public static let defaultTestExamples = 10_000
  /// The most examples of one part: about 3 GB of CIFAR-10's shape.
  public static let maximumExamples = 1_000_000
  /// Each has patterns in memory.
  public static let maximumChannels = 16

  /// Writes a data set and a `SYNTHETIC.txt` that says what it is. One of the kind `cifar10` has its files: `data_batch_1.bin`
  /// to `data_batch_5.bin` (fewer for fewer than five examples), `test_batch.bin` and `batches.meta.txt`; the others have
  /// `train.bin`, `test.bin` and `dataset.json`.
  ///
  /// - Parameters:
  ///   - directory: one that does not exist or is empty; it appears whole or not at all.
  ///   - trainingExamples: 1 to `maximumExamples`, spread over the files as evenly as possible.
  ///   - testExamples: 1 to `maximumExamples`.
  ///   - seed: another seed, other classes and other images.
  /// - Throws: `.usage` for sizes out of range; `.cannotCreate` if the directory cannot be made or holds something;
  ///   `.inputOutput` if writing fails.
  public static func write(
    to directory: String, _ kind: Kind = .cifar10, trainingExamples: Int = defaultTrainingExamples,
    testExamples: Int = defaultTestExamples, seed: UInt64 = 0
  ) throws(Failure) {
    for (name, count) in [("training", trainingExamples), ("test", testExamples)] {
      guard (1...maximumExamples).contains(count) else {
        throw Failure(.usage, "the number of \(name) examples must be 1 to \(maximumExamples), but is \(count)")
      }
    }
    let description = kind.description
    if let problem = description.problem {
      throw Failure(.usage, "the \(problem.what) must be \(problem.expected), but is \(problem.found)")
    }
    guard description.shape.channels <= maximumChannels else {
      throw Failure(
        .usage, "the number of channels must be 1 to \(maximumChannels), but is \(description.shape.channels)")
    }
    let isCIFAR10 = kind == .cifar10
    let source = kind.source(seed: seed)
    try DatasetWriter.write(to: directory) { (writer) throws(Failure) in
      // The marker first: data without it would pass for real.
      try writer.write(
        marker(kind, trainingExamples, testExamples, seed), to: CIFAR10Format.syntheticMarkerFileName)
      if isCIFAR10 {
        try writer.write(
          CIFAR10Format.classNames.joined(separator: "\n") + "\n", to: CIFAR10Format.classNamesFileName)
      }
      let fileCount = isCIFAR10 ? min(5, trainingExamples) : 1
      for number in 1...fileCount {
        let file = try writer.records(isCIFAR10 ? CIFAR10Format.trainingFileName(number) : "train.bin", .training)
        for index in trainingExamples * (number - 1) / fileCount..<trainingExamples * number / fileCount {
          try source.append(index, of: .training, to: file)
        }
      }
      let file = try writer.records(isCIFAR10 ? CIFAR10Format.testFileName : "test.bin", .test)
      for index in 0..<testExamples { try source.append(index, of: .test, to: file) }
      try writer.finish(description, describe: !isCIFAR10)
    }
  }

  private static func marker(_ kind: Kind, _ trainingExamples: Int, _ testExamples: Int, _ seed: UInt64) -> String {
    let examples = "\(trainingExamples) training and \(testExamples) test examples, seed \(seed)"
    guard kind == .cifar10 else {
      return "These files were made by `descent data synthesize`: \(kind.description.name), \(examples).\n"
    }
    return """
      These files are not CIFAR-10. They were made by `descent data synthesize` in the same format, so that
      training can be tried without the real images: \(examples).
      A linear classifier is expected to end between 60 and 80 % here. That says nothing about CIFAR-10.

      """
  }
}

extension SyntheticDataset.Kind {
  fileprivate var description: DatasetDescription {
    switch self {
    case .images(let shape, let classes):
      let names = (0..<min(max(classes, 0), 257)).map { "class \($0)" }
      return DatasetDescription(
        name: "synthetic images", shape: shape, classNames: self == .cifar10 ? CIFAR10Format.classNames : names)
    case .points(let set):
      return DatasetDescription(
        name: set.rawValue, shape: InputShape(width: 1, height: 1, channels: 2), classNames: set.classNames)
    }
  }

  fileprivate func source(seed: UInt64) -> any SyntheticExamples {
    switch self {
    case .images(let shape, let classes): SyntheticImages(shape, classes: classes, seed: seed)
    case .points(let set): SyntheticPoints(set, seed: seed)
    }
  }
}

/// Examples that are functions of (seed, part, index).
protocol SyntheticExamples {
  func append(_ index: Int, of part: Dataset.Part, to file: RecordFile) throws(Failure)
}
