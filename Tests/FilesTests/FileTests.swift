import Diagnostics
import Files
import Glibc
import Testing

@Suite final class `Files and directories` {
  private let files = FileSystem()
  private let directory: String

  init() throws {
    var template = Array("/tmp/descent-files-XXXXXX".utf8CString)
    directory = try #require(mkdtemp(&template).map { String(cString: $0) })
  }

  deinit {
    for name in (try? files.entries(of: directory)) ?? [] { try? files.unlink("\(directory)/\(name)") }
    rmdir(directory)
  }

  @Test func `an error names the path and the reason`() {
    let missing = #expect(throws: Failure.self) { try files.read("/nowhere/file", limit: 1) }
    #expect(missing == Failure(.missingInput, "cannot read /nowhere/file: No such file or directory"))
    let refused = #expect(throws: Failure.self) { try files.makeDirectories("/proc/x/y", remedy: "Choose another") }
    #expect(refused?.status == .cannotCreate && refused?.remedy == "Choose another")
    #expect(refused?.message.hasPrefix("cannot create the directory /proc/x: ") == true)
  }

  @Test func `a file is replaced as a whole and leaves nothing beside it`() throws {
    let path = directory + "/file"
    try files.replace(path, with: "old")
    let old = try #require(files.status(of: path))
    try files.replace(path, with: Array("new".utf8), permissions: 0o600)
    let new = try #require(files.status(of: path))
    #expect(try files.text(of: path) == "new" && files.entries(of: directory) == ["file"])
    #expect(old != new && new.permissions == 0o600 && new.kind == .file && new.byteCount == 3)
  }

  @Test func `what a killed writer has left is removed, and nothing that is another file's`() throws {
    let left = [".tmp-file-0123456789abcdef", ".tmp-file-fedcba9876543210"]
    let others = [".tmp-a-file-0123456789abcdef", ".tmp-file-0123456789abcde", ".tmp-file-a-0123456789abcdef", "file"]
    for name in left + others { try files.replace("\(directory)/\(name)", with: name) }
    files.removeUnfinished(["\(directory)/file", "\(directory)/none", "\(directory)/none/file"])
    #expect(try files.entries(of: directory) == others.sorted())
  }

  @Test func `a link is replaced, and refused where links are not followed`() throws {
    try files.replace(directory + "/a", with: "1")
    try files.replacePointer(directory + "/link", target: "nothing")
    try files.replacePointer(directory + "/link", target: "a")
    #expect(files.symbolicLinkTarget(directory + "/link") == "a")
    #expect(try files.text(of: directory + "/link") == "1")
    let failure = #expect(throws: Failure.self) { try files.read(directory + "/link", limit: 9) }
    #expect(failure == Failure(.badData, "cannot read \(directory)/link: a symbolic link"))
  }

  @Test func `a file of another size or kind than expected is refused`() throws {
    try files.replace(directory + "/file", with: "four")
    #expect(throws: Failure.self) { try files.read(directory + "/file", limit: 3) }
    #expect(try files.read(directory + "/file", limit: 4) == Array("four".utf8))
    let failure = #expect(throws: Failure.self) { try files.read(directory, limit: 4) }
    #expect(failure == Failure(.badData, "\(directory) is not a regular file"))
    // Opening a pipe to which nothing is written must not wait.
    #expect(mkfifo(directory + "/pipe", 0o600) == 0)
    #expect(throws: Failure.self) { try files.read(directory + "/pipe", limit: 4) }
  }

  @Test func `a path is split at its last slash, whatever follows it`() {
    let cases = [
      ("a", ".", "a"), ("/a", "/", "a"), ("a/b", "a", "b"), ("/a/b", "/a", "b"), ("a/\u{301}b", "a", "\u{301}b"),
      ("a\r/\nb", "a\r", "\nb"), ("a/", "a", ""),
    ]
    for (path, directory, name) in cases {
      let found = FileSystem.split(path)
      #expect(Array(found.directory.utf8) == Array(directory.utf8) && Array(found.name.utf8) == Array(name.utf8))
    }
  }

  @Test func `a name that is not UTF-8 is left out of a listing, never repaired`() throws {
    let name: [CChar] = Array("\(directory)/a".utf8CString.dropLast()) + [-1, 0]
    close(open(name, O_CREAT | O_WRONLY, 0o644))
    defer { unlink(name) }
    try files.replace(directory + "/b", with: "")
    #expect(try files.entries(of: directory) == ["b"])
  }

  @Test func `lines are appended, and cut off`() throws {
    let path = directory + "/lines"
    for line in ["one", "two"] { try File(path, for: .appending).append(line: Array(line.utf8)) }
    #expect(try files.text(of: path) == "one\ntwo\n")
    try File(path, for: .appending).truncate(to: 4)
    #expect(try File(path, for: .reading).read(limit: 10) == Array("one\n".utf8))
  }

  @Test func `a lock excludes others until its holder is gone`() throws {
    let path = directory + "/lock"
    var first: File? = try File(path, for: .locking)
    #expect(try first?.lock() == .acquired)
    let second = try File(path, for: .reading)
    #expect(try second.lock(shared: true) == .held && second.lock() == .held)
    first = nil
    #expect(try second.lock(shared: true) == .acquired)
    #expect(try File(path, for: .reading).lock(shared: true) == .acquired)
  }
}
