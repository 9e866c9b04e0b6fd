import Datasets
import Diagnostics
import Testing

@Suite struct `SHA-256` {
  static let answers = [
    // NIST's examples for FIPS 180-4, and the digest of nothing.
    ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (
      "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    ),
  ]

  @Test(arguments: answers) func `has the digests of the standard`(text: String, digest: String) throws {
    let directory = try TemporaryDirectory()
    #expect(Array(text.utf8).withUnsafeBytes { SHA256.hexDigest(of: $0) } == digest)
    #expect(try SHA256.hexDigest(ofFile: directory.write(text.utf8, to: "file")) == digest)
  }

  @Test func `a million letters in uneven pieces, and from a file, give the digest of the standard`() throws {
    let letters = [UInt8](repeating: UInt8(ascii: "a"), count: 1_000_000)
    var hash = SHA256()
    var start = 0
    for size in [1, 63, 64, 65, 1000, 998_807] {
      letters[start..<start + size].withUnsafeBytes { hash.update($0) }
      start += size
    }
    #expect(start == letters.count)
    let expected = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
    #expect(hash.hexDigest() == expected)
    let directory = try TemporaryDirectory()
    #expect(try SHA256.hexDigest(ofFile: directory.write(letters, to: "file")) == expected)
  }

  @Test func `a missing file is a failure that names it`() throws {
    let failure = #expect(throws: Failure.self) { try SHA256.hexDigest(ofFile: "/nowhere/file") }
    #expect(failure?.status == .missingInput)
    #expect(failure?.message == "cannot read /nowhere/file")
  }
}
