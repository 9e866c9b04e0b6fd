import Datasets
import Files
import Foundation

/// The directory of the real CIFAR-10, for the tests that need it.
let realDataDirectory = ProcessInfo.processInfo.environment["DESCENT_CIFAR10"]

/// A directory of its own for one test, removed afterwards.
final class TemporaryDirectory {
  let path: String

  init() throws {
    var template = Array((FileManager.default.temporaryDirectory.path + "/descent-datasets-XXXXXX").utf8CString)
    guard let made = mkdtemp(&template) else { throw CocoaError(.fileWriteUnknown) }
    path = String(cString: made)
  }

  deinit {
    try? FileManager.default.removeItem(atPath: path)
  }

  /// Writes a file, with its directories, and returns its path.
  @discardableResult
  func write(_ bytes: some Sequence<UInt8>, to name: String) throws -> String {
    let file = path + "/" + name
    let parent = URL(fileURLWithPath: file).deletingLastPathComponent()
    try FileManager.default.createDirectory(at: parent, withIntermediateDirectories: true)
    try Data(bytes).write(to: URL(fileURLWithPath: file))
    return file
  }
}

func contents(of path: String) throws -> [UInt8] {
  [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
}

func sha256(ofFile path: String) throws -> String {
  try contents(of: path).withUnsafeBytes { SHA256.hexDigest(of: $0) }
}

/// Records with the given labels; every pixel of record i is `firstPixel` + i, modulo 256.
func records(labels: [UInt8], firstPixel: UInt8 = 0) -> [UInt8] {
  labels.enumerated().flatMap { index, label in
    [label] + [UInt8](repeating: firstPixel &+ UInt8(truncatingIfNeeded: index), count: CIFAR10Format.pixelCount)
  }
}
