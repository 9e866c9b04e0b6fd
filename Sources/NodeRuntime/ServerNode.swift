import Cluster
import Diagnostics
import Files
import Glibc
import Messaging
import Transport

/// Runs a parameter server until the coordinator, a signal or silence ends it.
///
/// It listens beside the coordinator: in the same socket directory, or on the host of the settings at a free port.
/// - Throws: why it could not begin. Otherwise the result says why it ended.
package func runServer(_ options: NodeOptions) throws(Failure) -> ExitReason {
  let process = try NodeProcess(options)
  try RunLimits.require(.server, workers: options.settings.workers)
  guard let session = try CoordinatorSession(as: .server, options, process) else { return options.endingOfWait() }
  return try session.run { (incarnation) throws(Failure) in try serve(session, incarnation) }
}

/// One incarnation of the server, from its join to its end; nil if a signal came first.
private func serve(_ session: CoordinatorSession, _ incarnation: Incarnation) throws(Failure) -> RoleEnding? {
  let transport = session.transport(incarnation)
  let place = try session.addressOfServer(incarnation)
  let endpoint = try transport.listen(at: place.listening, advertising: place.advertised)
  guard try session.join(transport) else { return nil }
  session.log.note(.info, event: "listening", "listening on \(endpoint)")
  let helper = HelperThread("update")
  let machine = ServerMachine(
    incarnation: incarnation, endpoint: endpoint, processID: getpid(), host: NodeProcess.host,
    formerExit: session.takeFormerExit(), resumeHint: session.resumeHint, timing: session.options.timing,
    // Of the machine: workers may be bound to other processors than the server.
    processors: Processors.online, kernel: session.process.kernel,
    makePool: { session.weights($0, $1, transport) }, runPieces: { helper.run($0, $1) })
  let trace = session.traceRecorder(
    incarnation, tracks: [LoopTrace<ServerMachine>.trackName],
    spansPerStep: 4 * max(16, session.options.settings.workers))
  defer { session.log.note(trace) }
  let runner = RoleRunner(
    machine: machine, transport: transport, mailbox: try Mailbox(), signals: session.process.signals, log: session.log,
    fault: try FaultPoint(.server), trace: trace.map { LoopTrace($0) { $0.progress } },
    perform: { session.perform($0, transport) })
  return runner.run()
}

extension CoordinatorSession {
  /// Where the server of the coordinator at this endpoint listens. The name differs at each start, so that messages to a
  /// server that died never reach its successor.
  fileprivate func addressOfServer(
    _ incarnation: Incarnation
  ) throws(Failure) -> (listening: Endpoint, advertised: String?) {
    switch endpoint {
    case .ipc(let path):
      let directory = path.lastIndex(of: "/").map { path[..<$0] } ?? "."
      return (try Endpoint(socketPath: "\(directory)/server-\(incarnation)"), nil)
    case .tcp:
      let settings = options.settings
      let address = try NodeAddress(
        bind: settings.bind, advertise: settings.advertise, port: nil, security: security)
      return (address.listening, address.advertised)
    }
  }
}
