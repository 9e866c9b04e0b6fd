import Cluster
import Messaging

/// The part of a node that differs between roles: it performs the actions of its machine.
package protocol NodeShell: AnyObject {
  associatedtype Machine: Role where Machine.Event: NodeEvent & FaultPointNaming, Machine.Action: FaultPointNaming
  /// How the role may end.
  associatedtype Ending

  /// Performs one action, or has another thread perform it, which posts the outcome to the mailbox. Must return soon: the
  /// node receives nothing meanwhile.
  /// - Returns: how the role ended, for its last action.
  func perform(_ action: Machine.Action) -> Ending?

  /// The process ends at once: removes what would be left behind. Nothing may take long.
  func abandon()
}

/// How the role of a server or a worker ended.
package enum RoleEnding: Sendable, Equatable {
  case ended(ExitReason)
  /// Another coordinator has the run: the process continues with a new machine.
  case superseded(reason: String)
}
