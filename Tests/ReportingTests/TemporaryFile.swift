import Glibc

/// A path in a directory of its own, removed afterwards with what the test put there.
func withTemporaryFile<Result>(_ body: (String) throws -> Result) throws -> Result {
  var template = Array("/tmp/descent-reporting-XXXXXX".utf8CString)
  guard mkdtemp(&template) != nil else { throw TemporaryFileError() }
  let directory = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
  let path = directory + "/file"
  defer {
    unlink(path)
    rmdir(directory)
  }
  return try body(path)
}

struct TemporaryFileError: Error {}
