import Diagnostics
import Files

/// What `descent data check DIR` reports of a data set: counts, classes, and the origin of the files.
public struct DatasetReport: Sendable, Equatable {
  /// The origin of a file's bytes, as far as it is known.
  public enum Origin: String, Sendable {
    /// The SHA-256 is that of the file of this name in the authors' archive.
    case official
    /// The official name and size, but other bytes.
    case officialSizeOtherBytes = "official-size-other-bytes"
    /// Made by `descent data synthesize`, according to the marker beside the file.
    case synthetic
    /// Only the format is right.
    case other
  }

  public struct File: Sendable, Equatable {
    public var name: String
    public var bytes: Int
    public var records: Int
    public var sha256: String
    public var origin: Origin
  }

  public struct Part: Sendable, Equatable {
    /// `training` or `test`.
    public var name: String
    public var examples: Int
    /// Examples of each class, in label order.
    public var classHistogram: [Int]
    /// As 16 hexadecimal digits: see `Dataset.fingerprint`.
    public var fingerprint: String
    public var files: [File]
  }

  /// The directory that holds the files.
  public var directory: String
  public var name: String
  public var width: Int
  public var height: Int
  public var channels: Int
  /// Whether these are the six official files of CIFAR-10 and no others.
  public var isOfficial: Bool
  public var classNames: [String]
  public var parts: [Part]
  /// Records that the files hold more than once.
  public var duplicates: [Duplicates.Pair]
  /// Sentences about what may be a mistake: duplicates, and names of files.
  public var remarks: [String]
  /// Names of files in the directory that are not read, hidden ones aside.
  public var unreadFiles: [String]

  private var shape: InputShape { InputShape(width: width, height: height, channels: channels) }

  /// Reads and checks both parts. Takes about a second for CIFAR-10, nearly all of it SHA-256.
  ///
  /// - Throws: what `Dataset` throws for either part, and its `verify` for files that change meanwhile.
  public init(directory: String) throws(Failure) {
    let training = try Dataset(directory: directory, part: .training)
    let test = try Dataset(directory: directory, part: .test)
    self.directory = training.directory
    name = training.description.name
    let shape = training.description.shape
    (width, height, channels) = (shape.width, shape.height, shape.channels)
    classNames = training.classNames
    parts = [Part(of: training), Part(of: test)]
    let files = parts.flatMap(\.files)
    isOfficial =
      files.count == CIFAR10Format.officialDigests.count && files.allSatisfy { $0.origin == .official }
    let duplicates = Duplicates(training: training, test: test, samples: false)
    self.duplicates = duplicates.pairs
    remarks = duplicates.sentences + training.remarks  // defence: duplicates
    unreadFiles = training.unreadFiles
    for dataset in [training, test] { try dataset.verify() }
  }
}

extension DatasetReport.Part {
  fileprivate init(of dataset: Dataset) {
    name = dataset.part.rawValue
    examples = dataset.count
    classHistogram = dataset.classHistogram()
    fingerprint = hexadecimal(dataset.fingerprint)
    files = dataset.files.map { file in
      let sha256 = SHA256.hexDigest(of: file.bytes)
      let official = CIFAR10Format.officialDigests[file.name]
      let hasOfficialSize = official != nil && file.recordCount == CIFAR10Format.officialRecordCount
      return DatasetReport.File(
        name: file.name, bytes: file.bytes.count, records: file.recordCount, sha256: sha256,
        origin: sha256 == official
          ? .official : dataset.isSynthetic ? .synthetic : hasOfficialSize ? .officialSizeOtherBytes : .other)
    }
  }
}

extension DatasetReport.Origin {
  fileprivate var words: String {
    switch self {
    case .official: "official"
    case .officialSizeOtherBytes: "right size, but not the official checksum"
    case .synthetic: "synthetic"
    case .other: "not an official file"
    }
  }
}

// MARK: - Renderings

extension DatasetReport {
  /// One JSON object.
  public var json: String { JSONValue(reflecting: self).indentedText }

  /// For people: a table of classes, a table of files, and what they are.
  public var text: String {
    var lines = ["\(directory): \(printable(name)), \(shape), \(classNames.count) classes"]
    for part in parts {
      lines.append("  \(part.name): \(part.examples) examples, fingerprint \(part.fingerprint)")
    }
    lines += ["", row("class", parts.map(\.name))]
    for (label, name) in classNames.enumerated() {
      lines.append(row(printable(name), parts.map { "\($0.classHistogram[label])" }))
    }
    lines.append("")
    for file in parts.flatMap(\.files) {
      lines.append("\(file.name): \(file.records) records, \(file.bytes) bytes, \(file.origin.words)")
      lines.append("  sha256 \(file.sha256)")
    }
    lines += unreadFiles.isEmpty ? [] : ["not read: " + unreadFiles.map(printable).joined(separator: ", ")]
    lines += remarks.isEmpty ? [] : [""] + remarks.map { "Note: \(printable($0))." }
    lines += ["", verdict]
    return lines.joined(separator: "\n") + "\n"
  }

  /// One sentence on what the files are.
  public var verdict: String {
    let origins = parts.flatMap { $0.files.map(\.origin) }
    if isOfficial {
      return "These are the official files of CIFAR-10 (binary version)."
    } else if shape != .cifar10 || classNames.count != CIFAR10Format.classCount {
      return origins.contains(.synthetic)
        ? "This is a synthetic set made by `descent data synthesize`." : "The records are as their description says."
    } else if origins.contains(.synthetic) {
      return "This is a synthetic set made by `descent data synthesize`, not CIFAR-10."
    } else if origins.allSatisfy({ $0 == .official || $0 == .officialSizeOtherBytes }) {
      return """
        The format, names and sizes are those of CIFAR-10, but not all bytes are those of the official files: \
        other pixels, another order, or damage.
        """
    }
    return "The format is that of CIFAR-10. These are not the official files."
  }

  private var longestName: Int { classNames.map(\.count).max() ?? 0 }

  private func row(_ name: String, _ values: [String]) -> String {
    "  " + name.padded(to: max(12, min(longestName, 32))) + values.map { " " + $0.rightAligned(to: 9) }.joined()
  }
}
