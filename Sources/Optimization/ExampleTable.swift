/// Where the bytes of every example lie: record i is one label byte followed by its pixel bytes, as in the binary
/// CIFAR-10 files. The bytes are read in place, as they were mapped, and never copied or converted to floats.
///
/// Unchecked because pointers are not `Sendable`: `owner` keeps the bytes mapped, and this process never writes them.
public struct ExampleTable: @unchecked Sendable {
  /// The input of the model is `(pixel − mean) / pixelScale`: half of the range of a byte, so that it lies in −2 ... 2.
  /// The kernels are compiled with it.
  public static let pixelScale: Float = 127.5

  /// K, the number of classes.
  public let classes: Int
  private let records: [UnsafePointer<UInt8>]
  private let owner: any Sendable

  /// - Parameters:
  ///   - records: one pointer per example, to its label byte; any alignment.
  ///   - classes: K, in 2 ... 256.
  ///   - owner: what keeps those bytes mapped while this table lives. Other processes may change them.
  public init(
    records: [UnsafePointer<UInt8>], classes: Int = ModelShape.cifar10.classes, owner: any Sendable
  ) {
    self.records = records
    self.classes = classes
    self.owner = owner
  }

  /// Examples in memory.
  /// - Parameters:
  ///   - bytes: records of one label byte and its pixel bytes, one after the other; copied.
  ///   - recordByteCount: of each record; divides the number of bytes.
  ///   - classes: K, in 2 ... 256.
  public init(copying bytes: [UInt8], recordByteCount: Int, classes: Int) {
    precondition(bytes.count.isMultiple(of: recordByteCount), "the last record is cut short")
    let memory = RecordMemory(bytes)
    self.init(
      records: stride(from: 0, to: bytes.count, by: recordByteCount).map { UnsafePointer(memory.bytes + $0) },
      classes: classes, owner: memory)
  }

  public var count: Int { records.count }

  /// The label byte, then the pixel bytes. Valid while this table lives.
  @inline(__always)
  public func record(at index: Int) -> UnsafePointer<UInt8> { records[index] }

  /// In 0 ..< K. A label that was changed since it was checked counts as one of these.
  @inline(__always)
  public func label(at index: Int) -> Int { min(Int(records[index].pointee), classes - 1) }

  /// The examples at `indices`, in that order.
  public func selecting(_ indices: [UInt32]) -> ExampleTable {
    ExampleTable(records: indices.map { records[Int($0)] }, classes: classes, owner: owner)
  }
}

/// Bytes that live as long as a table of examples points into them. Written once, before the table exists.
private final class RecordMemory: @unchecked Sendable {
  let bytes: UnsafeMutablePointer<UInt8>

  init(_ contents: [UInt8]) {
    bytes = .allocate(capacity: contents.count)
    contents.withUnsafeBufferPointer { contents in
      guard let base = contents.baseAddress else { return }
      bytes.initialize(from: base, count: contents.count)
    }
  }

  deinit { bytes.deallocate() }
}
