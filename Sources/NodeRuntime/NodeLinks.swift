import Diagnostics
import Glibc
import Messaging
import SharedMemory
import ZeroMQTransport

/// How a node exchanges messages: through sockets, and through memory between a server and the workers of its host.
/// Messages through memory need neither a copy nor a system call as long as both sides keep up.
///
/// To be used by one thread at a time.
package final class NodeLinks {
  private enum Memory {
    case none
    case worker(WorkerChannel, ServerIndex)
    case server(ServerChannels)
  }

  private let sockets: NodeTransport
  private let log: NodeLog
  private var memory = Memory.none
  /// Nothing is sent any more: a fault that tests inject.
  var isMute = false
  private var spinPolicy = SpinPolicy.worker
  private var newestPoll = Instant(nanoseconds: 0)
  private var descriptors: [Int32] = []
  private var workerDescriptors: [Int32] = []
  /// The version of the allow-list that the workers in memory were last checked against.
  private var allowListChanges: UInt64 = 0

  /// How long messages from memory may keep sockets, signals and the other threads waiting.
  private static let longestWithoutPoll = Interval.milliseconds(1)

  package init(sockets: NodeTransport, log: NodeLog) {
    self.sockets = sockets
    self.log = log
  }

  /// A server's links.
  /// - Parameter memory: for the workers on this host that offer theirs.
  package convenience init(sockets: NodeTransport, memory: ServerChannels, log: NodeLog) {
    self.init(sockets: sockets, log: log)
    self.memory = .server(memory)
    spinPolicy = .server
  }

  package var counters: TransportCounters { sockets.counters }
  var isExposed: Bool { sockets.isExposed }
  var refusals: Refusals? { sockets.refusals }
  func takeAccessProblem() -> Failure? { sockets.takeAccessProblem() }

  package func close() {
    sockets.close()
    memory = .none
  }

  // MARK: Connecting

  /// Connects to the coordinator at another place, if there is one, in place of the earlier connection.
  func reconnectToCoordinator(_ endpoint: Endpoint?) {
    guard let endpoint else { return }
    do {
      try sockets.connectToCoordinator(endpoint)
      log.note(.info, event: "coordinator_moved", "the coordinator is at \(endpoint) now")
    } catch {
      log.note(.error, event: "connect_failed", error.description)
    }
  }

  /// Says goodbye to the coordinator without a run, so that no role takes it for its own: it gives back the key, which
  /// the next incarnation of this node needs at once.
  func returnKey() {
    send(.leave, to: .coordinator, Addressing(run: RunID(0), membershipEpoch: MembershipEpoch(0), step: 0))
  }

  /// Connects a worker to its server, in place of an earlier connection.
  ///
  /// - Parameter gradientByteCount: the size of its gradients, if messages may go through memory; they do once the server
  ///   has agreed.
  func connectToServer(_ index: ServerIndex, _ endpoint: String, sharingMemory gradientByteCount: Int?) {
    memory = .none
    do {
      let endpoint = try Endpoint(parsing: endpoint)
      try sockets.connectToServer(endpoint, index)
      guard case .ipc = endpoint, let gradientByteCount else { return }
      memory = .worker(
        try WorkerChannel(incarnation: sockets.incarnation, gradientByteCount: gradientByteCount), index)
    } catch {
      log.note(.error, event: "connect_failed", error.description)
    }
  }

  /// Where a worker's gradients can be sent from without a copy; nil where nothing is shared.
  var gradients: PayloadPool? {
    if case .worker(let channel, _) = memory { channel.gradients } else { nil }
  }

  private func attach(_ offer: Message.SharedMemoryOffer, _ envelope: Envelope) {
    // Process IDs of another host mean nothing here: this node must not open what a remote peer names.
    guard case .server(let channels) = memory, sockets.listensAtSocketFile else { return }
    do {
      let answer = try channels.attach(offer, worker: envelope.incarnation, processID: getpid())
      let addressing = Addressing(run: envelope.run, membershipEpoch: envelope.membershipEpoch, step: envelope.step)
      sockets.send(.attached(answer), to: .node(.worker, envelope.incarnation), addressing)
    } catch {
      log.note(.warning, event: "memory_not_shared", error.description)
    }
  }

  private func attached(_ offer: Message.SharedMemoryOffer, _ envelope: Envelope) {
    guard case .worker(let channel, _) = memory else { return }
    do {
      try channel.attach(offer, server: envelope.incarnation)
    } catch {
      log.note(.warning, event: "memory_not_shared", error.description)
      memory = .none
    }
  }

  // MARK: Messages

  /// Sends a message, or drops and counts it.
  package func send(_ message: Message, to destination: Destination, _ addressing: Addressing) {
    if isMute { return }
    let envelope = sockets.envelope(of: message, addressing)
    switch sendThroughMemory(message, envelope, to: destination) {
    case .sent: sockets.counters.sent += 1
    case .overflowed: sockets.counters.overflowed += 1
    case .unsuitable, nil: sockets.send(message, envelope, to: destination)
    }
  }

  private func sendThroughMemory(
    _ message: Message, _ envelope: Envelope, to destination: Destination
  ) -> MemorySendResult? {
    switch (memory, destination) {
    case (.worker(let channel, let server), .server(let receiver)) where receiver == server:
      if channel.isAttached { return channel.send(message, envelope) }
      if case .requestWork = message {
        // With each one, as the first offer may be lost.
        let addressing = Addressing(run: envelope.run, membershipEpoch: envelope.membershipEpoch, step: envelope.step)
        sockets.send(.attach(channel.offer(processID: getpid())), to: .server(server), addressing)
      }
      return nil
    case (.server(let channels), .node(.worker, let worker)):
      return channels.send(message, envelope, to: worker)
    default:
      return nil
    }
  }

  /// The next message; nil when there is none yet. Never waits.
  /// - Parameter fromSockets: whether to read from sockets too, as `wait` returned.
  package func receive(fromSockets: Bool) -> (Message, Envelope)? {
    while let reception = receiveFromMemory() {
      switch reception {
      case .message(let message, let envelope):
        guard message.type.isAllowed(from: memoryPeer, to: sockets.role) else {
          sockets.counters.reject(.identity)
          continue
        }
        sockets.counters.received += 1
        sockets.counters.bytesFromMemory += envelope.messageByteCount
        return (message, envelope)
      case .rejected(let error): sockets.counters.reject(TransportCounters.Rejection(error))
      case .impostor: sockets.counters.reject(.identity)
      }
    }
    while fromSockets, let (message, envelope) = sockets.receive() {
      switch message {
      case .attach(let offer): attach(offer, envelope)
      case .attached(let offer): attached(offer, envelope)
      default: return (message, envelope)
      }
    }
    return nil
  }

  /// The role at the other end of the memory.
  private var memoryPeer: NodeRole { sockets.role == .server ? .worker : .server }

  private func receiveFromMemory() -> MemoryReception? {
    switch memory {
    case .none: nil
    case .worker(let channel, _): channel.receive()
    case .server(let channels): channels.receive()
    }
  }

  private var hasMessageInMemory: Bool {
    switch memory {
    case .none: false
    case .worker(let channel, _): channel.hasMessage
    case .server(let channels): channels.hasMessage
    }
  }

  // MARK: Waiting

  /// Waits until there may be a message, one of the descriptors can be read, the deadline has passed, or a signal came.
  /// - Returns: whether sockets and descriptors were polled; if not, there is a message in memory.
  package func wait(for others: [Int32], until deadline: Instant?) -> Bool {
    let now = MonotonicClock.now()
    if now.since(newestPoll) < Self.longestWithoutPoll, awaitMemory(from: now, deadline) { return false }
    poll(others, until: deadline)
    return true
  }

  /// Polls the memory for a while without sleeping; true once there is a message.
  private func awaitMemory(from start: Instant, _ deadline: Instant?) -> Bool {
    if case .none = memory { return false }
    if hasMessageInMemory { return true }
    guard let limit = spinPolicy.nextLimit() else { return false }
    while true {
      sched_yield()
      if hasMessageInMemory {
        spinPolicy.recordHit()
        return true
      }
      let now = MonotonicClock.now()
      guard now.since(start) < limit, deadline.map({ now < $0 }) ?? true else {
        spinPolicy.recordMiss()
        return false
      }
    }
  }

  /// Messages through memory do not carry the key that admitted their sender, so a withdrawn key ends the channel.
  private func dropWithdrawn(_ channels: ServerChannels) {
    guard sockets.allowListChanges != allowListChanges else { return }
    allowListChanges = sockets.allowListChanges
    channels.keepWorkers(where: sockets.stillAdmits)
  }

  private func poll(_ others: [Int32], until deadline: Instant?) {
    let milliseconds = deadline.map(MonotonicClock.milliseconds)
    descriptors.removeAll(keepingCapacity: true)
    descriptors.append(contentsOf: others)
    switch memory {
    case .none:
      sockets.wait(for: descriptors, milliseconds: milliseconds)
    case .worker(let channel, _):
      descriptors.append(channel.doorbellDescriptor)
      let sleeps = channel.fallAsleep()
      sockets.wait(for: descriptors, milliseconds: sleeps ? milliseconds : 0)
      channel.wakeUp(hasRung: sockets.hasReported(others.count))
    case .server(let channels):
      descriptors.append(channels.doorbellDescriptor)
      workerDescriptors.removeAll(keepingCapacity: true)
      channels.appendWorkerDescriptors(to: &workerDescriptors)
      let sleeps = channels.fallAsleep()
      sockets.wait(for: descriptors, watching: workerDescriptors, milliseconds: sleeps ? milliseconds : 0)
      channels.wakeUp(hasRung: sockets.hasReported(others.count))
      channels.dropWorkers { sockets.hasReported(descriptors.count + $0) }
      dropWithdrawn(channels)
    }
    newestPoll = MonotonicClock.now()
  }
}

/// How long to poll for a message before sleeping. Waking a thread on an idle core costs tens of microseconds, more than
/// many waits take; but polling in vain takes the core from threads that could compute.
///
/// A worker waits for the slowest of the other workers and for the update, and has nothing else to compute, so its core is
/// free unless there are more threads than cores. A server waits for gradients, which need its core, so it polls only for
/// as long as two gradients that arrive close together are apart. Measured with 0, 20, 50, 200 and 1,000 µs on 2 cores with
/// 2 workers.
struct SpinPolicy {
  static let worker = SpinPolicy(limit: Interval(nanoseconds: 200_000))
  static let server = SpinPolicy(limit: Interval(nanoseconds: 20_000))

  private let limit: Interval
  /// After this many misses in a row only every sixteenth wait polls.
  private static let toleratedMisses = 4
  private static let pause = 16
  private var misses = 0
  private var skipped = 0

  private init(limit: Interval) { self.limit = limit }

  /// How long to poll this time; nil for not at all.
  mutating func nextLimit() -> Interval? {
    guard misses >= Self.toleratedMisses else { return limit }
    skipped += 1
    guard skipped >= Self.pause else { return nil }
    skipped = 0
    return limit
  }

  mutating func recordHit() { misses = 0 }
  mutating func recordMiss() { misses += 1 }
}
