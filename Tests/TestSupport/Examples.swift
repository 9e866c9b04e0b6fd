import Optimization

/// Bytes that live as long as a table of examples points into them.
private final class RecordBytes: Sendable {
  nonisolated(unsafe) let bytes: UnsafeMutableBufferPointer<UInt8>

  init(_ contents: [UInt8]) {
    bytes = .allocate(capacity: contents.count)
    _ = bytes.initialize(from: contents)
  }

  deinit { bytes.deallocate() }
}

extension ExampleTable {
  /// Examples from bytes of memory: records of one label byte followed by its pixels.
  /// - Parameter repeated: how often the table lists all of them.
  public static func inMemory(
    _ records: [UInt8], recordSize: Int = 1 + ModelShape.cifar10.pixels, repeated: Int = 1
  ) -> ExampleTable {
    precondition(!records.isEmpty && records.count.isMultiple(of: recordSize))
    let owner = RecordBytes(records)
    let pointers = stride(from: 0, to: records.count, by: recordSize).compactMap { offset in
      owner.bytes.baseAddress.map { UnsafePointer($0 + offset) }
    }
    return ExampleTable(records: Array(repeating: pointers, count: repeated).flatMap { $0 }, owner: owner)
  }
}
