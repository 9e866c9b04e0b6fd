import Diagnostics
import Files

/// A synthetic data set in the format and with the file names of CIFAR-10, for machines without the real one.
///
/// A class is three patterns of soft coloured patches; an image is one pattern of its class under a random soft
/// pattern of its own, then noise. The random patterns live in the same few dimensions as those of the classes,
/// so no linear classifier separates them all: it ends between 60 and 80 % on the default sizes, and 10 %
/// is chance. Accuracies on this set say that training works and nothing about CIFAR-10.
///
/// The bytes are a function of the sizes and the seed alone: integer arithmetic only, so that every machine
/// writes the same files.
public enum SyntheticDataset {
  public static let defaultTrainingExamples = 50_000
  public static let defaultTestExamples = 10_000
  /// The most examples of one part: about 3 GB.
  public static let maximumExamples = 1_000_000

  /// Writes `data_batch_1.bin` to `data_batch_5.bin` (fewer for fewer than five examples), `test_batch.bin`,
  /// `batches.meta.txt` and a `SYNTHETIC.txt` that says what they are. Creates the directory if need be.
  ///
  /// - Parameters:
  ///   - trainingExamples: 1 to `maximumExamples`, spread over the files as evenly as possible.
  ///   - testExamples: 1 to `maximumExamples`.
  ///   - seed: another seed, other classes and other images.
  /// - Throws: `.usage` for sizes out of range; `.cannotCreate` if the directory cannot be made or already has
  ///   data files, which are never overwritten; `.inputOutput` if writing fails. After an error no data file is
  ///   left behind, except when the system fails in the middle of the final renaming.
  public static func write(
    to directory: String, trainingExamples: Int = defaultTrainingExamples,
    testExamples: Int = defaultTestExamples, seed: UInt64 = 0
  ) throws(Failure) {
    for (name, count) in [("training", trainingExamples), ("test", testExamples)] {
      guard (1...maximumExamples).contains(count) else {
        throw Failure(.usage, "the number of \(name) examples must be 1 to \(maximumExamples), but is \(count)")
      }
    }
    let fileSystem = FileSystem()
    try fileSystem.makeDirectories(directory)
    try refuseToReplace(in: directory)
    // Written into a hidden directory and moved to their names once every one is complete: the files appear together.
    let staging = fileSystem.temporaryPath(for: directory + "/staging")
    try fileSystem.makeDirectory(staging)
    defer { try? fileSystem.removeDirectory(staging) }
    var names: [String] = []
    func stage(_ name: String, _ fill: (File) throws(Failure) -> Void) throws(Failure) {
      names.append(name)
      let file = try File("\(staging)/\(name)", for: .creating)
      try fill(file)
      // Some file systems report a full disk only here.
      try file.synchronize()
    }

    // The marker first: data without it would pass for real.
    try stage(CIFAR10Format.syntheticMarkerFileName) { (file) throws(Failure) in
      try file.write(Array(markerText(trainingExamples, testExamples, seed).utf8))
    }
    try stage(CIFAR10Format.classNamesFileName) { (file) throws(Failure) in
      try file.write(Array((CIFAR10Format.classNames.joined(separator: "\n") + "\n").utf8))
    }
    let images = SyntheticImages(seed: seed)
    let fileCount = min(5, trainingExamples)
    for number in 1...fileCount {
      let range = trainingExamples * (number - 1) / fileCount..<trainingExamples * number / fileCount
      try stage(CIFAR10Format.trainingFileName(number)) { (file) throws(Failure) in
        try write(images, .training, range, to: file)
      }
    }
    try stage(CIFAR10Format.testFileName) { (file) throws(Failure) in
      try write(images, .test, 0..<testExamples, to: file)
    }
    for name in names { try fileSystem.rename("\(staging)/\(name)", to: "\(directory)/\(name)") }
  }

  private static func refuseToReplace(in directory: String) throws(Failure) {
    let existing = try CIFAR10Directory.fileNames(in: directory).filter {
      CIFAR10Format.isTrainingFileName($0) || $0 == CIFAR10Format.testFileName
    }
    guard let first = existing.sortedNaturally().first else { return }
    throw Failure(
      .cannotCreate, "\(directory) already holds \(first): data are never overwritten",
      remedy: "Name another directory, or remove the files first")
  }

  private static func write(
    _ images: SyntheticImages, _ part: CIFAR10Dataset.Part, _ range: Range<Int>, to file: File
  ) throws(Failure) {
    // In pieces that let the system use large pages.
    let pieceByteCount = 4 * MappedFile.largePageByteCount
    var piece: [UInt8] = []
    piece.reserveCapacity(pieceByteCount + CIFAR10Format.recordByteCount)
    for index in range {
      images.appendRecord(index, of: part, to: &piece)
      guard piece.count >= pieceByteCount else { continue }
      try file.write(Array(piece[..<pieceByteCount]))
      piece.removeFirst(pieceByteCount)
    }
    try file.write(piece)
  }

  private static func markerText(_ trainingExamples: Int, _ testExamples: Int, _ seed: UInt64) -> String {
    """
    These files are not CIFAR-10. They were made by `descent data synthesize` in the same format, so that
    training can be tried without the real images: \(trainingExamples) training and \(testExamples) test \
    examples, seed \(seed).
    A linear classifier is expected to end between 60 and 80 % here. That says nothing about CIFAR-10.

    """
  }
}
