import Diagnostics
import JSONText

/// A file in the safetensors format: named, shaped tensors that NumPy, PyTorch, JAX and Rust read without us.
///
/// Layout: a little-endian UInt64 N, N bytes of JSON header (padded with spaces to a multiple of 8), then the
/// elements of all tensors, row-major and little-endian, without holes or overlaps. What this type writes is
/// Float32; it reads headers with any element type of the format, and values of Float32 only.
/// Source: https://github.com/huggingface/safetensors, "Format" and `tensor.rs`, version 0.8.
public struct SafetensorsFile: Sendable, Equatable {
  /// A named array of Float32, row-major.
  public struct Tensor: Sendable, Equatable {
    public var name: String
    /// Sizes, slowest index first; empty for a scalar.
    public var shape: [Int]
    public var values: [Float]

    public init(name: String, shape: [Int], values: [Float]) {
      self.name = name
      self.shape = shape
      self.values = values
    }
  }

  /// What the header says of one tensor.
  public struct Entry: Sendable, Equatable {
    public var name: String
    /// "F32" and so on, as in the header.
    public var elementType: String
    public var shape: [Int]
    /// Where the elements lie in `buffer`.
    public var bytes: Range<Int>
  }

  /// One pair of the header's free text.
  public struct Metadata: Sendable, Equatable {
    public var key: String
    public var value: String

    public init(_ key: String, _ value: String) {
      self.key = key
      self.value = value
    }
  }

  /// The most bytes a header may have, by the format.
  public static let headerLimit = 100_000_000
  /// The largest file this reader accepts, 256 MiB: two thousand times the CIFAR-10 model.
  public static let fileLimit = 1 << 28

  public private(set) var metadata: [Metadata]
  /// In the order of their bytes.
  public private(set) var entries: [Entry]
  /// The elements of all tensors.
  public private(set) var buffer: [UInt8]

  init(metadata: [Metadata], entries: [Entry], buffer: [UInt8]) {
    self.metadata = metadata
    self.entries = entries
    self.buffer = buffer
  }

  /// Lays the tensors out as the official writer does: larger element types first (here all are Float32), then
  /// by name.
  ///
  /// - Precondition: names differ, and every tensor has as many values as its shape says.
  public init(metadata: [Metadata], tensors: [Tensor]) {
    self.init(metadata: metadata, entries: [], buffer: [])
    buffer.reserveCapacity(4 * tensors.reduce(0) { $0 + $1.values.count })
    for tensor in tensors.sorted(by: { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }) {
      precondition(tensor.values.count == tensor.shape.reduce(1, *), "\(tensor.name) does not fill its shape")
      let start = buffer.count
      buffer.append(littleEndian: tensor.values)
      entries.append(
        Entry(name: tensor.name, elementType: "F32", shape: tensor.shape, bytes: start..<buffer.count))
    }
  }

  /// The bytes of the file.
  public var encoded: [UInt8] {
    var header = Array(headerValue.compactText.utf8)
    // Float32 values that start on a multiple of 8 can be used straight from a memory map.
    header.append(contentsOf: repeatElement(UInt8(ascii: " "), count: (8 - header.count % 8) % 8))
    var bytes: [UInt8] = []
    bytes.reserveCapacity(8 + header.count + buffer.count)
    for shift in stride(from: 0, to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: header.count >> shift)) }
    bytes += header
    bytes += buffer
    return bytes
  }

  private var headerValue: JSONValue {
    var members: [JSONValue.Member] = []
    if !metadata.isEmpty {
      let texts = metadata.map { JSONValue.Member($0.key, .string($0.value)) }
      members.append(JSONValue.Member("__metadata__", .object(texts)))
    }
    for entry in entries {
      let description: JSONValue = [
        "dtype": .string(entry.elementType), "shape": .numbers(entry.shape),
        "data_offsets": .numbers([entry.bytes.lowerBound, entry.bytes.upperBound]),
      ]
      members.append(JSONValue.Member(entry.name, description))
    }
    return .object(members)
  }

  /// The text under `key` in the metadata.
  public func text(_ key: String) -> String? { metadata.first { $0.key == key }?.value }

  public func entry(named name: String) -> Entry? { entries.first { $0.name == name } }

  /// The values of a tensor of Float32.
  ///
  /// - Parameter path: the file, for errors.
  /// - Throws: `badData` when it is absent, has another element type, or holds a value that is not finite.
  public func finiteTensor(named name: String, path: String) throws(Failure) -> Tensor {
    guard let entry = entry(named: name) else {
      let names = entries.map(\.name).joined(separator: ", ")
      throw Failure(
        .badData, "\(path): no tensor \"\(name)\"", found: names.isEmpty ? "no tensors" : names, expected: name)
    }
    guard entry.elementType == "F32" else {
      throw Failure(
        .badData, "\(path): tensor \"\(name)\" has the wrong element type", found: entry.elementType,
        expected: "F32", remedy: "In NumPy: array.astype(\"float32\")")
    }
    let values = [Float](littleEndian: buffer[entry.bytes])
    if let index = values.firstIndex(where: { !$0.isFinite }) {
      throw Failure(
        .badData, "\(path): element \(index) of tensor \"\(name)\" is not finite", found: "\(values[index])",
        expected: "a finite number")
    }
    return Tensor(name: name, shape: entry.shape, values: values)
  }
}

extension [UInt8] {
  mutating func append(littleEndian values: [Float]) {
    // All at once: byte by byte it would be a third of what a checkpoint computes.
    values.map { $0.bitPattern.littleEndian }.withUnsafeBytes { append(contentsOf: $0) }
  }
}

extension [Float] {
  /// - Precondition: a whole number of values.
  init(littleEndian bytes: ArraySlice<UInt8>) {
    self = bytes.withUnsafeBytes { raw in
      [Float](unsafeUninitializedCapacity: raw.count / 4) { values, count in
        count = raw.count / 4
        for index in 0..<count {
          // The slice starts wherever its tensor does, so the load must not assume alignment.
          let bits = raw.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self)
          values.initializeElement(at: index, to: Float(bitPattern: UInt32(littleEndian: bits)))
        }
      }
    }
  }
}
