import CZeroMQ
import Glibc
import Messaging

extension NodeTransport {
  /// How long messages from memory may keep sockets, signals and the other threads waiting.
  private static let longestWithoutPoll = Interval.milliseconds(1)

  /// Waits until there may be a message, one of the descriptors can be read, the deadline has passed (nil: never), or a
  /// signal came.
  /// - Parameter meanwhile: something short and useful to do while the memory is polled.
  /// - Returns: whether sockets and descriptors were polled; if not, there is a message in memory.
  @discardableResult
  package func wait(for descriptors: [Int32], until deadline: Instant?, meanwhile: () -> Void = {}) -> Bool {
    let now = Instant.now
    // A worker that computed for longer than that polls the memory all the same, after a look at the rest.
    if role == .worker, memory != nil, now.since(newestPoll) >= Self.longestWithoutPoll {
      newestPoll = now
      if pollAll(descriptors, milliseconds: 0) { return true }
    }
    if awaitMemory(from: now, deadline, meanwhile) { return false }
    var milliseconds = deadline?.millisecondsFromNow ?? -1
    if role == .server, memory != nil, !sharesCore, let deadline, 1...2 ~= milliseconds {
      // poll(2) may return a millisecond late. Steps are shorter than that, and idle workers wait for the moment at which
      // they take over what another is late with. Their cores are free.
      milliseconds -= 1
      if milliseconds == 0, awaitMemory(until: deadline) { return false }
    }
    pollAll(descriptors, milliseconds: milliseconds)
    newestPoll = .now
    return true
  }

  /// Polls the memory for a while without sleeping; true once there is a message.
  private func awaitMemory(from start: Instant, _ deadline: Instant?, _ meanwhile: () -> Void) -> Bool {
    guard let memory else { return false }
    if memory.hasMessage { return true }
    guard let limit = spinPolicy.nextLimit() else { return false }
    while true {
      sched_yield()
      if memory.hasMessage {
        spinPolicy.recordHit()
        return true
      }
      let now = Instant.now
      guard now.since(start) < limit, deadline.map({ now < $0 }) ?? true else {
        spinPolicy.recordMiss()
        return false
      }
      meanwhile()
    }
  }

  /// Polls the memory until the deadline; true once there is a message.
  private func awaitMemory(until deadline: Instant) -> Bool {
    while let memory, Instant.now < deadline {
      if memory.hasMessage { return true }
      sched_yield()
    }
    return false
  }

  /// Returns whether a socket or descriptor reports anything.
  @discardableResult
  private func pollAll(_ descriptors: [Int32], milliseconds: Int) -> Bool {
    pollItems.removeAll(keepingCapacity: true)
    for socket in sockets {
      pollItems.append(zmq_pollitem_t(socket: socket.handle, fd: 0, events: Int16(ZMQ_POLLIN), revents: 0))
    }
    for descriptor in descriptors { watch(descriptor, Int16(ZMQ_POLLIN)) }
    guard let memory else { return poll(milliseconds) > 0 }
    let doorbell = pollItems.count
    watch(memory.doorbellDescriptor, Int16(ZMQ_POLLIN))
    if role == .server {
      peerDescriptors.removeAll(keepingCapacity: true)
      memory.appendPeerDescriptors(to: &peerDescriptors)
      // Only errors: a worker that is gone.
      for descriptor in peerDescriptors { watch(descriptor, 0) }
    }
    let count = poll(memory.fallAsleep() ? milliseconds : 0)
    memory.wakeUp(hasRung: pollItems[doorbell].revents != 0)
    guard role == .server else { return count > 0 }
    memory.keepPeers { position, _ in pollItems[doorbell + 1 + position].revents == 0 }
    dropWithdrawn(memory)
    return count > 0
  }

  private func watch(_ descriptor: Int32, _ events: Int16) {
    pollItems.append(zmq_pollitem_t(socket: nil, fd: descriptor, events: events, revents: 0))
  }

  /// Polls `pollItems`; returns how many report something. After a signal none does.
  private func poll(_ milliseconds: Int) -> Int {
    if milliseconds != 0 { counters.waits += 1 }
    let status = pollItems.withUnsafeMutableBufferPointer {
      zmq_poll($0.baseAddress, Int32($0.count), milliseconds)
    }
    precondition(status >= 0 || zmq_errno() == EINTR, "zmq_poll: \(lastErrorText())")
    if status < 0 { for index in pollItems.indices { pollItems[index].revents = 0 } }
    return max(0, Int(status))
  }

  /// Messages through memory do not carry the key that admitted their sender, so a withdrawn key ends the channel.
  private func dropWithdrawn(_ memory: MemoryChannels) {
    guard let changes = context.authenticator?.access.changeCount, changes != allowListChanges else { return }
    allowListChanges = changes
    memory.keepPeers { stillAdmits($1) }
  }
}
