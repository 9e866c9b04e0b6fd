import Diagnostics
import Files
import JSONText

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
    /// As 16 hexadecimal digits: see `CIFAR10Dataset.fingerprint`.
    public var fingerprint: String
    public var files: [File]
  }

  /// The directory that holds the files.
  public var directory: String
  public var classNames: [String]
  public var parts: [Part]
  /// Whether these are the six official files and no others.
  public var isOfficial: Bool

  /// Reads and checks both parts. Takes about a second for CIFAR-10, nearly all of it SHA-256.
  ///
  /// - Throws: what `CIFAR10Dataset` throws for either part.
  public init(directory: String) throws(Failure) {
    var parts: [Part] = []
    let training = try CIFAR10Dataset(directory: directory, part: .training)
    let test = try CIFAR10Dataset(directory: directory, part: .test)
    for dataset in [training, test] {
      parts.append(Part(of: dataset))
    }
    self.directory = training.directory
    classNames = training.classNames
    let files = parts.flatMap(\.files)
    isOfficial =
      files.count == CIFAR10Format.officialDigests.count && files.allSatisfy { $0.origin == .official }
    self.parts = parts
  }
}

extension DatasetReport.Part {
  fileprivate init(of dataset: CIFAR10Dataset) {
    name = dataset.part.rawValue
    examples = dataset.count
    classHistogram = dataset.classHistogram()
    fingerprint = hexadecimal(dataset.fingerprint)
    files = dataset.files.map { file in
      let sha256 = SHA256.hexDigest(of: file.bytes)
      return DatasetReport.File(
        name: file.name, bytes: file.bytes.count, records: file.recordCount, sha256: sha256,
        origin: DatasetReport.Origin(of: file, sha256: sha256, isSynthetic: dataset.isSynthetic))
    }
  }
}

extension DatasetReport.Origin {
  fileprivate init(of file: DataFile, sha256: String, isSynthetic: Bool) {
    let official = CIFAR10Format.officialDigests[file.name]
    self =
      if sha256 == official {
        .official
      } else if isSynthetic {
        .synthetic
      } else if official != nil && file.recordCount == CIFAR10Format.officialRecordCount {
        .officialSizeOtherBytes
      } else {
        .other
      }
  }

  fileprivate var words: String {
    switch self {
    case .official: "official"
    case .officialSizeOtherBytes: "official size, other bytes"
    case .synthetic: "synthetic"
    case .other: "not an official file"
    }
  }
}

// MARK: - Renderings

extension DatasetReport {
  /// One JSON object.
  public var json: String {
    let document: JSONValue = [
      "directory": .string(directory), "is_official": .boolean(isOfficial), "class_names": .strings(classNames),
      "parts": .array(parts.map(\.document)),
    ]
    return document.indentedText
  }

  /// For people: a table of classes, a table of files, and what they are.
  public var text: String {
    var lines = [directory]
    for part in parts {
      lines.append("  \(part.name): \(part.examples) examples, fingerprint \(part.fingerprint)")
    }
    lines += ["", row("class", parts.map(\.name))]
    for (label, name) in classNames.enumerated() {
      lines.append(row(name, parts.map { "\($0.classHistogram[label])" }))
    }
    lines.append("")
    for file in parts.flatMap(\.files) {
      lines.append("\(file.name): \(file.records) records, \(file.bytes) bytes, \(file.origin.words)")
      lines.append("  sha256 \(file.sha256)")
    }
    lines += ["", verdict]
    return lines.joined(separator: "\n") + "\n"
  }

  /// One sentence on what the files are.
  public var verdict: String {
    let origins = parts.flatMap { $0.files.map(\.origin) }
    if isOfficial {
      return "These are the official files of CIFAR-10 (binary version)."
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

  private func row(_ name: String, _ values: [String]) -> String {
    "  " + name.padded(to: 12) + values.map { " " + $0.rightAligned(to: 9) }.joined()
  }
}

extension DatasetReport.Part {
  fileprivate var document: JSONValue {
    [
      "name": .string(name), "examples": .number(examples), "class_histogram": .numbers(classHistogram),
      "fingerprint": .string(fingerprint), "files": .array(files.map(\.document)),
    ]
  }
}

extension DatasetReport.File {
  fileprivate var document: JSONValue {
    [
      "name": .string(name), "bytes": .number(bytes), "records": .number(records), "sha256": .string(sha256),
      "origin": .string(origin.rawValue),
    ]
  }
}
