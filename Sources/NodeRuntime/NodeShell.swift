import Cluster
import ZeroMQTransport

/// The part of a node that is not the same for all roles: what its machine wants done besides messages.
package protocol NodeShell: AnyObject {
  /// Performs one action, or has it performed on another thread which posts the outcome to the mailbox. Must
  /// return soon, for nothing is received meanwhile. `send`, `connect` and `stop` never come here.
  func perform(_ action: Action)

  /// The process ends at once: takes away what would be left behind. Nothing may take long.
  func abandon()

  /// Where the coordinator is, if it is no longer where it was.
  func findCoordinator() -> Endpoint?

  /// The size of what a worker pushes; nil for other roles, and before it is known.
  var gradientByteCount: Int? { get }
}

extension NodeShell {
  package var gradientByteCount: Int? { nil }
  package func findCoordinator() -> Endpoint? { nil }
}
