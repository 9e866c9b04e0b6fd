import Cluster
import Messaging

/// Bugs put in on purpose, between the machines and what they see, to show that the checker finds them. The checker
/// itself sees what was really sent.
package struct Sabotage {
  /// Changes what the server makes of a message; it is told which work is open.
  package var serverReceives: ((Message, Envelope, [ServerInspection.OpenTicket]) -> (Message, Envelope))?
  /// Changes what a worker pushes.
  package var gradient: ((GradientTask, Payload) -> Payload)?
  /// Changes what the disk keeps and announces.
  package var checkpoint: ((CheckpointRequest) -> CheckpointRequest)?
  /// Announces a checkpoint before it is durable.
  package var announcesEarly = false

  package init() {}
}
