import Diagnostics
import Files

/// Files that appear in a directory all together: they are written into a hidden directory inside it and moved to their
/// names once every one of them is complete.
final class StagedDirectory {
  private let path: String
  private let staging: String
  private var names: [String] = []

  /// Creates the directory, with its parents, if it does not exist.
  ///
  /// - Throws: `.cannotCreate`.
  init(_ path: String) throws(Failure) {
    self.path = path
    staging = FileSystem().temporaryPath(for: path + "/staging")
    try FileSystem().makeDirectories(path)
    try FileSystem().makeDirectory(staging)
  }

  deinit { try? FileSystem().removeDirectory(staging) }

  /// - Throws: `.cannotCreate` if the directory already holds a file for which `isProtected` is true.
  func refuseToReplace(where isProtected: (String) -> Bool) throws(Failure) {
    let existing = try CIFAR10Directory.fileNames(in: path).filter(isProtected).sorted(by: precedesNaturally)
    guard let first = existing.first else { return }
    throw Failure(
      .cannotCreate, "\(path) already holds data, which is never overwritten", found: first,
      expected: "a directory without data files", remedy: "Name another directory, or remove the files first")
  }

  /// Writes one file into the staging directory. When this returns, its bytes are on the disk: some file systems report
  /// a full disk only then.
  ///
  /// - Throws: `.cannotCreate` or `.inputOutput` if writing fails, and what `fill` throws.
  func write(_ name: String, _ fill: (File) throws(Failure) -> Void) throws(Failure) {
    names.append(name)
    let file = try File(staging + "/" + name, for: .creating)
    try fill(file)
    try file.synchronize()
  }

  /// Moves the files to their names, in the order in which they were written.
  func publish() throws(Failure) {
    for name in names { try FileSystem().rename(staging + "/" + name, to: path + "/" + name) }
  }
}
