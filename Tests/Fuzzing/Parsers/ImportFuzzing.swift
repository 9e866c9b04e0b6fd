import Datasets
import Diagnostics
import Files
import Glibc

/// `descent data import` of one source after the other: whatever its files hold, they are refused with a typed error, or
/// become a data set that has the examples which the import counted.
///
/// An input is a byte for the format, then one file, which stands for each file that the format needs; of IDX two behind
/// each other, as the number of bytes in front of the first says.
enum ImportFuzzing {
  /// In memory, where there is such a place: each input becomes files.
  private static let directory: String = {
    let parent = FileSystem().kind(of: "/dev/shm", followingLinks: true) == .directory ? "/dev/shm" : "/tmp"
    return "\(parent)/fuzzed-import-\(getpid())"
  }()

  /// The names of the files of each format; two names share the bytes between them if the format has pairs.
  private static let formats: [(names: [String], isPair: Bool)] = [
    (["data_batch_1", "test_batch"], false),
    (["train", "test", "meta"], false),
    (["train.bin", "test.bin"], false),
    (["train-images-idx3-ubyte", "train-labels-idx1-ubyte"], true),
    (["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"], true),
    (["set.npz"], false),
  ]

  static func run(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
    guard let first = bytes.first else { return }
    defer {
      for path in ["/source", "/set", ""] { try? FileSystem().removeDirectory(directory + path) }
    }
    do throws(Failure) {
      try check(formats[Int(first) % formats.count], Array(bytes.dropFirst()))
    } catch {
      guard [.badData, .missingInput].contains(error.status) else { throw Finding("\(error)") }
    }
  }

  private static func check(_ format: (names: [String], isPair: Bool), _ bytes: [UInt8]) throws(Failure) {
    var contents = [[UInt8]](repeating: bytes, count: format.names.count)
    if format.isPair {
      let cut = min(bytes.count, 2 + bytes.prefix(2).reversed().reduce(0) { $0 << 8 | Int($1) })
      contents = [Array(bytes[min(2, cut)..<cut]), Array(bytes[cut...])]
    }
    let source = directory + "/source"
    try FileSystem().makeDirectories(source)
    for (name, content) in zip(format.names, contents) {
      try FileSystem().replace(source + "/" + name, with: content)
    }
    let isFile = format.names.count == 1
    let summary = try DatasetImport.run(isFile ? source + "/" + format.names[0] : source, to: directory + "/set")
    for (part, count) in [(Dataset.Part.training, summary.trainingExamples), (.test, summary.testExamples)] {
      let found = try Dataset(directory: directory + "/set", part: part).count
      guard found == count else {
        throw Failure(.internalError, "a set of \(found) examples, of which the import counted \(count)")
      }
    }
  }
}
