import Foundation
import TestSupport
import Testing

/// The man pages and completions that `Scripts/install.sh` installs, in man and in the shells.
@Suite("Man pages and completions", .serialized)
struct HelpFilesTests {
  /// What is installed once, for all tests.
  private static let prefix: Result<URL, any Error> = Result {
    let prefix = TemporaryDirectory.untilExit().url.appendingPathComponent("prefix")
    try Script.run("install", [prefix.path]).expect(0)
    return prefix
  }

  private static func has(_ command: String) -> Bool {
    ["/usr/bin", "/bin", "/usr/local/bin"].contains {
      FileManager.default.isExecutableFile(atPath: "\($0)/\(command)")
    }
  }

  private func files(below url: URL) -> [String] {
    let names = (FileManager.default.enumerator(atPath: url.path)?.allObjects as? [String]) ?? []
    return names.filter { name in
      var isDirectory: ObjCBool = false
      return FileManager.default.fileExists(atPath: url.path + "/" + name, isDirectory: &isDirectory)
        && !isDirectory.boolValue
    }
  }

  /// Runs a program of this system with the installed ones on PATH.
  private func run(_ command: [String]) throws -> Program.Output {
    let prefix = try Self.prefix.get().path
    let path = "\(prefix)/bin:" + (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin")
    return try Program.Running(
      at: URL(fileURLWithPath: "/usr/bin/env"), command,
      environment: [
        "PATH": path, "PREFIX": prefix, "XDG_DATA_DIRS": "\(prefix)/share:/usr/share", "HOME": prefix,
        // Lines so long that no name is broken at a hyphen.
        "MANWIDTH": "2000",
      ]
    ).wait()
  }

  @Test(.enabled(if: has("mandoc"), "mandoc is not installed"))
  func `mandoc finds nothing wrong with any page`() throws {
    let directory = try Self.prefix.get().appendingPathComponent("share/man/man1")
    let pages = files(below: directory).map { directory.path + "/" + $0 }
    #expect(pages.count > 30)
    let output = try run(["mandoc", "-T", "lint"] + pages.sorted())
    #expect(output.status == 0 && output.standardOutput.isEmpty, "\(output.standardOutput.prefix(3000))")
  }

  @Test(.enabled(if: has("man"), "man is not installed"))
  func `man shows the page of the program and of a subcommand, with every option and exit status`() throws {
    let pages = try Self.prefix.get().path + "/share/man"
    func page(_ name: String) throws -> String {
      let output = try run(["man", "-M", pages, "-P", "cat", name])
      #expect(output.status == 0, "\(output.standardError)")
      // Without what makes bold and underlined letters.
      return output.standardOutput.replacing(/.\u{8}/, with: "").replacing(/\u{1B}\[[0-9]*m/, with: "")
        .replacing(/\s+/, with: " ")
    }
    let program = try page("descent")
    let help = try Program.run("descent", ["--help"]).standardOutput.replacing(/\s+/, with: " ")
    for text in ["65 bad data", "75 stopped by a signal (resume with --resume must)", "79 fenced"] {
      #expect(program.contains(text) && help.contains(text), "\(text)")
    }
    for text in ["DESCENT_KERNEL", "NO_COLOR", "avx512, avx2 or portable instead of the fastest kernels"] {
      #expect(program.contains(text) && help.contains(text), "\(text)")
    }
    #expect(program.contains("DESCENT_LEARNING_RATE"))
    #expect(program.contains("descent-data-import(1)"))
    #expect(!program.contains("write-help"))
    let train = try page("descent-train")
    for text in ["--batch-size n", "--dry-run", "Stopping", "descent train --data data/cifar10", "DESCENT_BATCH_SIZE"] {
      #expect(train.contains(text), "\(text)")
    }
    #expect(!train.contains("--trial") && !train.contains("--resolved"))
    #expect(try page("descent-worker").contains("descent-worker --run-dir runs/today"))
  }

  /// What bash offers for the words, the last of which is being typed.
  private func completions(_ words: [String]) throws -> [String] {
    let list = words.map { "'\($0)'" }.joined(separator: " ")
    let script = """
      . "$PREFIX/share/bash-completion/completions/descent" || exit 1
      COMP_WORDS=(\(list)); COMP_CWORD=\(words.count - 1); COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}
      function=$(complete -p descent | sed -E 's/.*-F ([^ ]+).*/\\1/')
      "$function" descent "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
      printf '%s\\n' "${COMPREPLY[@]}"
      """
    let output = try run(["bash", "--norc", "--noprofile", "-c", script])
    #expect(output.status == 0 && output.standardError.isEmpty, "\(output.standardError)")
    return output.standardOutput.split(separator: "\n").map(String.init)
  }

  @Test func `bash completes subcommands, options, values and directories`() throws {
    #expect(try completions(["descent", "trai"]) == ["train"])
    #expect(try completions(["descent", "data", ""]).contains("synthesize"))
    #expect(try completions(["descent", "train", "--batch"]) == ["--batch-size"])
    #expect(try completions(["descent", "train", "--loss", "s"]).contains("softmax"))
    #expect(try completions(["descent", "train", "--data", "/us"]) == ["/usr"])
    #expect(try completions(["descent", "doctor", "--"]).contains("--json"))
    #expect(try !completions(["descent", "train", "--"]).contains("--trial"))
    #expect(try !completions(["descent", ""]).contains("write-help"))
  }

  @Test(.enabled(if: has("zsh"), "zsh is not installed"))
  func `zsh loads the completion and knows the command`() throws {
    let script = """
      fpath=("$PREFIX/share/zsh/site-functions" $fpath)
      autoload -Uz compinit && compinit -u -d "$PREFIX/zcompdump" && print -r -- "${_comps[descent]}"
      autoload -Uz +X _descent && print -r -- "${functions[_descent]}" | grep -c train
      """
    let output = try run(["zsh", "-f", "-c", script])
    #expect(output.status == 0 && output.standardOutput.hasPrefix("_descent\n"), "\(output)")
    try FileManager.default.removeItem(at: Self.prefix.get().appendingPathComponent("zcompdump"))
  }

  @Test(.enabled(if: has("fish"), "fish is not installed"))
  func `fish completes from where it looks by itself`() throws {
    let output = try run([
      "fish", "-c", "complete -C 'descent tr'; complete -C 'descent train --batch-'",
    ])
    #expect(output.standardOutput.contains("train\t"), "\(output)")
    #expect(output.standardOutput.contains("--batch-size"))
  }

  @Test func `--uninstall removes what was installed and nothing else`() throws {
    try TemporaryDirectory.with { directory in
      let prefix = directory.appendingPathComponent("a prefix")
      try Script.run("install", [prefix.path]).expect(0)
      let installed = files(below: prefix)
      for name in [
        "bin/descent-worker", "share/man/man1/descent-train.1", "share/bash-completion/completions/descent",
        "share/zsh/site-functions/_descent-server", "share/fish/vendor_completions.d/descent.fish",
        "share/descent/Config/reference.yaml",
      ] {
        #expect(installed.contains(name), "\(name)")
      }
      let own = prefix.appendingPathComponent("share/man/man1/other.1")
      try "kept".write(to: own, atomically: true, encoding: .utf8)
      // A list that was tampered with removes nothing elsewhere.
      let outside = directory.appendingPathComponent("outside")
      try "kept".write(to: outside, atomically: true, encoding: .utf8)
      let list = prefix.appendingPathComponent("share/descent/installed")
      let lines = try String(contentsOf: list, encoding: .utf8)
      #expect(lines.split(separator: "\n").count == installed.count - 1)
      try (lines + "../outside\n\(outside.path)\n").write(to: list, atomically: true, encoding: .utf8)
      try Script.run("install", ["--uninstall", prefix.path]).expect(0)
      #expect(files(below: prefix) == ["share/man/man1/other.1"])
      #expect(FileManager.default.fileExists(atPath: outside.path))
      let again = try Script.run("install", ["--uninstall", prefix.path]).expect(66)
      #expect(again.standardError.contains("nothing is installed"))
    }
  }

  @Test func `an upgrade removes the files that the new version does not have`() throws {
    try TemporaryDirectory.with { directory in
      let prefix = directory.appendingPathComponent("prefix")
      try Script.run("install", [prefix.path]).expect(0)
      let old = prefix.appendingPathComponent("share/man/man1/descent-old.1")
      try "".write(to: old, atomically: true, encoding: .utf8)
      let list = prefix.appendingPathComponent("share/descent/installed")
      let lines = try String(contentsOf: list, encoding: .utf8)
      try (lines + "share/man/man1/descent-old.1\n").write(to: list, atomically: true, encoding: .utf8)
      try Script.run("install", [prefix.path]).expect(0)
      #expect(!FileManager.default.fileExists(atPath: old.path))
      #expect(try String(contentsOf: list, encoding: .utf8) == lines)
    }
  }
}
