import CLinux
import Checkpoints
import Datasets
import Diagnostics
import Glibc
import Messaging
import Optimization
import RunConfiguration
import Transport

/// What a parser did that it must not do; a trap or a sanitizer's report are the other ways to fail.
public struct Finding: Error, CustomStringConvertible {
  public let description: String
  init(_ description: String) { self.description = description }
}

/// Everything that reads bytes of another process, each as a function of the bytes alone. Whatever they are, it returns: a
/// parser refuses them with a typed error, or what it has read holds together.
public enum FuzzTarget: String, CaseIterable, Sendable {
  case envelope, message, safetensors, state, manifest, cifar, picture, imports, configuration, zap, json
  case allowList = "allow-list"
  case machines

  /// The most bytes that make sense.
  public var largestInput: Int {
    switch self {
    case .envelope: 80
    case .cifar: 3 * 3073
    case .imports: 9216
    default: 4096
    }
  }

  public func run(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
    switch self {
    case .envelope: try Self.envelope(bytes)
    case .message: try Self.message(bytes)
    case .safetensors: try Self.safetensors(bytes)
    case .state: try Self.state(bytes)
    case .manifest: try Self.manifest(bytes)
    case .cifar: try Self.cifar(bytes)
    case .picture: try Self.picture(bytes)
    case .imports: try ImportFuzzing.run(bytes)
    case .configuration: try Self.configuration(bytes)
    case .zap: try Self.zap(bytes)
    case .json: try Self.json(bytes)
    case .allowList: try Self.allowList(bytes)
    case .machines: MachineFuzzing.run(bytes)
    }
  }

  // MARK: The wire

  private static func envelope(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
    guard let envelope = try? Envelope(decoding: bytes) else { return }
    var again = [UInt8](repeating: 0, count: Envelope.byteCount)
    again.withUnsafeMutableBytes { envelope.encode(into: $0) }
    guard again.elementsEqual(bytes) else { throw Finding("an envelope is written otherwise than it was read") }
  }

  /// Byte 0: the type; 1-2: how many of the rest are fields; the others are payload. Checksums and lengths are made right, or
  /// nothing behind them would ever be reached.
  private static func message(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
    guard let (message, _) = sealed(bytes) else { return }
    let fields = message.encodeFields()
    guard fields.elementsEqual(bytes[3...].prefix(Int(bytes[1]) | Int(bytes[2]) << 8)) else {
      throw Finding("a \(message.type) is written otherwise than it was read")
    }
    var envelope = Envelope(
      type: message.type, run: RunID(1), membershipEpoch: MembershipEpoch(2), incarnation: Incarnation(3), step: 4,
      sequence: 5)
    message.seal(&envelope, fields: fields)
    let payload = message.payload
    guard let again = try? fields.withUnsafeBytes({ try Message(envelope, fields: $0, payload: payload) }),
      again.encodeFields() == fields
    else { throw Finding("a \(message.type) is read otherwise than it was written") }
  }

  /// The message that the bytes stand for, if they do.
  static func sealed(
    _ bytes: UnsafeRawBufferPointer, from incarnation: Incarnation = Incarnation(3)
  ) -> (Message, Envelope)? {
    guard bytes.count >= 3 else { return nil }
    let types = MessageType.allCases
    var envelope = Envelope(
      type: types[Int(bytes[0]) % types.count], run: RunID(1), membershipEpoch: MembershipEpoch(2),
      incarnation: incarnation, step: 4, sequence: 5)
    let rest = UnsafeRawBufferPointer(rebasing: bytes[3...])
    let fields = UnsafeRawBufferPointer(rebasing: rest.prefix(Int(bytes[1]) | Int(bytes[2]) << 8))
    let payload = Payload(concatenating: Array(rest[fields.count...]))
    envelope.fieldsLength = UInt32(fields.count)
    envelope.payloadLength = UInt32(payload.count)
    envelope.bodyChecksum = Envelope.checksum(fields: fields, payload: payload)
    return (try? Message(envelope, fields: fields, payload: payload)).map { ($0, envelope) }
  }

  // MARK: Files

  private static func safetensors(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
    guard let file = try? SafetensorsFile(decoding: Array(bytes), path: "fuzzed") else { return }
    for entry in file.entries { _ = try? file.finiteTensor(named: entry.name, path: "fuzzed") }
    if let model = try? TrainedModel(decoding: file, path: "fuzzed") {
      guard model.parameters.count == model.shape.parameterCount, model.classNames.count == model.shape.classes else {
        throw Finding("a model whose parts do not fit")
      }
    }
    guard let again = try? SafetensorsFile(decoding: file.encoded, path: "again"), again == file else {
      throw Finding("a safetensors file is read otherwise than it was written")
    }
  }

  private static func state(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
    var files = Dictionary(uniqueKeysWithValues: Seeds.checkpoint.encoded())
    files[.state] = Array(bytes)
    guard let checkpoint = try? Checkpoint(decoding: files, directory: "fuzzed") else { return }
    files[.state] = Dictionary(uniqueKeysWithValues: checkpoint.encoded())[.state]
    guard (try? Checkpoint(decoding: files, directory: "again")) != nil else {
      throw Finding("a state that was read cannot be written and read again")
    }
  }

  private static func manifest(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
    guard let manifest = try? CheckpointManifest(decoding: Array(bytes), path: "fuzzed") else { return }
    guard manifest.encoded.elementsEqual(bytes) else {
      throw Finding("a manifest is written otherwise than it was read")
    }
  }

  /// The readers take a file, so here it is one in memory.
  private static func withFile(
    of bytes: UnsafeRawBufferPointer, _ body: (String) throws(Finding) -> Void
  ) throws(Finding) {
    let descriptor = memfd_create("fuzzed", UInt32(DESCENT_MEMFD_CLOSE_ON_EXEC))
    guard descriptor >= 0 else { throw Finding("no memory for a file") }
    defer { close(descriptor) }
    guard write(descriptor, bytes.baseAddress, bytes.count) == bytes.count else {
      throw Finding("no memory for a file")
    }
    try body("/proc/self/fd/\(descriptor)")
  }

  /// Of few pixels, as large ones take seconds.
  private static func picture(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
    try withFile(of: bytes) { (path) throws(Finding) in
      guard let image = try? ImageFile.load(path: path, maximumPixelCount: 1 << 16) else { return }
      guard image.pixels.count == image.width * image.height * 3, image.pixels(as: .cifar10).count == 3072 else {
        throw Finding("a picture with more or fewer pixels than its size says")
      }
    }
  }

  private static func cifar(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
    try withFile(of: bytes) { (path) throws(Finding) in try cifar(bytes, path) }
  }

  private static func cifar(_ bytes: UnsafeRawBufferPointer, _ path: String) throws(Finding) {
    let description = DatasetDescription(name: "fuzzed", shape: .cifar10, classNames: CIFAR10Format.classNames)
    guard let file = try? DataFile(path: path, description) else { return }
    let records = file.records
    let size = description.recordByteCount
    guard records.count * size == bytes.count,
      records.enumerated().allSatisfy({ $1.pointee < 10 && $1[size - 1] == bytes[$0 * size + size - 1] })
    else { throw Finding("records that the file does not have") }
  }

  private static func configuration(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
    guard let text = String(validating: bytes, as: UTF8.self),
      let file = try? ConfigurationFile(text: text, path: "fuzzed")
    else { return }
    guard Set(file.entries.map(\.key)).count == file.entries.count else { throw Finding("a key twice") }
    _ = try? ResolvedSettings.resolve(file: file)
  }

  private static func json(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
    guard let value = try? JSONReader.parse(Array(bytes)[...], source: "fuzzed") else { return }
    for text in [value.compactBytes, Array(value.indentedText.utf8)] {
      guard let again = try? JSONReader.parse(text[...], source: "again"), again == value else {
        throw Finding("JSON is read otherwise than it was written")
      }
    }
  }

  // MARK: Keys

  private static func allowList(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
    guard let text = String(validating: bytes, as: UTF8.self) else { return }
    _ = try? Endpoint(parsing: text)
    guard let list = try? AllowList(text: text, path: "fuzzed") else { return }
    guard let again = try? AllowList(text: list.entries.map(\.line).joined(separator: "\n"), path: "again"),
      again.entries == list.entries, Set(list.entries.map(\.name)).count == list.entries.count,
      list.entries.allSatisfy({ list.key(of: $0.name) == $0.key })
    else { throw Finding("an allow-list is read otherwise than it was written") }
  }

  /// Frames of one length byte each.
  private static func zap(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
    var (frames, rest) = ([[UInt8]](), bytes[...])
    while let length = rest.popFirst(), frames.count < 16 {
      frames.append(Array(rest.prefix(Int(length))))
      rest = rest.dropFirst(Int(length))
    }
    let answer = ZAPReply(to: frames, domain: "descent") { Seeds.allowList.entry(of: $0) }
    guard answer.frames.count == 6, answer.frames[0] == Array("1.0".utf8) else { throw Finding("no answer") }
    let isAllowed =
      frames.count == 7 && frames[0] == Array("1.0".utf8) && frames[2] == Array("descent".utf8)
      && frames[5] == Array("CURVE".utf8) && Seeds.allowList.entries.contains { $0.key.bytes == frames[6] }
    guard (answer.frames[2] == Array("200".utf8)) == isAllowed, answer.frames[4].isEmpty != isAllowed else {
      throw Finding("a key was admitted that is not on the list, or refused that is")
    }
  }
}
