import Diagnostics
import Files
import Glibc
import Messaging
import Reporting
import Transport

/// How a run stands, whether or not a process works on it.
public enum RunStatus {
  /// What its coordinator says, and what the files of the run say.
  case alive(CoordinatorReport, RunSummary?)
  case files(RunSummary)

  /// Of `descent status`.
  public var exitCode: Int32 {
    switch self {
    case .alive: 0
    case .files(let summary): summary.state.exitCode
    }
  }

  /// Asks the coordinator, if there is one. Waits for nothing where no process works on the run.
  ///
  /// - Throws: `missingInput` when there is no run; `unavailable` when the coordinator does not answer within `timeout`, and
  ///   `refused` when the reason is known to be a key or the user.
  public init(_ options: NodeOptions, timeout: Interval) throws(Failure) {
    guard options.endpoint == nil, let paths = options.paths else {
      // `find` says what is missing where neither is given.
      let address = try CoordinatorAddress.find(options, timeout: timeout, signals: TerminationSignals())
      guard let endpoint = address?.endpoint else { preconditionFailure("interrupted by a signal that is not watched") }
      self = .alive(try CoordinatorReport(from: endpoint, options, timeout), nil)
      return
    }
    let address = try CoordinatorAddress.published(in: paths)
    let summary = try RunSummary(of: paths)
    guard let address else {
      self = .files(summary)
      return
    }
    try summary.requireSameProtection(as: options)
    do throws(Failure) {
      self = .alive(try CoordinatorReport(from: address.endpoint, options, timeout), summary)
    } catch {
      // It may have ended meanwhile.
      guard error.status == .unavailable, !paths.isLocked else { throw error }
      self = .files(try RunSummary(of: paths))
    }
  }
}

extension RunSummary {
  /// A connection with keys on one side only would fail without a reason.
  fileprivate func requireSameProtection(as options: NodeOptions) throws(Failure) {
    guard state != .damaged, starts > 0 else { return }
    switch (setting("keys"), options.settings.keys) {
    case (.string(let directory), nil):
      throw Failure(
        .refused, "the coordinator of \(runDirectory) accepts only known keys",
        remedy: "Pass --keys DIR; the processes of the run use \(directory)")
    case (.null, let given?):
      throw Failure(
        .refused, "the run in \(runDirectory) uses no keys, but --keys is \(given)", remedy: "Omit --keys")
    default: break
    }
  }
}

/// What a coordinator answers to `descent status`: the members of `StatusReport`.
public struct CoordinatorReport {
  package let fields: JSONFields

  fileprivate init(from endpoint: Endpoint, _ options: NodeOptions, _ timeout: Interval) throws(Failure) {
    if case .ipc(let path) = endpoint, access(path, R_OK | W_OK) != 0, errno == EACCES {
      throw Failure(
        .refused, "cannot connect to \(path): \(ErrorNumber.last.text)",
        remedy: "Run this as the user that runs the coordinator")
    }
    try RunLimits.require(.observer, workers: 0)
    let deadline = Instant.now + timeout
    let security = try options.openSecurity(as: .observer)
    // Watches for nothing, so that a signal ends this process and no wait is interrupted.
    let signals = TerminationSignals()
    let transport = NodeTransport(
      role: .observer, incarnation: .draw(), context: try MessagingContext(security: security))
    defer { transport.close() }
    guard try transport.join(endpoint, timeout: deadline.since(.now), signals: signals) else {
      preconditionFailure("a wait was interrupted by a signal that was not watched for")
    }
    transport.send(.statusRequest, to: .coordinator, Addressing())
    while Instant.now < deadline {
      transport.wait(for: [], until: deadline)
      while let (message, _) = transport.receive() {
        guard case .status(let report) = message else { continue }
        fields = try JSONFields(parsing: Array(report.bytes), source: "the answer of the coordinator")
        return
      }
    }
    throw Failure(
      .unavailable, "the coordinator at \(endpoint) does not answer",
      remedy: options.settings.keys == nil ? "If the run uses keys, pass --keys DIR" : nil)
  }
}
