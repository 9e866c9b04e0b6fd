import Datasets
import Diagnostics
import Files
import Foundation
import Optimization
import TestSupport
import Testing

/// What other processes do to the files of a data set that is in use.
@Suite(.serialized) struct ChangingDataTests {
  let directory = TemporaryDirectory()
  /// Some pages: 24 records of 3,073 bytes.
  private static let bytes = records(labels: (0..<24).map { UInt8($0 % 10) })

  private func dataset() throws -> Dataset {
    try directory.write(Self.bytes, to: "data_batch_1.bin")
    return try Dataset(directory: directory.path, part: .training)
  }

  private var path: String { directory.path + "/data_batch_1.bin" }

  /// Reads every byte, as training does.
  private func sum(_ dataset: Dataset) -> Int {
    (0..<dataset.count).reduce(0) { $0 + dataset.examples.label(at: $1) + Int(dataset.examples.record(at: $1)[3072]) }
  }

  @Test(arguments: [0, 1, 4096, 40_000, 73_751])
  func `a data file is cut short while it is mapped: the process lives, and the file is named`(length: Int) throws {
    let dataset = try dataset()
    #expect(truncate(path, length) == 0)
    _ = sum(dataset)
    let failure = #expect(throws: Failure.self) { try dataset.verify() }
    #expect(failure?.status == .badData)
    // Where the last page is left, its rest reads as zeros, and no access fails.
    let isCut = length <= 69_632
    #expect(
      failure?.message
        == (isCut
          ? "\(path) was cut short from 73752 to \(length) bytes while it was in use"
          : "\(path) was rewritten while it was in use"))
    #expect((0..<dataset.count).allSatisfy { (0...9).contains(dataset.examples.label(at: $0)) })
    try Evidence.add(.data, "to \(length) of 73,752 bytes", observed: "65: \(failure?.message ?? "")")
  }

  @Test(arguments: [
    "with its time restored", "by another name", "with bytes that are no labels", "at its end", "with zeros",
  ])
  func `a data file is rewritten in place with as many bytes: the file is named`(how: String) throws {
    let dataset = try dataset()
    let other = directory.path + "/other name"
    #expect(link(path, other) == 0)
    let before = try FileManager.default.attributesOfItem(atPath: path)[.modificationDate]
    var bytes = Self.bytes
    switch how {
    case "with bytes that are no labels": bytes = Array(repeating: 0xff, count: bytes.count)
    case "with zeros": bytes = Array(repeating: 0, count: bytes.count)
    case "at its end": bytes[bytes.count - 1] ^= 1
    default: bytes[20_000] ^= 0x80
    }
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: how == "by another name" ? other : path))
    try file.write(contentsOf: bytes)
    try file.close()
    if how == "with its time restored", let before {
      try FileManager.default.setAttributes([.modificationDate: before], ofItemAtPath: path)
    }
    #expect((0..<dataset.count).allSatisfy { (0...9).contains(dataset.examples.label(at: $0)) })
    #expect(dataset.classHistogram().reduce(0, +) == 24)
    let failure = #expect(throws: Failure.self) { try dataset.verify() }
    #expect(failure?.status == .badData)
    #expect(failure?.message == "\(path) was rewritten while it was in use")
    try Evidence.add(.data, how, observed: "65: \(failure?.message ?? "")")
  }

  @Test(arguments: [
    "replaced by rename", "removed", "touched", "made read-only", "linked", "rewritten with its own bytes",
    "its directory removed",
  ])
  func `a data file changes its name, time or mode: the mapping stays, and so does the run`(how: String) throws {
    let dataset = try dataset()
    let before = sum(dataset)
    let files = FileManager.default
    switch how {
    case "replaced by rename":
      let other = try directory.write(records(labels: [1]), to: "new")
      #expect(rename(other, path) == 0)
    case "removed": try files.removeItem(atPath: path)
    case "touched": try files.setAttributes([.modificationDate: Date(timeIntervalSince1970: 0)], ofItemAtPath: path)
    case "made read-only": #expect(chmod(path, 0o400) == 0)
    case "linked": #expect(link(path, directory.path + "/link") == 0)
    case "its directory removed": try files.removeItem(atPath: directory.path)
    default: try Data(Self.bytes).write(to: URL(fileURLWithPath: path))
    }
    for _ in 0..<2 { try dataset.verify() }
    #expect(sum(dataset) == before)
    try Evidence.add(.data, how, observed: "no error, the same bytes")
  }

  /// A file system in a file, on a loop device: the end of that file is cut off, and the disk has errors there.
  @Test(
    .enabled(
      if: geteuid() == 0 && ProcessInfo.processInfo.environment["DESCENT_EVERY_FAULT"] != nil,
      "needs root and a loop device: Scripts/faults.sh plays it"))
  func `the disk of a mapped data file fails: the process lives, and the error names the file`() throws {
    let (disk, mounted) = (directory.path + "/disk", directory.path + "/mounted")
    try sh("truncate -s 64M \(disk) && mkfs.ext4 -q \(disk) && mkdir \(mounted) && mount -o loop \(disk) \(mounted)")
    defer { try? sh("umount \(mounted)") }
    try Data(records(labels: Array(repeating: 1, count: 5000))).write(
      to: URL(fileURLWithPath: mounted + "/data_batch_1.bin"))
    var dataset: Dataset? = try Dataset(directory: mounted, part: .training)
    let file = try #require(dataset?.files.first)
    // What is mapped stays in memory otherwise.
    let address = UnsafeMutableRawPointer(mutating: try #require(file.bytes.baseAddress))
    #expect(madvise(address, file.bytes.count, MADV_DONTNEED) == 0)
    try sh("sync && truncate -s 1M \(disk) && echo 3 > /proc/sys/vm/drop_caches")
    _ = sum(try #require(dataset))
    let failure = #expect(throws: Failure.self) { try dataset?.verify() }
    #expect(failure?.status == .inputOutput)
    #expect(failure?.message == "cannot read \(file.path): Input/output error")
    dataset = nil
    try Evidence.add(.data, observed: "74: \(failure?.message ?? "")")
  }

  private func sh(_ command: String) throws {
    let shell = Process()
    shell.executableURL = URL(fileURLWithPath: "/bin/sh")
    shell.arguments = ["-c", command]
    try shell.run()
    shell.waitUntilExit()
    #expect(shell.terminationStatus == 0, "\(command)")
  }

  @Test(arguments: [
    ("a page of HTML", Array("<!DOCTYPE html><html>404</html>".utf8), "is an HTML page"),
    ("gzip", [0x1f, 0x8b, 8, 0], "is a gzip archive. Unpack it: gunzip"),
    ("a pointer of Git LFS", Array("version https://git-lfs.github.com/spec/v1\n".utf8), "git lfs pull"),
    ("JSON", Array("{\"error\": 404}".utf8), "is JSON"), ("a ZIP archive", [0x50, 0x4b, 3, 4], "is a ZIP archive"),
    ("a PNG", [0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10], "is a PNG"), ("nothing", [], "is empty"),
    (
      "a download cut short", Array(records(labels: [1, 2]).dropLast(9)),
      "has only 3064. If it was downloaded, it may be cut short"
    ),
    ("bytes behind the records", records(labels: [1, 2]) + [0, 0], "byte offset 6146 has only 2"),
  ])
  func `something else under the name of a data file: said what it is`(
    content: (name: String, bytes: [UInt8], message: String)
  ) throws {
    try directory.write(content.bytes, to: "data_batch_1.bin")
    let failure = #expect(throws: Failure.self) { try Dataset(directory: directory.path, part: .training) }
    #expect(failure?.status == .badData)
    #expect(failure?.description.contains(content.message) == true, "\(failure?.description ?? "")")
    #expect(failure?.message.contains(path) == true)
    try Evidence.add(.data, content.name, observed: "65: \(failure?.message ?? "")")
  }

  @Test(arguments: [
    "a copy", "a hard link", "a symbolic link", "test records in the training set", "records twice in one file",
  ])
  func `the same records under two names: both are named`(how: String) throws {
    let (first, test) = (records(labels: [1, 2, 3]), records(labels: [4, 5], firstPixel: 100))
    try directory.write(first, to: "data_batch_1.bin")
    try directory.write(test, to: "test_batch.bin")
    let second = directory.path + "/data_batch_2.bin"
    let expected: String
    switch how {
    case "a copy":
      try directory.write(first, to: "data_batch_2.bin")
      expected = "data_batch_2.bin is a copy of data_batch_1.bin"
    case "a hard link":
      #expect(link(path, second) == 0)
      expected = "data_batch_2.bin and data_batch_1.bin are the same file under two names"
    case "a symbolic link":
      #expect(symlink("data_batch_1.bin", second) == 0)
      expected = "data_batch_2.bin and data_batch_1.bin are the same file under two names"
    case "records twice in one file":
      try directory.write(first + first.prefix(3073), to: "data_batch_1.bin")
      expected = "data_batch_1.bin holds 1 record twice"
    default:
      try directory.write(first + test.prefix(3073), to: "data_batch_2.bin")
      expected = "test_batch.bin holds 1 record of data_batch_2.bin"
    }
    let report = try DatasetReport(directory: directory.path)
    #expect(report.remarks.contains(expected), "\(report.remarks)")
    #expect(report.text.contains("Note: \(expected).\n"))
    try Evidence.add(.data, how, observed: expected)
  }

  @Test func `a number is missing and other files lie beside the data: said, and nothing else`() throws {
    for name in ["data_batch_1.bin", "data_batch_4.bin", "test_batch.bin"] {
      try directory.write(records(labels: [UInt8(name.count % 10)], firstPixel: name.utf8.reduce(0, &+)), to: name)
    }
    try directory.write([1], to: "data_batch_2.bin.part")
    try directory.write([1], to: "notes.txt")
    try directory.write([1], to: ".data_batch_3.bin.swp")
    let report = try DatasetReport(directory: directory.path)
    #expect(
      report.remarks == [
        "there is no data_batch_2.bin, although there are later ones",
        "there is no data_batch_3.bin, although there are later ones",
        "data_batch_2.bin.part is not read: the names are data_batch_1.bin, data_batch_2.bin, … and test_batch.bin",
      ])
    #expect(report.unreadFiles == ["data_batch_2.bin.part", "notes.txt"])
    try Evidence.add(.data, observed: report.remarks.joined(separator: "; "))
  }
}
