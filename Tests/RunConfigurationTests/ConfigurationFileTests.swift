import Diagnostics
import RunConfiguration
import Testing

@Suite struct ConfigurationFileTests {
  private func entries(_ text: String) throws -> [ConfigurationFile.Entry] {
    try ConfigurationFile(text: text, path: "train.yaml").entries
  }

  private func failure(_ text: String) -> Failure? {
    #expect(throws: Failure.self) { try ConfigurationFile(text: text, path: "train.yaml") }
  }

  @Test func `reads keys, values and lines`() throws {
    let found = try entries("# a comment\n---\nseed: 7   # mine\n\nrun-dir: \"runs/a: b\"\ndata:\nloss: 'svm'\n")
    #expect(found.map(\.key) == ["seed", "run-dir", "data", "loss"])
    #expect(found.map(\.value) == ["7", "runs/a: b", nil, "svm"])
    #expect(found.map(\.line) == [3, 5, 6, 7])
  }

  @Test func `reads quoted values as YAML does`() throws {
    let text = #"""
      run-dir: 'it''s # not: a comment'   # this is
      data: "a \"b\" \\ \u00e4 \n # not"
      loss: svm# part of it
      resume: a:b
      key: ~
      keys: "null"
      """#
    let expected = ["it's # not: a comment", "a \"b\" \\ ä \n # not", "svm# part of it", "a:b", nil, "null"]
    #expect(try entries(text).map(\.value) == expected)
  }

  @Test func `counts lines that end in carriage return and line feed`() throws {
    #expect(try entries("seed: 7\r\nloss: svm\r\n").map(\.line) == [1, 2])
  }

  @Test(arguments: ["", "\n", "# nothing but a comment\n", "---\n"])
  func `an empty file sets nothing`(_ text: String) throws {
    #expect(try entries(text).isEmpty)
  }

  @Test(arguments: [
    ("seed: 1\ntrain:\n  batch-size: 5\n", "train.yaml:3"),
    ("seed: &a 1\n", "train.yaml:1"),
    ("seed: *a\n", "train.yaml:1"),
    ("seed: !!int 1\n", "train.yaml:1"),
    ("seed: [1]\n", "train.yaml:1"),
    ("seed: {a: 1}\n", "train.yaml:1"),
    ("{seed: 1}\n", "train.yaml:1"),
    ("? seed\n", "train.yaml:1"),
    ("seed:\n- 1\n", "train.yaml:2"),
    ("run-dir: |\n  a\n", "train.yaml:1"),
    ("%YAML 1.2\n", "train.yaml:1"),
    ("\"seed\": 1\n", "train.yaml:1"),
    ("seed=1\n", "train.yaml:1"),
    ("seed:1\n", "train.yaml:1"),
    ("seed: 1\n---\nseed: 2\n", "train.yaml:2"),
    ("loss: \"svm\n", "train.yaml:1"),
    ("loss: a: b\n", "train.yaml:1"),
    ("loss: \u{1}\n", "train.yaml:1"),
    ("seed: 1\rloss: svm\n", "train.yaml:1"),
    ("run-dir: 'a\n", "train.yaml:1"),
    ("run-dir: 'a' b\n", "train.yaml:1"),
    ("run-dir: \"a\"b\n", "train.yaml:1"),
    ("run-dir: \"a\"# b\n", "train.yaml:1"),
    ("run-dir: \"\\x41\"\n", "train.yaml:1"),
    ("run-dir: \"a\\\"\n", "train.yaml:1"),
    ("run-dir: @a\n", "train.yaml:1"),
    ("run-dir: a:\n", "train.yaml:1"),
    ("run-dir: \"\u{301}a\n", "train.yaml:1"),
    ("seed: 1\n...\nloss: svm\n", "train.yaml:3"),
  ])
  func `refuses what is not flat, and says where`(_ text: String, _ place: String) {
    let failure = failure(text)
    #expect(failure?.status == .badConfiguration)
    #expect(failure?.message.hasPrefix(place) == true, "\(failure?.description ?? "")")
  }

  @Test func `refuses a key that occurs twice, and names both lines`() {
    let failure = failure("seed: 1\nloss: svm\nseed: 2\n")
    #expect(failure?.message == "train.yaml:3: `seed` is already set in line 1")
  }

  @Test func `refuses a file of more than one megabyte`() {
    let failure = failure(String(repeating: "#", count: ConfigurationFile.sizeLimit + 1))
    #expect(failure?.status == .badConfiguration)
    let fits = String(repeating: "#", count: ConfigurationFile.sizeLimit)
    #expect(throws: Never.self) { try ConfigurationFile(text: fits, path: "train.yaml") }
  }

  @Test func `cannot be made to expand or recurse`() {
    _ = failure(String(repeating: "[", count: 500_000))
    _ = failure(String(repeating: "- ", count: 500_000))
    _ = failure("a: &a [x,x]\nb: &b [*a,*a]\n")
    _ = failure("a: \"x\" [\n")
  }

  @Test func `names a file that is not there`() {
    let failure = #expect(throws: Failure.self) { try ConfigurationFile(readingFrom: "/nowhere/train.yaml") }
    #expect(failure?.status == .missingInput)
    #expect(failure?.message.contains("/nowhere/train.yaml") == true)
  }
}
