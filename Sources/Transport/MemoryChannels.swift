import Diagnostics
import Files
import Glibc
import Messaging

/// A node's ends of the memory that it shares with processes on its host: those of a worker with its server, or those of
/// a server with its workers.
///
/// Each worker offers memory for the messages in both directions and for its gradients. The server answers with memory
/// for the weights, which are written once, however many workers read them. A worker makes one for each server it
/// connects to, so that an old server cannot write into the memory of a new one.
///
/// Use it on one thread at a time.
package final class MemoryChannels {
  /// Gradients at rest: the one being computed, the one kept for a repetition, and those the server still reads.
  private static let gradientCount = ChannelLayout.slotCount + 2

  private struct Channel {
    let peer: Incarnation
    /// The peer's doorbell.
    let button: Descriptor
    let peerSleeps: SleepFlag
    let sleeps: SleepFlag
    var incoming: RingReader
    var outgoing: RingWriter
    let region: SharedRegion
  }

  private let region: SharedRegion
  private let doorbell: (bell: Descriptor, button: Descriptor)
  /// A server's; a worker has no deadline for which a millisecond matters.
  private let alarm: Descriptor?
  /// This node; nil for a server.
  private let worker: Incarnation?
  private var channels: [Channel] = []
  private var indexOf: [Incarnation: Int] = [:]
  /// Where the next `receive` begins, so that no peer starves another.
  private var turn = 0

  /// A server's ends.
  ///
  /// Of the memory only what is used exists.
  /// - Parameters:
  ///   - weightsByteCount: the size of the weights that workers are sent.
  ///   - count: how many of them may be under way at once.
  /// - Throws: `internalError` when the system has no memory or descriptors left.
  package init(weightsByteCount: Int, count: Int) throws(Failure) {
    region = try SharedRegion(byteCount: count * PayloadPool.stride(of: weightsByteCount))
    doorbell = try Descriptor.doorbell()
    alarm = try Descriptor.alarm()
    worker = nil
  }

  /// A worker's end.
  /// - Parameter gradientByteCount: the size of every gradient.
  /// - Throws: `internalError` when the system has no memory or descriptors left.
  package init(worker: Incarnation, gradientByteCount: Int) throws(Failure) {
    region = try SharedRegion(
      byteCount: ChannelLayout.gradients + Self.gradientCount * PayloadPool.stride(of: gradientByteCount))
    doorbell = try Descriptor.doorbell()
    alarm = nil
    self.worker = worker
    region.bytes.storeBytes(of: ChannelLayout.magic, as: UInt64.self)
    region.bytes.storeBytes(of: worker.value, toByteOffset: ChannelLayout.incarnation, as: UInt64.self)
  }

  /// Weights or gradients of this size that can be sent without a copy. Call it once.
  package func payloads(byteCount: Int) -> PayloadPool {
    let arena = region.bytes[(worker == nil ? 0 : ChannelLayout.gradients)...]
    return PayloadPool(
      byteCount: byteCount, limit: arena.count / PayloadPool.stride(of: byteCount),
      arena: (UnsafeMutableRawBufferPointer(rebasing: arena), region))
  }

  /// How many peers exchange messages with this node through memory.
  package var count: Int { channels.count }

  // MARK: Attaching

  /// What a peer needs to know.
  package var offer: Message.SharedMemoryOffer {
    Message.SharedMemoryOffer(
      processID: getpid(), memory: region.descriptor, doorbell: doorbell.button.number,
      byteCount: UInt64(region.bytes.count))
  }

  /// Uses the memory that a peer offers, in place of what it offered before. The same offer again, which a worker makes
  /// as long as it has no answer, changes nothing: both ends know how far the other one has come.
  /// - Throws: `internalError` when it cannot be opened or is not what such a peer offers.
  package func attach(_ offer: Message.SharedMemoryOffer, from peer: Incarnation) throws(Failure) {
    guard worker == nil || channels.isEmpty else { return }
    let channel = try open(offer, peer)
    guard indexOf[peer].map({ channels[$0].region.inode }) != channel.region.inode else { return }
    detach(peer)
    indexOf[peer] = channels.count
    channels.append(channel)
  }

  private func open(_ offer: Message.SharedMemoryOffer, _ peer: Incarnation) throws(Failure) -> Channel {
    let isServer = worker == nil
    let shared = try SharedRegion(
      of: offer.processID, descriptor: offer.memory, byteCount: offer.byteCount, isWritable: isServer)
    // Both rings lie in the worker's memory.
    let rings = (isServer ? shared : region).bytes
    guard let base = rings.baseAddress, rings.count > ChannelLayout.gradients,
      base.load(as: UInt64.self) == ChannelLayout.magic,
      base.load(fromByteOffset: ChannelLayout.incarnation, as: UInt64.self) == (worker ?? peer).value
    else {
      throw Failure(
        .internalError, "worker \(peer) offers memory of another layout (\(rings.count) bytes)",
        remedy: "Start server and workers from one version of Descent")
    }
    let toServer = (ring: base + ChannelLayout.ringToServer, sleeps: SleepFlag(base + ChannelLayout.serverSleeps))
    let toWorker = (ring: base + ChannelLayout.ringToWorker, sleeps: SleepFlag(base + ChannelLayout.workerSleeps))
    let (incoming, outgoing) = isServer ? (toServer, toWorker) : (toWorker, toServer)
    return Channel(
      peer: peer, button: try .button(of: offer.processID, descriptor: offer.doorbell),
      peerSleeps: outgoing.sleeps, sleeps: incoming.sleeps,
      incoming: RingReader(
        slots: incoming.ring, shared: UnsafeRawBufferPointer(shared.bytes), sender: peer, owner: [region, shared]),
      outgoing: RingWriter(slots: outgoing.ring, shared: UnsafeRawBufferPointer(region.bytes)), region: shared)
  }

  private func detach(_ peer: Incarnation) {
    guard let index = indexOf[peer] else { return }
    channels.remove(at: index)
    indexOf.removeAll(keepingCapacity: true)
    for (index, channel) in channels.enumerated() { indexOf[channel.peer] = index }
  }

  /// Unmaps the memory of the peers, given with their positions, for which the condition does not hold. They are not
  /// notified.
  package func keepPeers(where mayStay: (Int, Incarnation) -> Bool) {
    let others = channels.indices.filter { !mayStay($0, channels[$0].peer) }.map { channels[$0].peer }
    for peer in others { detach(peer) }
  }

  // MARK: Messages

  /// Nil if the peer does not exchange messages with this node through memory.
  /// - Parameter peer: nil for the only one, a worker's server.
  package func send(_ message: Message, _ envelope: Envelope, to peer: Incarnation? = nil) -> SendResult? {
    let index = if let peer { indexOf[peer] } else { channels.indices.first }
    guard let index else { return nil }
    let result = channels[index].outgoing.send(message, envelope)
    if case .sent = result, channels[index].peerSleeps.take() { channels[index].button.ring() }
    return result
  }

  /// The next message, from the peers in turn; nil when there is none for now.
  package func receive() -> Reception? {
    for _ in channels.indices {
      turn = turn + 1 < channels.count ? turn + 1 : 0
      if let reception = channels[turn].incoming.receive() { return reception }
    }
    return nil
  }

  package var hasMessage: Bool { channels.contains { $0.incoming.hasMessage } }

  // MARK: Sleeping

  /// Readable when there may be a message, provided that `fallAsleep` was called before.
  package var doorbellDescriptor: Int32 { doorbell.bell.number }

  /// Appends a descriptor for each peer, in the order of `keepPeers(where:)`: poll(2) reports an error there once that
  /// peer is gone.
  package func appendPeerDescriptors(to descriptors: inout [Int32]) {
    for channel in channels { descriptors.append(channel.button.number) }
  }

  /// A descriptor of a server that is readable once the deadline has passed: work that is late is taken over up to a
  /// millisecond earlier than poll(2) would return. Nil where that makes no difference.
  package func alarm(at deadline: Instant) -> Int32? {
    guard let alarm, deadline.since(.now) < .milliseconds(20) else { return nil }
    alarm.expire(at: deadline)
    return alarm.number
  }

  /// Asks to be woken; false if there is a message already.
  package func fallAsleep() -> Bool {
    for index in channels.indices {
      channels[index].incoming.sweep()
      channels[index].outgoing.sweep()
      channels[index].sleeps.set()
    }
    guard !hasMessage else {
      wakeUp(hasRung: false)
      return false
    }
    return true
  }

  package func wakeUp(hasRung: Bool) {
    for channel in channels { channel.sleeps.clear() }
    if hasRung { doorbell.bell.forgetRings() }
  }
}
