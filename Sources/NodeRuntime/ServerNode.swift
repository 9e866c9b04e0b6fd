import Cluster
import Diagnostics
import Messaging
import SharedMemory
import ZeroMQTransport

/// Runs a parameter server until the coordinator, a signal or silence ends it.
///
/// It listens beside the coordinator: in the same socket directory, or on the host of the settings at a free port.
/// - Throws: why it could not begin. Otherwise the result says why it ended.
public func runServer(_ options: NodeOptions) throws(Failure) -> ExitReason {
  try runServer(options, in: NodeProcess(diesWithParent: options.diesWithParent))
}

package func runServer(_ options: NodeOptions, in process: NodeProcess) throws(Failure) -> ExitReason {
  let security = try options.openSecurity(as: .server)
  guard let visit = try CoordinatorVisit(options, process) else { return .stoppedWhileWaiting }
  let log = try process.log(role: .server, meeting: visit.meeting, options: options)
  let context = try MessagingContext(security: security, lease: options.timing.lease)
  return try visit.repeating(log) { (visit, incarnation) throws(Failure) in
    try serve(visit, incarnation, context, log)
  }
}

/// One incarnation of the server, from its join to its end; nil if a signal came first.
private func serve(
  _ visit: CoordinatorVisit, _ incarnation: Incarnation, _ context: MessagingContext, _ log: NodeLog
) throws(Failure) -> RoleEnding? {
  let transport = NodeTransport(role: .server, incarnation: incarnation, context: context)
  let endpoint = try transport.listen(
    at: visit.meeting.coordinator.forServer(incarnation, host: visit.options.settings.bind))
  guard try visit.join(transport) else { return nil }
  log.note(.info, event: "listening", "listening on \(endpoint)")
  let memory = try ServerChannels()
  let machine = ServerMachine(
    incarnation: incarnation, endpoint: endpoint, processID: visit.process.processID, host: visit.process.host,
    timing: visit.options.timing, kernel: visit.process.kernel,
    makePool: { byteCount, _ in memory.weights(byteCount: byteCount) })
  let links = NodeLinks(sockets: transport, memory: memory, log: log)
  let runner = RoleRunner(
    machine: machine, links: links, mailbox: try Mailbox(), interruptions: visit.process.interruptions,
    shell: ServerShell(visit: visit, links: links, log: log), log: log, fault: try visit.process.faultPoint(.server))
  return runner.run()
}

extension Endpoint {
  /// Where the server of the coordinator at this endpoint listens. The name differs at each start, so that messages to a
  /// server that died never reach its successor.
  fileprivate func forServer(_ incarnation: Incarnation, host: String) throws(Failure) -> Endpoint {
    switch self {
    case .ipc(let path):
      let directory = path.lastIndex(of: "/").map { path[..<$0] } ?? "."
      return try Endpoint(socketPath: "\(directory)/server-\(incarnation)")
    case .tcp:
      return .tcp(host: host, port: nil)
    }
  }
}

private final class ServerShell: NodeShell {
  typealias Machine = ServerMachine

  private let visit: CoordinatorVisit
  private let links: NodeLinks
  private let log: NodeLog

  init(visit: CoordinatorVisit, links: NodeLinks, log: NodeLog) {
    self.visit = visit
    self.links = links
    self.log = log
  }

  func perform(_ action: ServerMachine.Action) -> RoleEnding? {
    switch action {
    case .send(let message, let destination, let addressing): links.send(message, to: destination, addressing)
    case .note(let level, let event, let text): log.note(level, event: event, text)
    case .seekCoordinator: links.reconnectToCoordinator(visit.findCoordinator())
    case .rejoin(let reason):
      links.returnKey()
      return .superseded(reason: reason)  // defence: rejoin
    case .stop(let status, let reason):
      return .ended(ExitReason(status: status, reason: reason))
    }
    return nil
  }

  func abandon() {}
}
