import Cluster
import Diagnostics
import Messaging
import SharedMemory
import ZeroMQTransport

/// Runs a parameter server until the coordinator, a signal or silence ends it.
///
/// It listens beside the coordinator: in the same socket directory, or on `bindHost` at a free port.
/// - Throws: what kept it from beginning; how it ended otherwise is the result.
public func runServer(_ options: NodeOptions, bindHost: String = "127.0.0.1") throws(Failure) -> Message.Ending {
  try runServer(options, bindHost: bindHost, in: NodeProcess(diesWithParent: options.diesWithParent))
}

package func runServer(
  _ options: NodeOptions, bindHost: String, in process: NodeProcess
) throws(Failure) -> Message.Ending {
  let security = try options.security.open(as: .server)
  let found = try options.coordinator.meeting(
    launch: options.launch, timeout: options.timing.rendezvous, interruptions: process.interruptions)
  guard let meeting = found else { return .stoppedWhileWaiting }
  let log = try process.log(role: .server, meeting: meeting, options: options)
  let context = try MessagingContext(security: security, lease: options.timing.lease)
  let transport = NodeTransport(role: .server, incarnation: process.incarnation, context: context)
  let endpoint = try transport.listen(at: meeting.coordinator.forServer(process.incarnation, host: bindHost))
  guard
    try transport.join(
      meeting.coordinator, timeout: options.timing.rendezvous, interruptions: process.interruptions)
  else { return .stoppedWhileWaiting }
  log.note(.info, event: "listening", "the server listens at \(endpoint)")
  let memory = try ServerChannels()
  let machine = ServerMachine(
    incarnation: process.incarnation, endpoint: endpoint, processID: process.processID, host: process.host,
    timing: options.timing, makePool: { byteCount, _ in memory.weights(byteCount: byteCount) })
  let runner = RoleRunner(
    machine: machine, links: NodeLinks(sockets: transport, memory: memory, log: log), mailbox: try Mailbox(),
    interruptions: process.interruptions, shell: ServerShell(log: log), log: log)
  let ending = runner.run()
  log.note(ending.status == .success ? .info : .error, event: "ended", ending.reason)
  return ending
}

extension Endpoint {
  /// Where the server of the coordinator at this endpoint listens. The name is new with each start, so that what was meant
  /// for a server that died never reaches its successor.
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

/// The server's machine asks for nothing but messages and notes.
private final class ServerShell: NodeShell {
  private let log: NodeLog
  init(log: NodeLog) { self.log = log }

  func perform(_ action: Action) {
    guard case .observe(.note(let level, let event, let text)) = action else { return }
    log.note(level, event: event, text)
  }

  func abandon() {}
}
