import Diagnostics
import JSONText

/// `MANIFEST.json`: which files a checkpoint consists of and the SHA-256 of each, so that a flipped
/// bit or a missing tail is found before anything is parsed.
package struct CheckpointManifest: Equatable {
  package struct Item: Equatable {
    var file: CheckpointFile
    var byteCount: Int
    /// 64 lower-case hexadecimal digits.
    var sha256: String
  }

  static let fileName = "MANIFEST.json"
  static let sizeLimit = 1 << 16
  private static let formatName = "descent-checkpoint"

  var runIdentifier: String
  var step: UInt64
  var membershipEpoch: UInt64
  /// One item for every `CheckpointFile`, in its order.
  var items: [Item]

  package init(of checkpoint: Checkpoint, files: [(file: CheckpointFile, bytes: [UInt8])]) {
    runIdentifier = checkpoint.origin.runIdentifier
    step = checkpoint.step
    membershipEpoch = checkpoint.run.membershipEpoch.value
    items = files.map { Item(file: $0.file, byteCount: $0.bytes.count, sha256: $0.bytes.sha256) }
  }

  /// Whether its run, step and epoch are those of the checkpoint.
  func names(_ checkpoint: Checkpoint) -> Bool {
    (runIdentifier, step, membershipEpoch)
      == (checkpoint.origin.runIdentifier, checkpoint.step, checkpoint.run.membershipEpoch.value)
  }

  package var encoded: [UInt8] {
    let value: JSONValue = [
      "format": .string(Self.formatName),
      "format_version": .number(CheckpointFile.formatVersion),
      "run": .string(runIdentifier),
      "step": .number(step),
      "membership_epoch": .number(membershipEpoch),
      "files": .array(
        items.map {
          ["name": .string($0.file.rawValue), "bytes": .number($0.byteCount), "sha256": .string($0.sha256)]
        }),
    ]
    return Array(value.indentedText.utf8)
  }

  /// - Throws: `badData` when the bytes are not exactly those that `encoded` gives for some manifest. The manifest
  ///   has no checksum of its own; this, and the comparison of run, step and epoch with the state, stands for it.
  package init(decoding bytes: [UInt8], path: String) throws(Failure) {
    let fields = try JSONFields(JSONReader.parse(bytes[...], source: path), context: path)
    guard try fields.string("format") == Self.formatName else {
      throw Failure(
        .badData, "\(path) is not the manifest of a checkpoint", found: try fields.string("format"),
        expected: Self.formatName)
    }
    try fields.requireVersion(CheckpointFile.formatVersion)
    runIdentifier = try fields.string("run")
    step = try fields.integer("step", as: UInt64.self)
    membershipEpoch = try fields.integer("membership_epoch", as: UInt64.self)
    items = []
    for value in try fields.array("files") { items.append(try Item(value, context: "\(path), \"files\"")) }
    guard items.map(\.file) == CheckpointFile.allCases else {
      throw Failure(
        .badData, "\(path): the list of files is wrong",
        found: items.map(\.file.rawValue).joined(separator: ", "),
        expected: CheckpointFile.allCases.map(\.rawValue).joined(separator: ", "))
    }
    guard encoded == bytes else {  // defence: manifest
      throw Failure(
        .badData, "\(path) was changed after it was written",
        found: "keys or spaces that Descent does not write")
    }
  }
}

extension CheckpointManifest.Item {
  fileprivate init(_ value: JSONValue, context: String) throws(Failure) {
    let fields = try JSONFields(value, context: context)
    let name = try fields.string("name")
    // Only known names: a path in a file never decides what is opened.
    guard let file = CheckpointFile(rawValue: name) else {
      throw Failure(.badData, "\(context): unknown file", found: name)
    }
    self.init(
      file: file, byteCount: try fields.integer("bytes", as: Int.self), sha256: try fields.string("sha256"))
  }
}
