import Cluster
import Diagnostics
import Messaging

/// A monotonic clock with an origin of its own that runs too fast or too slow.
struct SimulatedClock {
  /// What it shows at the beginning of the simulation, in nanoseconds.
  var origin: UInt64
  /// By how much it is too fast, in millionths; negative if it is slow.
  var drift: Int64

  func reading(at now: UInt64) -> Instant {
    Instant(nanoseconds: UInt64(Int64(origin + now) + Int64(now) * drift / 1_000_000))
  }

  /// When it shows `reading`, or something later.
  func time(of reading: Instant) -> UInt64 {
    guard reading.nanoseconds > origin else { return 0 }
    let elapsed = reading.nanoseconds - origin
    var time = drift == 0 ? elapsed : elapsed * 1_000_000 / UInt64(1_000_000 + drift)
    while self.reading(at: time) < reading { time += 1 }
    return time
  }
}

/// One start of one process: a role and what the shell around it keeps.
final class SimulatedProcess {
  let index: Int
  let place: ProcessName
  let name: String
  let incarnation: Incarnation
  let clock: SimulatedClock

  // Exactly one of them; apart, so that each is changed in place.
  var coordinator: CoordinatorMachine?
  var server: ServerMachine?
  var worker: WorkerMachine?

  var isAlive = true
  /// It was asked to stop.
  var isSignalled = false
  var pausedUntil: UInt64 = 0
  /// It lives and works, but what it sends is lost, or what is sent to it.
  var isMute = false
  var isDeaf = false
  /// It dies after this many actions more.
  var actionsLeft: Int?
  var nextWake = UInt64.max
  var sequence: UInt64 = 0
  /// Messages on their way from here, by the place they go to.
  var inFlight: [Int] = []
  /// Server: where it listens, alone while it lives.
  var boundEndpoint: String?
  /// Worker: the weights that the newest gradient is computed from.
  var weights: Payload?
  /// Worker: the endpoints that its data sockets are connected to.
  var serverEndpoints: [ServerIndex: String] = [:]
  /// Coordinator: the checkpoint that its disk is at work on.
  var saving: RunState?

  // What is under way for it, to be compared with the bounds.
  var computations = 0
  var evaluations = 0

  init(index: Int, place: ProcessName, name: String, incarnation: Incarnation, clock: SimulatedClock) {
    self.index = index
    self.place = place
    self.name = name
    self.incarnation = incarnation
    self.clock = clock
  }

  var role: NodeRole { place.role }

  var isSilent: Bool { isMute || isDeaf }

  /// In simulated time.
  var nextDeadline: UInt64? {
    let deadline = coordinator?.nextDeadline ?? server?.nextDeadline ?? worker?.nextDeadline
    return deadline.map(clock.time)
  }
}
