import Cluster
import Diagnostics
import Files
import Glibc
import Messaging
import Reporting
import Transport

/// The connection of a server or worker process to the coordinators of its run, one after the other: the process
/// outlives them, and joins each as a new incarnation.
final class CoordinatorSession {
  let options: NodeOptions
  let process: NodeProcess
  let security: ConnectionSecurity
  let context: MessagingContext
  /// In a file, and on standard error for people.
  let log: NodeLog
  /// Of the process on its host: "worker-1".
  let name: String
  private let role: NodeRole
  private var formerExit: String?
  private var address: CoordinatorAddress

  /// Waits for the first coordinator; nil when a signal came meanwhile, or the run is over (`NodeOptions.endingOfWait`).
  ///
  /// - Throws: `unavailable` when there was none in time, and what `NodeOptions.openSecurity` does.
  init?(as role: NodeRole, _ options: NodeOptions, _ process: NodeProcess) throws(Failure) {
    (self.role, self.options, self.process) = (role, options, process)
    formerExit = options.formerExit
    name = options.name ?? (role == .worker ? "worker-\(getpid())" : "\(role)")
    let fullName = NodeProcess.fullName(name)
    security = try options.openSecurity(as: role)
    guard let address = try CoordinatorAddress.find(options, signals: process.signals) else { return nil }
    self.address = address
    let place = try options.logPlace(of: fullName)
    let file = try place.path.map { path throws(Failure) in
      try LogFile(path: path, run: address.runIdentifier ?? "", role: "\(role)", name: fullName)
    }
    log = NodeLog(file: file) { level, message in
      if level >= .info, !options.isQuiet { StandardError.write("\(fullName): \(message)\n") }
    }
    if let path = place.path {
      if place.isLocal { log.note(.info, event: "log_file", "writing the log into \(path)") }
    } else {
      log.note(.warning, event: "log_not_written", "found no writable place for the log: name one with --log-dir")
    }
    context = try MessagingContext(security: security, lease: options.timing.lease)
  }

  /// Runs one incarnation after the other until one ends otherwise than by a change of coordinators.
  ///
  /// - Parameter incarnation: runs one, and returns nil when a signal came before it had joined.
  func run(_ incarnation: (Incarnation) throws(Failure) -> RoleEnding?) throws(Failure) -> ExitReason {
    while true {
      switch try incarnation(.draw()) {
      case nil: return .stoppedWhileWaiting
      case .ended(let ending):
        log.note(ending.status.noteLevel, event: "ended", ending.reason, isShown: ending.status == .success)
        return ending
      case .superseded(let reason):
        log.note(.warning, event: "rejoining", reason)
        guard let next = try CoordinatorAddress.find(options, signals: process.signals) else {
          return options.endingOfWait()
        }
        address = next
      }
    }
  }

  var endpoint: Endpoint { address.endpoint }

  /// How the process ended that this one replaces: for its first join only, so that a restart is recorded once.
  func takeFormerExit() -> String {
    defer { formerExit = nil }
    return formerExit ?? ""
  }

  /// What brings back a coordinator that has ended.
  var resumeHint: String {
    if options.launch != nil { return "descent train restarts the coordinator" }
    guard let paths = options.paths else { return "Resume the run on the host of the coordinator" }
    return "If the coordinator has ended, resume the run with: "
      + shellCommand(["Scripts/resume.sh", "--run-dir", paths.directory])
  }

  /// Memory for the weights that a server sends, shared with the workers of its host; where that cannot be, as the log
  /// says, for the server alone.
  func weights(_ byteCount: Int, _ count: Int, _ transport: NodeTransport) -> PayloadPool {
    guard case .ipc = endpoint else { return PayloadPool(byteCount: byteCount, limit: count) }
    do {
      let memory = try MemoryChannels(weightsByteCount: byteCount, count: count)
      transport.share(memory)
      return memory.payloads(byteCount: byteCount)
    } catch {
      log.note(.warning, event: "memory_not_shared", error.description)
      return PayloadPool(byteCount: byteCount, limit: count)
    }
  }

  /// The trace of one incarnation; nil without `trace-steps`.
  func traceRecorder(_ incarnation: Incarnation, tracks: [String], spansPerStep: Int) -> TraceRecorder? {
    options.traceRecorder(
      role, name: NodeProcess.fullName(name), incarnation, in: options.settings.runDirectory, tracks: tracks,
      spansPerStep: spansPerStep, log: log)
  }

  /// The transport of one incarnation.
  func transport(_ incarnation: Incarnation) -> NodeTransport {
    let transport = NodeTransport(
      role: role, incarnation: incarnation, context: context,
      sharesCore: options.settings.workers > Processors.count)
    transport.memoryFailed = { [log] in log.note(.warning, event: "memory_not_shared", $0.description) }
    return transport
  }

  /// Connects to the coordinator and waits until it has accepted the key; false when a signal came meanwhile.
  func join(_ transport: NodeTransport) throws(Failure) -> Bool {
    try transport.join(endpoint, timeout: options.timing.rendezvous, signals: process.signals) {
      // The address may have been left by a coordinator on a host that is gone.
      guard let next = self.published(), next.endpoint != self.endpoint else { return nil }
      self.address = next
      return next.endpoint
    }
  }

  /// The address in the run directory, if there is one.
  private func published() -> CoordinatorAddress? {
    options.paths.flatMap { try? CoordinatorAddress.published(in: $0, launch: options.launch) }
  }

  func perform(_ request: MemberRequest, _ transport: NodeTransport) -> RoleEnding? {
    switch request {
    case .seekCoordinator:
      reconnect(transport)
      return nil
    case .rejoin(let reason):
      // The message names no run, so no role acts on it: it gives back the key, which the next incarnation of this node
      // needs at once.
      transport.send(.leave, to: .coordinator, Addressing())
      return .superseded(reason: reason)  // defence: rejoin
    }
  }

  /// Connects to the coordinator's new address, if the run directory has one, in place of the earlier connection.
  private func reconnect(_ transport: NodeTransport) {
    guard let found = published(), found.endpoint != endpoint else { return }
    address = found
    connecting { () throws(Failure) in
      try transport.connectToCoordinator(endpoint)
      log.note(.info, event: "coordinator_moved", "the coordinator is at \(endpoint) now")
    }
  }

  /// Logs why a connection could not be opened: the role tries again.
  func connecting(_ connect: () throws(Failure) -> Void) {
    do throws(Failure) {
      try connect()
    } catch {
      log.note(.error, event: "connect_failed", error.description)
    }
  }
}

extension Incarnation {
  /// A number for this start of this process. Only the system's generator will do: two processes must differ.
  static func draw() -> Incarnation { Incarnation(UInt64.random(in: 1 ... .max)) }
}

extension ExitReason {
  static let stoppedWhileWaiting = ExitReason(
    status: .stoppedBySignal, reason: "stopped by a signal while waiting for the coordinator")
}

extension NodeOptions {
  /// Takes the key of a process of this role, if there are to be keys.
  ///
  /// - Parameter isRehearsal: whether the key is only to be looked at.
  /// - Throws: what `KeyDirectory.take` does, and `badConfiguration` for a name that no key can have.
  func openSecurity(as role: NodeRole, isRehearsal: Bool = false) throws(Failure) -> ConnectionSecurity {
    guard let directory = settings.keys else { return .plaintext(beyondThisHost: allowsPlaintextBeyondThisHost) }
    let name = try settings.key.map { text throws(Failure) in
      guard let name = KeyName(text) else {
        throw Failure(.badConfiguration, "key must be \(KeyName.expectation), but is \"\(text.prefix(100))\"")
      }
      return name
    }
    let lease = isRehearsal ? nil : timing.directoryLease
    let keys = try KeyDirectory(path: directory).take(for: role, named: name, lease: lease) { text in
      if !isQuiet { StandardError.write(message: "descent: \(text)") }
    }
    return .keys(keys)
  }
}

extension NodeTransport {
  /// Connects to the coordinator, and waits until it has accepted the key if there are keys.
  ///
  /// - Parameter moved: asked twice a second; another address of the coordinator, if it has one by now.
  /// - Returns: false when a signal came meanwhile.
  /// - Throws: `refused` when the coordinator does not know the key, or does not hold the coordinator's own key;
  ///   `unavailable` when there was none after `timeout`.
  func join(
    _ coordinator: Endpoint, timeout: Interval, signals: TerminationSignals, moved: () -> Endpoint? = { nil }
  ) throws(Failure) -> Bool {
    let deadline = Instant.now + timeout
    var coordinator = coordinator
    guard let endpoint = try find(&coordinator, until: deadline, timeout, signals, moved) else { return false }
    try connectToCoordinator(endpoint)
    while try !isAdmitted(
      waitingFor: signals.descriptors, milliseconds: min(500, deadline.millisecondsFromNow))
    {
      if signals.poll() { return false }
      if let next = moved() {
        coordinator = next
        guard let endpoint = try find(&coordinator, until: deadline, timeout, signals, moved) else { return false }
        try connectToCoordinator(endpoint)
        continue
      }
      guard Instant.now < deadline else {
        guard failedHandshakes > 0 else {
          throw Failure(.unavailable, "no coordinator at \(coordinator) after \(timeout)")
        }
        throw Failure(
          .refused,
          "the process at \(coordinator) does not hold the coordinator's key: \(failedHandshakes) handshakes broke off",
          remedy: "Compare the line of the coordinator in the allow-lists of both hosts")
      }
    }
    return true
  }

  /// Waits until the coordinator's host name has an address, and of several addresses one is listened at. Names may come
  /// with the processes behind them.
  ///
  /// - Returns: nil when a signal came meanwhile.
  private func find(
    _ coordinator: inout Endpoint, until deadline: Instant, _ timeout: Interval, _ signals: TerminationSignals,
    _ moved: () -> Endpoint?
  ) throws(Failure) -> Endpoint? {
    while true {
      if let next = moved() { coordinator = next }
      var failure = Failure(.unavailable, "no coordinator at \(coordinator) after \(timeout)")
      do throws(Failure) {
        if let endpoint = try reachable(coordinator) { return endpoint }
      } catch {
        guard error.status == .unavailable else { throw error }
        failure.found = error.message
      }
      guard Instant.now < deadline else { throw failure }
      var items = signals.descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      poll(&items, UInt(items.count), min(200, Int32(clamping: deadline.millisecondsFromNow)))
      if signals.poll() { return nil }
    }
  }
}
