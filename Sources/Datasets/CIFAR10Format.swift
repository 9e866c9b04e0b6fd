/// The binary version of CIFAR-10 (Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009):
/// what is in a file, what the files are called, and which bytes the official ones have.
///
/// A record is one label byte, 0 to 9, and 3,072 pixel bytes: 32 rows of 32 red values, then the green plane,
/// then the blue one. A file is a whole number of records and nothing else.
public enum CIFAR10Format {
  public static let classCount = 10

  /// The classes in label order, as in the official `batches.meta.txt`.
  public static let classNames = [
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
  ]

  static let testFileName = "test_batch.bin"
  static let classNamesFileName = "batches.meta.txt"
  /// The directory that the official archive unpacks to.
  static let archiveDirectoryName = "cifar-10-batches-bin"
  /// Present in a directory that `SyntheticDataset` wrote.
  static let syntheticMarkerFileName = "SYNTHETIC.txt"

  /// The lines of a list of class names, without spaces at their ends; empty ones are left out.
  static func lines(of text: String) -> [String] {
    // A name begins and ends with a character that is not a space.
    text.split(whereSeparator: \.isNewline).compactMap { $0.firstMatch(of: /\S(?:.*\S)?/) }.map { String($0.0) }
  }

  static func isTrainingFileName(_ name: String) -> Bool {
    name.hasPrefix("data_batch_") && name.hasSuffix(".bin")
  }

  static func trainingFileName(_ number: Int) -> String { "data_batch_\(number).bin" }

  /// SHA-256 of the files inside the official `cifar-10-binary.tar.gz` (which itself has MD5
  /// c32a1d4ab5d03f1284b67883e8d87530 on the authors' page and SHA-256 c4a38c50…a1dd in TensorFlow Datasets).
  /// The authors publish no checksums of the single files; these are the ones that torchvision-ruby checks its
  /// downloads against, and the one of `test_batch.bin` is confirmed by other projects.
  static let officialDigests: [String: String] = [
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
  ]
  /// Every official file holds 10,000 records.
  static let officialRecordCount = 10_000
}
