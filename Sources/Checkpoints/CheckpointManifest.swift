import Diagnostics

/// `MANIFEST.json`: which files a checkpoint consists of and the SHA-256 of each, so that a flipped
/// bit or a missing tail is found before anything is parsed.
package struct CheckpointManifest: Equatable {
  package struct Item: Equatable {
    var name: CheckpointFile
    var bytes: Int
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
    items = files.map { Item(name: $0.file, bytes: $0.bytes.count, sha256: $0.bytes.sha256) }
  }

  /// Which checkpoint it is of, for comparison and for errors.
  var identity: String { "run \(runIdentifier), step \(step), epoch \(membershipEpoch)" }

  package var encoded: [UInt8] {
    let value: JSONValue = [
      "format": .string(Self.formatName),
      "format_version": .number(CheckpointFile.formatVersion),
      "run": .string(runIdentifier),
      "step": .number(step),
      "membership_epoch": .number(membershipEpoch),
      "files": .array(
        items.map {
          ["name": .string($0.name.rawValue), "bytes": .number($0.bytes), "sha256": .string($0.sha256)]
        }),
    ]
    return Array(value.indentedText.utf8)
  }

  /// - Throws: `badData` when the bytes are not exactly those that `encoded` gives for some manifest. The manifest
  ///   has no checksum of its own; this, and the comparison of run, step and epoch with the state, stands for it.
  package init(decoding bytes: [UInt8], path: String) throws(Failure) {
    let fields = try JSONFields(parsing: bytes, source: path)
    let format: String = try fields["format"]
    guard format == Self.formatName else {
      throw Failure(
        .badData, "\(path) is not the manifest of a checkpoint", found: format, expected: Self.formatName)
    }
    try fields.requireVersion(CheckpointFile.formatVersion)
    runIdentifier = try fields["run"]
    step = try fields["step"]
    membershipEpoch = try fields["membership_epoch"]
    items = try fields.objects("files") { (item) throws(Failure) in
      // Only known names: a path in a file never decides what is opened.
      Item(name: try item["name"], bytes: try item["bytes"], sha256: try item["sha256"])
    }
    guard items.map(\.name) == CheckpointFile.allCases else {
      throw Failure(
        .badData, "\(path): the list of files is wrong",
        found: items.map(\.name.rawValue).joined(separator: ", "),
        expected: CheckpointFile.allCases.map(\.rawValue).joined(separator: ", "))
    }
    guard encoded == bytes else {  // defence: manifest
      throw Failure(
        .badData, "\(path) was changed after it was written",
        found: "keys or spaces that Descent does not write")
    }
  }
}
