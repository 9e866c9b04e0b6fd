import Diagnostics
import Messaging

/// A server's ends of the memory that the workers on its host share with it, and the memory that it shares with all of
/// them: the weights are written once, however many workers read them.
///
/// Use it on one thread at a time.
public final class ServerChannels {
  /// Enough for the weights of CIFAR-10 that 128 workers at different steps would hold. Only what is used exists.
  private static let weightsBytes = 64 << 20

  private struct Channel {
    let incarnation: Incarnation
    let button: DoorbellButton
    let workerSleeps: SleepFlag
    let serverSleeps: SleepFlag
    var incoming: RingReader
    var outgoing: RingWriter
    let region: SharedRegion
  }

  private let region: SharedRegion
  private let doorbell: Doorbell
  private var channels: [Channel] = []
  private var indexOf: [Incarnation: Int] = [:]
  /// Where the next `receive` begins, so that no worker starves another.
  private var turn = 0

  /// - Throws: `internalError` when the system has no memory or descriptors left.
  public init() throws(Failure) {
    region = try SharedRegion(byteCount: Self.weightsBytes)
    doorbell = try Doorbell()
  }

  /// Payloads that can be sent to every worker without a copy. Call it once.
  public func weights(byteCount: Int) -> PayloadPool {
    PayloadPool(byteCount: byteCount, arena: region.bytes, owner: region)
  }

  /// How many workers talk to this server through memory.
  public var count: Int { channels.count }

  /// Uses the memory that a worker offers, in place of what it offered before. The same offer again, which a worker makes
  /// as long as it has no answer, changes nothing: both ends know how far the other one has come.
  /// - Returns: what the worker needs to know.
  /// - Throws: `internalError` when it cannot be opened or is not what a worker offers.
  public func attach(
    _ offer: Message.SharedMemoryOffer, worker: Incarnation, processID: Int32
  ) throws(Failure) -> Message.SharedMemoryOffer {
    let channel = try open(offer, worker)
    if indexOf[worker].map({ channels[$0].region.inode }) != channel.region.inode {
      detach(worker)
      indexOf[worker] = channels.count
      channels.append(channel)
    }
    return Message.SharedMemoryOffer(
      processID: processID, memory: region.descriptor, doorbell: doorbell.button, byteCount: UInt64(region.bytes.count))
  }

  private func open(_ offer: Message.SharedMemoryOffer, _ worker: Incarnation) throws(Failure) -> Channel {
    let shared = try SharedRegion(
      of: offer.processID, descriptor: offer.memory, byteCount: offer.byteCount, isWritable: true)
    guard let base = shared.bytes.baseAddress, shared.bytes.count > ChannelLayout.gradients,
      base.load(as: UInt64.self) == ChannelLayout.magic,
      base.load(fromByteOffset: ChannelLayout.incarnation, as: UInt64.self) == worker.value
    else {
      throw Failure(
        .internalError, "worker \(worker) offers memory of another layout", found: "\(shared.bytes.count) bytes",
        expected: "a worker of this version")
    }
    return Channel(
      incarnation: worker, button: try DoorbellButton(of: offer.processID, descriptor: offer.doorbell),
      workerSleeps: SleepFlag(base + ChannelLayout.workerSleeps),
      serverSleeps: SleepFlag(base + ChannelLayout.serverSleeps),
      incoming: RingReader(
        slots: base + ChannelLayout.ringToServer, shared: UnsafeRawBufferPointer(shared.bytes), sender: worker,
        owner: shared),
      outgoing: RingWriter(
        slots: base + ChannelLayout.ringToWorker, shared: UnsafeRawBufferPointer(region.bytes)),
      region: shared)
  }

  private func detach(_ worker: Incarnation) {
    guard let index = indexOf[worker] else { return }
    channels.remove(at: index)
    indexOf.removeAll(keepingCapacity: true)
    for (index, channel) in channels.enumerated() { indexOf[channel.incarnation] = index }
  }

  /// Nil if the worker does not talk to this server through memory.
  public func send(_ message: Message, _ envelope: Envelope, to worker: Incarnation) -> MemorySendResult? {
    guard let index = indexOf[worker] else { return nil }
    let result = channels[index].outgoing.send(message, envelope)
    if case .sent = result, channels[index].workerSleeps.take() { channels[index].button.press() }
    return result
  }

  /// The next message, from the workers in turn; nil when there is none for now.
  public func receive() -> MemoryReception? {
    for _ in channels.indices {
      turn = turn + 1 < channels.count ? turn + 1 : 0
      if let reception = channels[turn].incoming.receive() { return reception }
    }
    return nil
  }

  public var hasMessage: Bool { channels.contains { $0.incoming.hasMessage } }

  // MARK: Sleeping

  /// Readable when there may be a message, provided that `fallAsleep` was called before.
  public var doorbellDescriptor: Int32 { doorbell.descriptor }

  /// Appends a descriptor for each worker, in the order of `dropWorkers(where:)`: poll(2) reports an error there once
  /// that worker is gone.
  public func appendWorkerDescriptors(to descriptors: inout [Int32]) {
    for channel in channels { descriptors.append(channel.button.descriptor) }
  }

  /// Asks to be woken; false if there is a message already.
  public func fallAsleep() -> Bool {
    for index in channels.indices {
      channels[index].incoming.sweep()
      channels[index].outgoing.sweep()
      channels[index].serverSleeps.set()
    }
    guard !hasMessage else {
      wakeUp(hasRung: false)
      return false
    }
    return true
  }

  public func wakeUp(hasRung: Bool) {
    for channel in channels { channel.serverSleeps.clear() }
    if hasRung { doorbell.clear() }
  }

  /// Unmaps the memory of the workers for which the condition does not hold. They are not notified.
  public func keepWorkers(where mayStay: (Incarnation) -> Bool) {
    for worker in channels.map(\.incarnation) where !mayStay(worker) { detach(worker) }
  }

  /// Unmaps the memory of the workers at the positions for which the condition holds, because they are gone.
  public func dropWorkers(where isGone: (Int) -> Bool) {
    let gone = channels.indices.filter(isGone).map { channels[$0].incarnation }
    for worker in gone { detach(worker) }
  }
}
