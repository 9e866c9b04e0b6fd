import Diagnostics
import Glibc

/// Files that appear in a directory all together: they are written into a hidden directory inside it and moved
/// to their names once every one of them is complete.
final class StagedDirectory {
  private let path: String
  private let staging: String
  private var names: [String] = []

  /// Creates the directory, with its parents, if it is not there.
  ///
  /// - Throws: `.cannotCreate`.
  init(_ path: String) throws(Failure) {
    self.path = path
    staging = path + "/.staging-\(getpid())"
    try Self.createDirectories(path)
    guard mkdir(staging, 0o777) == 0 else {
      throw Failure(.cannotCreate, "cannot write into \(path)", found: systemErrorText())
    }
  }

  deinit {
    for name in names {
      unlink(staging + "/" + name)
    }
    rmdir(staging)
  }

  /// - Throws: `.cannotCreate` if the directory already holds a file for which `isProtected` is true.
  func refuseToReplace(where isProtected: (String) -> Bool) throws(Failure) {
    let existing = try CIFAR10Directory.fileNames(in: path).filter(isProtected).sorted(by: precedesNaturally)
    guard let first = existing.first else { return }
    throw Failure(
      .cannotCreate, "\(path) already holds data, which is never overwritten", found: first,
      expected: "a directory without data files", remedy: "Name another directory, or remove the files first")
  }

  /// Writes one file into the staging area.
  ///
  /// - Throws: `.inputOutput` if writing fails, and what `fill` throws.
  func write(_ name: String, _ fill: (borrowing OutputFile) throws(Failure) -> Void) throws(Failure) {
    names.append(name)
    let file = try OutputFile(path: staging + "/" + name)
    try fill(file)
    try file.finish()
  }

  /// Moves the files to their names, in the order in which they were written.
  func publish() throws(Failure) {
    for name in names {
      guard rename(staging + "/" + name, path + "/" + name) == 0 else {
        throw Failure(.inputOutput, "cannot move \(name) into \(path)", found: systemErrorText())
      }
    }
    names = []
  }

  private static func createDirectories(_ path: String) throws(Failure) {
    var prefix = path.hasPrefix("/") ? "/" : ""
    for component in path.split(separator: "/") {
      prefix += component + "/"
      guard mkdir(prefix, 0o777) == 0 || errno == EEXIST else {
        throw Failure(.cannotCreate, "cannot create the directory \(prefix)", found: systemErrorText())
      }
    }
  }
}

/// A file being written from its beginning to its end.
struct OutputFile: ~Copyable {
  private let path: String
  private let descriptor: Int32

  init(path: String) throws(Failure) {
    self.path = path
    descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else {
      throw Failure(.cannotCreate, "cannot create \(path)", found: systemErrorText())
    }
  }

  deinit {
    close(descriptor)
  }

  func append(_ bytes: ArraySlice<UInt8>) throws(Failure) {
    var rest = bytes
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
      if count >= 0 {
        rest = rest.dropFirst(count)
      } else if errno != EINTR {
        throw Failure(
          .inputOutput, "writing \(path) failed after \(bytes.count - rest.count) bytes", found: systemErrorText())
      }
    }
  }

  /// Waits until the bytes are on the disk: some file systems report a full disk only here.
  func finish() throws(Failure) {
    guard fsync(descriptor) == 0 else {
      throw Failure(.inputOutput, "writing \(path) failed", found: systemErrorText())
    }
  }
}
