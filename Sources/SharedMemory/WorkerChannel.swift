import Diagnostics
import Messaging

/// A worker's end of the memory that it shares with a server on the same host. One is made for each server it connects
/// to, so that an old server cannot write into the memory of a new one.
///
/// Use it on one thread at a time.
public final class WorkerChannel {
  /// Gradients at rest: the one being computed, the one kept for a repetition, and those the server still reads.
  private static let gradientCount = ChannelLayout.slotCount + 2

  private let region: SharedRegion
  private let doorbell: Doorbell
  private let serverSleeps: SleepFlag
  private let workerSleeps: SleepFlag
  private var outgoing: RingWriter
  private var incoming: RingReader?
  private var button: DoorbellButton?

  /// Payloads that can be sent through the channel without a copy.
  public let gradients: PayloadPool

  /// - Parameter gradientByteCount: the size of every gradient.
  /// - Throws: `internalError` when the system has no memory or descriptors left.
  public init(incarnation: Incarnation, gradientByteCount: Int) throws(Failure) {
    let arena = Self.gradientCount * PayloadPool.stride(of: gradientByteCount)
    let region = try SharedRegion(byteCount: ChannelLayout.gradients + arena)
    self.region = region
    doorbell = try Doorbell()
    let base = region.bytes.baseAddress.unsafelyUnwrapped
    base.storeBytes(of: ChannelLayout.magic, as: UInt64.self)
    base.storeBytes(of: incarnation.value, toByteOffset: ChannelLayout.incarnation, as: UInt64.self)
    workerSleeps = SleepFlag(base + ChannelLayout.workerSleeps)
    serverSleeps = SleepFlag(base + ChannelLayout.serverSleeps)
    outgoing = RingWriter(slots: base + ChannelLayout.ringToServer, shared: UnsafeRawBufferPointer(region.bytes))
    gradients = PayloadPool(
      byteCount: gradientByteCount,
      arena: UnsafeMutableRawBufferPointer(rebasing: region.bytes[ChannelLayout.gradients...]), owner: region)
  }

  /// What the server needs to know.
  public func offer(processID: Int32) -> Message.SharedMemoryOffer {
    Message.SharedMemoryOffer(
      processID: processID, memory: region.descriptor, doorbell: doorbell.button, byteCount: UInt64(region.bytes.count))
  }

  /// Whether the server uses the channel.
  public var isAttached: Bool { incoming != nil }

  /// The server uses the channel from here on, and its weights are in the memory that it offers.
  /// - Throws: `internalError` when that cannot be opened; the channel is then not used.
  public func attach(_ offer: Message.SharedMemoryOffer, server: Incarnation) throws(Failure) {
    guard !isAttached else { return }
    let weights = try SharedRegion(
      of: offer.processID, descriptor: offer.memory, byteCount: offer.byteCount, isWritable: false)
    button = try DoorbellButton(of: offer.processID, descriptor: offer.doorbell)
    incoming = RingReader(
      slots: region.bytes.baseAddress.unsafelyUnwrapped + ChannelLayout.ringToWorker,
      shared: UnsafeRawBufferPointer(weights.bytes), sender: server, owner: Regions(region, weights))
  }

  public func send(_ message: Message, _ envelope: Envelope) -> MemorySendResult {
    guard let button else { return .unsuitable }
    let result = outgoing.send(message, envelope)
    if case .sent = result, serverSleeps.take() { button.press() }
    return result
  }

  public func receive() -> MemoryReception? { incoming?.receive() }
  public var hasMessage: Bool { incoming?.hasMessage ?? false }

  // MARK: Sleeping

  /// Readable when there may be a message, provided that `fallAsleep` was called before.
  public var doorbellDescriptor: Int32 { doorbell.descriptor }

  /// Asks to be woken; false if there is a message already.
  public func fallAsleep() -> Bool {
    incoming?.sweep()
    workerSleeps.set()
    guard !hasMessage else {
      workerSleeps.clear()
      return false
    }
    return true
  }

  public func wakeUp(hasRung: Bool) {
    workerSleeps.clear()
    if hasRung { doorbell.clear() }
  }
}

/// What a received payload keeps mapped.
final class Regions: Sendable {
  private let regions: [SharedRegion]
  init(_ regions: SharedRegion...) { self.regions = regions }
}
