import Messaging
import Optimization

/// How long each part of the cluster waits for another. Every wait has its bound here.
///
/// Three of them are settings. The others follow, because a wait must outlive what it waits for: where both sides wait
/// equally long, a supervisor that replaces the one is a moment too late for the other.
///
/// ```text
/// this                  must outlive                                 because
/// --------------------  -------------------------------------------  ---------------------------------------------------
/// lease                 2 heartbeats (the settings are checked)      a heartbeat that was lost is no failure
/// straggler             2 leases                                     a silence that the lease forgives holds up a step
/// coordinatorTimeout    2 leases                                     after 1 lease a member looks for a coordinator that
///                                                                    has moved
/// coordinatorTimeout    longestRestartDelay + start of a process     members survive the restart of their coordinator
/// coordinatorTimeout    5/4 directoryLease + start of a process      members survive that a coordinator on another host takes
///                                                                    the place of theirs
/// rendezvous            coordinatorTimeout + longestRestartDelay     a member that is deaf or mute is replaced before
///                       + lease + start of a process                 the coordinator gives the run up: the member gives
///                                                                    up, is restarted, and takes the place of its
///                                                                    predecessor when the lease of that one has expired
/// a server's lease      transfer                                     its heartbeats are behind a snapshot
/// straggler             transfer to and from each worker             a gradient waits for those of the others
/// leaving, interrupted  transfer                                     they wait for the last snapshot
/// correlationWindow     coordinatorTimeout + longestRestartDelay     within it each member of a silent coordinator
///                       + heartbeat + start of a process             times out once, wherever its own silence began
/// lastWorkerGrace       shutdownGrace + exit of a process            a coordinator that has stopped its workers waits for
///                                                                    their answers; SIGTERM might be its second one
/// stopTimeout           2 shutdownGrace + evaluation + save          a coordinator that stops asks for a last snapshot,
///                                                                    saves it, and waits for the answers
/// exitGrace, killDelay  linger of the sockets (1 s)                  the last messages of a process leave
/// stop.sh, units: 30 s  stopTimeout's + coordinatorTimeout           a member that the stop does not reach gives up
/// ```
///
/// All of them count the time in which the process ran (`Turn`).
///
/// The times of starts, exits and saves are not bounded by anything here; the sums leave room for them. For the row of
/// `rendezvous` to hold, the setting must be at least 4 leases.
public struct Timing: Sendable, Equatable {
  /// Between two heartbeats of a node, and between two tries of a message that got no answer. A setting.
  public var heartbeat = Interval.milliseconds(500)
  /// A node that was silent for this long is no longer a member. A setting.
  public var lease = Interval.seconds(2)
  /// For the coordinator, a server and the expected workers to find one another. A setting.
  public var rendezvous = Interval.seconds(30)

  /// A worker that waits for the server asks again after this long.
  public let retry = Interval.seconds(1)
  /// For the last messages when a run ends.
  public let shutdownGrace = Interval.seconds(3)

  public init() {}

  /// What the state of a large model, up to three vectors of its parameters, may take on its way over a slow network: at
  /// 10 MB a second, in whole seconds. Zero for models of less than 833,334 parameters. What waits for a message that the
  /// state is, or is before, waits longer by this.
  static func transfer(of plan: TrainingPlan) -> Interval {
    .seconds(Double(3 * plan.shape.parameterCount * MemoryLayout<Float>.stride / 10_000_000))
  }

  /// A signal that comes within this time of the first one is a copy of it (`StopRequests`).
  public static let copyWindow = Interval.seconds(1)

  /// A server or worker that has not heard from the coordinator for this long gives up.
  public var coordinatorTimeout: Interval { max(rendezvous / 2, lease * 2) }
  /// A worker that holds up the step for this long although it is alive is no longer a member.
  public var straggler: Interval { max(.seconds(30), lease * 2) }

  /// The coordinator's possession of the run directory, and the possession of a key, where no lock shows that its holder
  /// lives. A successor on another host waits a quarter longer.
  public var directoryLease: Interval { max(.milliseconds(500), min(rendezvous / 4, .seconds(10))) }

  /// A process may wait for this long in vain: for the coordinator's address, for its admission, and for its answer.
  public var longestJoin: Interval { rendezvous * 2 + coordinatorTimeout }

  // The supervisor's.

  /// Between the exit of a process and its restart.
  public var longestRestartDelay: Interval { rendezvous / 8 }
  /// Members that time out within this time of each other have the same cause.
  public var correlationWindow: Interval { coordinatorTimeout * 2 }
  /// From the exit of the coordinator to SIGTERM for the members that are left.
  public let exitGrace = Interval.seconds(2)
  /// From SIGTERM to SIGKILL.
  public let killDelay = Interval.seconds(2)
  /// From the exit of the last worker to SIGTERM for a coordinator that does not end by itself.
  public var lastWorkerGrace: Interval { shutdownGrace + exitGrace }
  /// From the SIGTERM that the supervisor sends to the coordinator to SIGKILL.
  public let stopTimeout = Interval.seconds(30)
  /// For a process to save and end after the process that started it.
  public static let orphanGrace = Interval.seconds(10)
  /// For the coordinator to remove its sockets after a second signal.
  public let abortGrace = Interval.milliseconds(500)
}
