import Diagnostics
import Files

/// A directory that holds CIFAR-10 binary files, found and listed but not yet read.
struct CIFAR10Directory {
  /// The directory that holds the files: the one that was named, or `cifar-10-batches-bin` inside it.
  let path: String
  /// Names of the training files in natural order: `data_batch_2.bin` before `data_batch_10.bin`.
  let trainingFileNames: [String]
  let hasTestFile: Bool
  let hasClassNames: Bool
  let isSynthetic: Bool

  static let remedy =
    "Fetch CIFAR-10 with Scripts/fetch-cifar10.sh, or make a synthetic set with `descent data synthesize DIR`"

  /// - Throws: `.missingInput` if there is no such directory or no data file in it.
  init(searching directory: String) throws(Failure) {
    let nested = directory + "/" + CIFAR10Format.archiveDirectoryName
    let named = Self(path: directory, names: try Self.fileNames(in: directory))
    if named.hasData {
      self = named
    } else if FileSystem().exists(nested) {
      self = Self(path: nested, names: try Self.fileNames(in: nested))
    } else {
      self = named
    }
    guard hasData else {
      throw Failure(
        .missingInput, "no CIFAR-10 files in \(path)", found: "neither data_batch_*.bin nor test_batch.bin",
        expected: "the binary version of CIFAR-10", remedy: Self.remedy)
    }
  }

  private init(path: String, names: [String]) {
    self.path = path
    trainingFileNames = names.filter(CIFAR10Format.isTrainingFileName).sorted(by: precedesNaturally)
    hasTestFile = names.contains(CIFAR10Format.testFileName)
    hasClassNames = names.contains(CIFAR10Format.classNamesFileName)
    isSynthetic = names.contains(CIFAR10Format.syntheticMarkerFileName)
  }

  private var hasData: Bool { !trainingFileNames.isEmpty || hasTestFile }

  /// The paths of the files of one part, in the order that numbers the examples.
  func files(of part: CIFAR10Dataset.Part) throws(Failure) -> [String] {
    let names =
      switch part {
      case .training: trainingFileNames
      case .test: hasTestFile ? [CIFAR10Format.testFileName] : []
      }
    guard !names.isEmpty else {
      let pattern = part == .training ? "data_batch_*.bin" : CIFAR10Format.testFileName
      throw Failure(
        .missingInput, "the \(part) set is not in \(path)", found: "no \(pattern)", expected: pattern,
        remedy: Self.remedy)
    }
    return names.map { path + "/" + $0 }
  }

  /// The names in `batches.meta.txt`, one a line in label order, or the official ones without that file.
  func classNames() throws(Failure) -> [String] {
    guard hasClassNames else { return CIFAR10Format.classNames }
    let file = try MappedFile(path: path + "/" + CIFAR10Format.classNamesFileName)
    guard file.bytes.count <= 4096, let text = String(validating: file.bytes, as: UTF8.self) else {
      throw Failure(
        .badData, "\(file.path) does not hold class names", found: "\(file.bytes.count) bytes",
        expected: "at most 4096 bytes of UTF-8 text")
    }
    let names = text.split(whereSeparator: \.isNewline).map(trimmingBlanks).filter { !$0.isEmpty }
    guard names.count == CIFAR10Format.classCount else {
      throw Failure(
        .badData, "\(file.path) does not name the classes", found: "\(names.count) non-empty lines",
        expected: "\(CIFAR10Format.classCount), one name a line")
    }
    return names
  }

  static func fileNames(in directory: String) throws(Failure) -> [String] {
    do {
      return try FileSystem().entries(of: directory)
    } catch {
      var failure = error
      failure.remedy = remedy
      throw failure
    }
  }
}

private func trimmingBlanks(_ line: Substring) -> String {
  let start = line.drop(while: \.isWhitespace)
  return String(start.reversed().drop(while: \.isWhitespace).reversed())
}

/// Whether `first` comes before `second` when runs of digits are compared by their value.
func precedesNaturally(_ first: String, _ second: String) -> Bool {
  var left = Array(first.utf8)[...]
  var right = Array(second.utf8)[...]
  while let leftByte = left.first, let rightByte = right.first {
    let leftDigits = left.prefix(while: isDigit)
    let rightDigits = right.prefix(while: isDigit)
    if leftDigits.isEmpty || rightDigits.isEmpty {
      if leftByte != rightByte { return leftByte < rightByte }
      left.removeFirst()
      right.removeFirst()
    } else {
      // Without leading zeros, more digits mean a larger number; no number is too long for this.
      let leftNumber = leftDigits.drop { $0 == UInt8(ascii: "0") }
      let rightNumber = rightDigits.drop { $0 == UInt8(ascii: "0") }
      if leftNumber.count != rightNumber.count { return leftNumber.count < rightNumber.count }
      if !leftNumber.elementsEqual(rightNumber) { return leftNumber.lexicographicallyPrecedes(rightNumber) }
      left.removeFirst(leftDigits.count)
      right.removeFirst(rightDigits.count)
    }
  }
  if left.count != right.count { return left.count < right.count }
  return first < second
}

private func isDigit(_ byte: UInt8) -> Bool {
  (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
}
