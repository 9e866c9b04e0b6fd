import Foundation
import TestSupport
import Testing

/// Data files that other processes change while a run, or a command, uses them.
@Suite("Data under a run", .serialized)
struct ChangedDataTests {
  private func copyOfData(_ directory: URL) throws -> URL {
    let data = directory.appendingPathComponent("data")
    try FileManager.default.copyItem(at: URL(fileURLWithPath: SharedData.directory.get()), to: data)
    return data
  }

  private static let recordBytes = 3073

  @Test(arguments: [
    (0, "is cut short"), (0, "is rewritten with as many bytes"), (2, "is rewritten with as many bytes"),
    (2, "is cut short and written again"),
  ])
  func `a training file changes during a run: exit status 65, and the steps before it are saved`(
    workers: Int, how: String
  ) throws {
    try TemporaryDirectory.with { directory in
      let (data, run) = (try copyOfData(directory), directory.appendingPathComponent("run"))
      let file = data.appendingPathComponent("data_batch_2.bin")
      let settings = ["schedule": "constant", "evaluate-every": "50", "checkpoint-every": "0"]
      let training = try Training(
        workers: workers, settings.merging(["data": data.path, "max-steps": "10000000", "epochs": "1000000"]) { $1 }
      ).start(in: run)
      try waitUntil("three evaluations") {
        let lines = (try? String(contentsOf: run.appendingPathComponent("metrics.jsonl"), encoding: .utf8)) ?? ""
        return lines.split(separator: "\n").count >= 4 || !training.process.isRunning
      }
      let began = Date()
      try change(file, how)
      let output = try training.wait(seconds: 30)
      output.expect(65)
      #expect(output.standardError.contains("\(file.path) was"), "\(output.standardError)")
      let end =
        try JSONSerialization.jsonObject(
          with: Data(contentsOf: run.appendingPathComponent("result.json"))) as? [String: Any]
      let steps = try #require(end?["steps"] as? Int)
      #expect(steps >= 100 && end?["stop_reason"] as? String == "data")
      try Program.run("descent", ["verify", run.path])
      // The same steps on the files as they were.
      let clean = try Training(workers: 0, settings.merging(["max-steps": "\(steps)", "epochs": "1000000"]) { $1 })
        .result()
      #expect(clean.hash == end?["weights_sha256"] as? String)
      try Leftovers.expectNone(of: run)
      let line = output.standardError.split(separator: "\n").last { $0.contains("was") } ?? ""
      try Evidence.add(
        .data, "\(workers) workers; the file \(how)",
        observed: "65, the weights of step \(steps) are those of a run on the former files: \(line.prefix(120))",
        recovery: [Date().timeIntervalSince(began)])
    }
  }

  private func change(_ file: URL, _ how: String) throws {
    let handle = try FileHandle(forUpdating: file)
    defer { try? handle.close() }
    let bytes = try Data(contentsOf: file)
    // The records in another order: right in every respect but that they are others.
    let turned = bytes.dropFirst(Self.recordBytes * 100) + bytes.prefix(Self.recordBytes * 100)
    if how != "is rewritten with as many bytes" { try handle.truncate(atOffset: 0) }
    if how != "is cut short" { try handle.write(contentsOf: turned) }
  }

  @Test func `the training files are replaced by renaming others: the run continues with those that it has`() throws {
    try TemporaryDirectory.with { directory in
      let (data, run) = (try copyOfData(directory), directory.appendingPathComponent("run"))
      let training = try Training(["data": data.path, "max-steps": "3000"]).start(in: run)
      _ = try waitUntil("the training") {
        FileManager.default.fileExists(atPath: run.appendingPathComponent("metrics.jsonl").path)
      }
      for number in 1...5 {
        let new = data.appendingPathComponent("new")
        try Data(count: Self.recordBytes).write(to: new)
        #expect(rename(new.path, data.appendingPathComponent("data_batch_\(number).bin").path) == 0)
      }
      let output = try training.wait()
      output.expect(0)
      let result = try TrainingResult(output)
      #expect(try result.hash == Training(["max-steps": "3000"]).result().hash)
      try Evidence.add(.data, observed: "0, the same weights")
    }
  }

  @Test func `the data are others when the run is resumed: exit status 78`() throws {
    try TemporaryDirectory.with { directory in
      let (data, run) = (try copyOfData(directory), directory.appendingPathComponent("run"))
      _ = try Training(workers: 0, ["data": data.path]).result(in: run)
      try change(data.appendingPathComponent("data_batch_2.bin"), "is rewritten with as many bytes")
      let resumed = Training(workers: 0, ["data": data.path, "max-steps": "400", "resume": "must"])
      let output = try resumed.start(in: run).wait()
      output.expect(78)
      #expect(output.standardError.contains("fingerprint"))
      try Evidence.add(.data, observed: "78: \(output.standardError.split(separator: "\n").last ?? "")")
    }
  }

  @Test func `a data file twice under two names: said at the start with both names`() throws {
    try TemporaryDirectory.with { directory in
      let (data, run) = (try copyOfData(directory), directory.appendingPathComponent("run"))
      try FileManager.default.createSymbolicLink(
        atPath: data.appendingPathComponent("data_batch_6.bin").path, withDestinationPath: "data_batch_1.bin")
      let output = try Training(workers: 0, ["data": data.path]).start(in: run).wait()
      output.expect(0)
      let said = "data_batch_6.bin and data_batch_1.bin are the same file under two names"
      #expect(output.standardError.contains(said), "\(output.standardError)")
      let check = try Program.run("descent", ["data", "check", data.path])
      #expect(check.standardOutput.contains(said))
      try Evidence.add(.data, observed: said)
    }
  }

  @Test func `a list of pictures with good ones, bad ones and no ones: each is answered in its place, 65 at the end`()
    throws
  {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      _ = try Training(workers: 0, ["max-steps": "20"]).result(in: run)
      let good = directory.appendingPathComponent("good.png").path
      try #require(Data(base64Encoded: Self.png)).write(to: URL(fileURLWithPath: good))
      let odd = directory.appendingPathComponent("two\nlines\u{1b}[31m.png").path
      try FileManager.default.copyItem(atPath: good, toPath: odd)
      let cut = directory.appendingPathComponent("cut.png").path
      try #require(Data(base64Encoded: Self.png)).dropLast(20).write(to: URL(fileURLWithPath: cut))
      let names = [good, directory.path + "/none.png", odd, cut, directory.path, "-", good]
      let arguments = ["predict", "--checkpoint", run.path] + names
      let text = try Program.run("descent", arguments, expecting: 65)
      #expect(text.standardOutput.split(separator: "\n").count == 3)
      #expect(text.standardOutput.contains("two\\u{a}lines\\u{1b}[31m.png: "))
      #expect(text.standardError.split(separator: "\n").count == 4)
      let json = try Program.run("descent", arguments + ["--json"], expecting: 65)
      let parsed = try JSONSerialization.jsonObject(with: Data(json.standardOutput.utf8)) as? [[String: Any]]
      #expect(parsed?.map { $0["image"] as? String } == names)
      #expect(parsed?.map { $0["error"] != nil } == [false, true, false, true, true, true, false])
      try Evidence.add(.pictures, observed: "7 entries in order, 3 of them answers; 65")
    }
  }

  /// A shell writes the names, as Foundation repairs them.
  @Test func `pictures whose names are not UTF-8: read, and shown with escapes`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      _ = try Training(workers: 0, ["max-steps": "20"]).result(in: run)
      let good = directory.appendingPathComponent("good.png").path
      try #require(Data(base64Encoded: Self.png)).write(to: URL(fileURLWithPath: good))
      let shell = Process()
      shell.executableURL = URL(fileURLWithPath: "/bin/sh")
      shell.currentDirectoryURL = directory
      let program = Program.directory.appendingPathComponent("descent").path
      shell.arguments = [
        "-c",
        "a=$(printf 'a\\377.png'); b=$(printf 'a\\376.png'); cp good.png \"$a\"; head -c 50 good.png >\"$b\"; "
          + "'\(program)' predict --checkpoint run \"$a\" \"$b\" good.png >out 2>err; echo $? >status",
      ]
      try shell.run()
      shell.waitUntilExit()
      func text(_ name: String) throws -> String {
        try String(contentsOf: directory.appendingPathComponent(name), encoding: .utf8)
      }
      #expect(try text("status") == "65\n")
      let lines = try text("out").split(separator: "\n")
      try #require(lines.count == 2, "\(lines)")
      #expect(lines[0].hasPrefix("a\\xff.png: "), "\(lines)")
      #expect(try text("err").hasPrefix("descent: error: a\\xfe.png is damaged or cut short"))
      try Evidence.add(.pictures, observed: "\(lines[0]); \(try text("err").prefix(60))")
    }
  }

  /// 2 × 2 pixels.
  private static let png =
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAFklEQVR4nGM8IRfFwMDAxMDAwMDAAAAPmAFE4knAJgAAAABJRU5ErkJggg=="
}
