import Cluster
import Diagnostics
import Messaging

/// One start of one process: a role and what the shell around it keeps.
final class SimulatedProcess {
  enum Machine {
    case coordinator(CoordinatorMachine)
    case server(ServerMachine)
    case worker(WorkerMachine)
  }

  let index: Int
  let place: Place
  let name: String
  let incarnation: Incarnation
  /// What its monotonic clock shows at the beginning of the simulation.
  let clockOrigin: UInt64

  // Exactly one of them; apart, so that each is changed in place.
  var coordinator: CoordinatorMachine?
  var server: ServerMachine?
  var worker: WorkerMachine?

  var isAlive = true
  var pausedUntil: UInt64 = 0
  /// It dies after this many actions more.
  var actionsLeft: Int?
  var nextWake = UInt64.max
  var sequence: UInt64 = 0
  /// Server: where it listens; nobody else does while it lives.
  var boundEndpoint: String?
  /// Worker: the endpoint its data socket is connected to.
  var serverEndpoint = ""

  init(
    index: Int, place: Place, name: String, incarnation: Incarnation, clockOrigin: UInt64, machine: Machine
  ) {
    self.index = index
    self.place = place
    self.name = name
    self.incarnation = incarnation
    self.clockOrigin = clockOrigin
    switch machine {
    case .coordinator(let machine): coordinator = machine
    case .server(let machine): server = machine
    case .worker(let machine): worker = machine
    }
  }

  var role: NodeRole { coordinator != nil ? .coordinator : server != nil ? .server : .worker }

  func handle(_ event: Event, at now: UInt64, into actions: inout [Action]) {
    let instant = Instant(nanoseconds: clockOrigin + now)
    coordinator?.handle(event, at: instant, into: &actions)
    server?.handle(event, at: instant, into: &actions)
    worker?.handle(event, at: instant, into: &actions)
  }

  /// In simulated time.
  var nextDeadline: UInt64? {
    let deadline = coordinator?.nextDeadline ?? server?.nextDeadline ?? worker?.nextDeadline
    return deadline.map { $0.nanoseconds > clockOrigin ? $0.nanoseconds - clockOrigin : 0 }
  }
}
