import CKernels

/// Where the bytes of every example lie: record i is one label byte followed by its pixel bytes, as in the binary
/// CIFAR-10 files. The bytes are read in place, as they were mapped, and never copied or converted to floats.
///
/// Unchecked because pointers are not `Sendable`: `owner` keeps the bytes mapped, and this process never writes them.
public struct ExampleTable: @unchecked Sendable {
  /// The input of the model is `(pixel − mean) / pixelScale`: half of the range of a byte, so that it lies in −2 ... 2.
  /// The kernels are compiled with it.
  public static let pixelScale: Float = 127.5

  private let records: [UnsafePointer<UInt8>]
  private let owner: any Sendable

  /// - Parameters:
  ///   - records: one pointer per example, to its label byte; any alignment.
  ///   - owner: what keeps those bytes mapped while this table lives. Other processes may change them.
  public init(records: [UnsafePointer<UInt8>], owner: any Sendable) {
    self.records = records
    self.owner = owner
  }

  public var count: Int { records.count }

  /// The label byte, then the pixel bytes. Valid while this table lives.
  @inline(__always)
  public func record(at index: Int) -> UnsafePointer<UInt8> { records[index] }

  /// In 0 ..< K. A label that was changed since it was checked counts as one of these.
  @inline(__always)
  public func label(at index: Int) -> Int { min(Int(records[index].pointee), Int(DESCENT_CLASSES) - 1) }
}
