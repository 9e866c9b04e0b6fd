import Cluster
import Messaging

/// Bugs put in on purpose, around the machines and never in them, to show that the checker finds them. The checker
/// itself sees what was really sent.
package struct Sabotage {
  /// Changes what the server makes of a message; the scheduler is the server's before that, nil before its start.
  package var serverReceives: ((Message, Envelope, WorkScheduler?) -> (Message, Envelope))?
  /// Changes what the coordinator makes of a message.
  package var coordinatorReceives: ((Message, Envelope) -> (Message, Envelope))?
  /// Changes what a worker pushes.
  package var gradient: ((WorkItem, Payload) -> Payload)?
  /// Changes what is saved.
  package var checkpoint: ((RunState) -> RunState)?
  /// Announces a checkpoint before it is written.
  package var announcesEarly = false
  /// fsync succeeds and does nothing.
  package var ignoresSynchronize = false
  /// Refusals are lost.
  package var losesRefusals = false
  /// A coordinator that is started again does not look for checkpoints.
  package var forgetsCheckpoints = false

  /// Changes how long servers and workers wait.
  package var memberTiming: ((Timing) -> Timing)?

  package init() {}
}
