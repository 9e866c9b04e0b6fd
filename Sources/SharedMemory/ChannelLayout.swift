import Synchronization

/// Where things are in the memory that a worker shares with its server. Everything below is in the order of the machine
/// that both run on.
///
/// | bytes | what |
/// |---|---|
/// | 0-7 | magic |
/// | 8-15 | incarnation of the worker |
/// | 64-67 | not zero while the worker sleeps, so that it must be woken |
/// | 128-131 | the same for the server |
/// | 4,096 | ring of messages to the server |
/// | 20,480 | ring of messages to the worker |
/// | 36,864 | the worker's gradients |
///
/// A ring has four slots of 4,096 bytes, used in turn:
///
/// | bytes | what |
/// |---|---|
/// | 0-3 | 0: the sender may write the slot; 1: the receiver may read it |
/// | 4-7 | length of the fields |
/// | 8-15 | where the payload begins in the memory that its sender shares |
/// | 16-23 | length of the payload |
/// | 64-127 | envelope |
/// | 128- | fields |
enum ChannelLayout {
  /// "DSNTMEM1".
  static let magic: UInt64 = 0x314D_454D_544E_5344
  static let incarnation = 8
  static let workerSleeps = 64
  static let serverSleeps = 128
  static let ringToServer = 4096
  static let ringToWorker = ringToServer + slotCount * slotBytes
  static let gradients = ringToWorker + slotCount * slotBytes

  /// The protocol has one piece of work and a few short messages under way, like the limit of the sockets' queues.
  static let slotCount = 4
  static let slotBytes = 4096
  static let fieldsLength = 4
  static let payloadOffset = 8
  static let payloadLength = 16
  static let envelope = 64
  static let fields = 128
  static let maximumFieldsLength = slotBytes - fields

  static let free: UInt32 = 0
  static let full: UInt32 = 1

  /// An integer that both processes change.
  static func atomic(_ address: UnsafeMutableRawPointer) -> UnsafeMutablePointer<Atomic<UInt32>> {
    address.assumingMemoryBound(to: Atomic<UInt32>.self)
  }
}

/// Whether the reader of a ring sleeps: the writer then has to ring its doorbell.
struct SleepFlag {
  private let flag: UnsafeMutablePointer<Atomic<UInt32>>

  init(_ address: UnsafeMutableRawPointer) { flag = ChannelLayout.atomic(address) }

  /// To be followed by a last look at the rings: a message that came before would not ring.
  func set() {
    flag.pointee.store(1, ordering: .relaxed)
    atomicMemoryFence(ordering: .sequentiallyConsistent)
  }

  func clear() { flag.pointee.store(0, ordering: .relaxed) }

  /// Whether the reader has to be woken; true once for each sleep.
  func take() -> Bool {
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    guard flag.pointee.load(ordering: .relaxed) != 0 else { return false }
    return flag.pointee.exchange(0, ordering: .relaxed) != 0
  }
}
