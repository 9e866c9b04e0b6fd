import Diagnostics
import Files

/// What the record files of a directory hold: the content of `dataset.json` beside them. A record is a label byte, 0 to
/// K − 1, and D pixel bytes, the planes of the channels one after the other.
public struct DatasetDescription: Sendable, Equatable {
  public static let fileName = "dataset.json"
  /// K; a label is one byte.
  public static let allowedClasses = 2...256

  /// For people: "MNIST".
  public var name: String
  public var shape: InputShape
  /// In label order, K names that differ.
  public var classNames: [String]
  /// Names of files in the directory, in the order that numbers the examples.
  public var trainingFiles: [String] = []
  public var testFiles: [String] = []

  public init(name: String, shape: InputShape, classNames: [String]) {
    (self.name, self.shape, self.classNames) = (name, shape, classNames)
  }

  /// D, the pixel bytes of a record.
  public var pixels: Int { shape.pixels }
  /// K.
  public var classes: Int { classNames.count }
  /// The label and the pixels.
  public var recordByteCount: Int { 1 + shape.pixels }

  func files(of part: Dataset.Part) -> [String] { part == .training ? trainingFiles : testFiles }

  // MARK: JSON

  /// Of a file that lists every class this is a hundred times enough.
  private static let sizeLimit = 1 << 20

  /// Reads `dataset.json`. Every key must be there, and no other.
  ///
  /// - Throws: `.badData` with the file, the key, its value and what is allowed.
  package init(path: String) throws(Failure) {
    let fields = try JSONFields(
      parsing: FileSystem().read(path, limit: Self.sizeLimit, followingLinks: true), source: path)
    try fields.requireExactly(["name", "width", "height", "channels", "classes", "train", "test"])
    name = try fields["name"]
    let sides = try ["width", "height", "channels"].map { (key) throws(Failure) in
      let side: Int = try fields[key]
      guard InputShape.allowedPixels.upperBound >= side, side >= 1 else {
        throw Failure(
          .badData, "\(path): wrong value of \"\(key)\"", found: "\(side)",
          expected: "1 to \(InputShape.allowedPixels.upperBound)")
      }
      return side
    }
    shape = InputShape(width: sides[0], height: sides[1], channels: sides[2])
    classNames = try fields["classes"]
    trainingFiles = try fields["train"]
    testFiles = try fields["test"]
    if let problem = problem ?? fileProblem {
      throw Failure(.badData, "\(path): \(problem.what)", found: problem.found, expected: problem.expected)
    }
  }

  /// What contradicts the bounds of a data set, whatever its files are; nil for a description that can be used.
  var problem: (what: String, found: String, expected: String)? {
    guard InputShape.allowedPixels.contains(pixels) else {
      return (
        "width, height and channels", "\(shape.width) × \(shape.height) × \(shape.channels) values",
        "a product of \(InputShape.allowedPixels.lowerBound) to \(InputShape.allowedPixels.upperBound)"
      )
    }
    guard Self.allowedClasses.contains(classes) else {
      return (
        "number of classes", "\(classes)",
        "\(Self.allowedClasses.lowerBound) to \(Self.allowedClasses.upperBound) names"
      )
    }
    var seen: Set<String> = []
    for (label, name) in classNames.enumerated() {
      guard !name.isEmpty, name.utf8.count <= 255, seen.insert(name).inserted else {
        return ("name of class \(label)", "\"\(name.prefix(80))\"", "1 to 255 bytes, and a name for each class")
      }
    }
    return nil
  }

  /// What is wrong with the names of files.
  private var fileProblem: (what: String, found: String, expected: String)? {
    let files = trainingFiles + testFiles
    if files.isEmpty { return ("\"train\" and \"test\"", "no file", "at least one") }
    // Only names: a path in a file never decides what is opened.
    for (index, file) in files.enumerated() {
      guard !file.isEmpty, !file.hasPrefix("."), !file.utf8.contains(UInt8(ascii: "/")), !file.utf8.contains(0),
        file != Self.fileName, !files[..<index].contains(file)
      else {
        return ("name of a record file", "\"\(file.prefix(80))\"", "a file beside \(Self.fileName), listed once")
      }
    }
    return nil
  }

  /// The text of `dataset.json`.
  package var json: String {
    let value: JSONValue = [
      "name": .string(name), "width": .number(shape.width), "height": .number(shape.height),
      "channels": .number(shape.channels), "classes": .strings(classNames), "train": .strings(trainingFiles),
      "test": .strings(testFiles),
    ]
    return value.indentedText
  }
}
