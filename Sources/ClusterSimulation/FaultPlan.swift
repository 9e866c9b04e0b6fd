import Cluster
import Messaging

/// What goes wrong, and until when. The times are drawn from the simulation's seed.
public struct FaultPlan: Sendable, Equatable {
  // Each message, while faults last.
  /// Share of messages that never arrive.
  public var loss = 0.0
  /// Share of messages that arrive a second time.
  public var duplication = 0.0
  /// Share of messages one bit of which is flipped on the way.
  public var corruption = 0.0
  /// Share of messages that take up to `longestDelay`, so that others overtake them.
  public var reordering = 0.0
  public var longestDelay = Interval.seconds(3)

  // How often, at times drawn from 0 ..< `span`. A process that ends before the run is over is started
  // again a while later.
  /// A process ends without a word, half of the time in the middle of what it was sending.
  public var workerCrashes = 0
  public var serverCrashes = 0
  /// The others end with it half of the time; otherwise they are still there when its successor comes, which
  /// resumes from the newest checkpoint.
  public var coordinatorCrashes = 0
  /// All processes are killed at once.
  public var simultaneousCrashes = 0
  /// The coordinator's host loses power, and with it what was not yet durable; half of the time it is the host of
  /// all.
  public var powerCuts = 0
  /// The coordinator gets a signal: it saves and ends the run, which is resumed.
  public var stopSignals = 0
  /// A process does nothing for up to `longestPause`, with its messages waiting, and then continues.
  public var workerPauses = 0
  public var serverPauses = 0
  public var coordinatorPauses = 0
  public var longestPause = Interval.seconds(6)
  /// The same for a worker, for up to `longestStall`, which no lease notices.
  public var workerStalls = 0
  public var longestStall = Interval.seconds(0.5)
  /// All processes are stopped at once, for up to `longestSuspension`, and continue in any order within moments.
  public var suspensions = 0
  public var longestSuspension = Interval.seconds(60)
  /// A process lives and works, but from then on it is not heard (mute), or hears nothing (deaf). If there is none at
  /// that time, the next one is so from its start, unless faults have ceased. For plans with a supervisor, which replaces
  /// it.
  public var silences = 0
  /// Workers that come after the start and stay.
  public var lateJoiners = 0
  /// Workers that get a signal and leave; they do not return if another worker is left.
  public var departures = 0
  /// A second server is started while the first one lives.
  public var secondServers = 0

  // Ways on which nothing gets through for up to `longestPartition`. What is sent meanwhile is lost, or arrives
  // afterwards.
  /// From one place to another; the way back stays open.
  public var oneWayPartitions = 0
  /// Between two places.
  public var twoWayPartitions = 0
  /// Some places are cut off one after the other, inwards, outwards or both, and come back in another order.
  public var swizzles = 0
  public var longestPartition = Interval.seconds(6)

  // The disk.
  /// Share of saves in which a call fails, or all calls from one on, with EIO or ENOSPC.
  public var diskFailures = 0.0
  /// How often the disk is full, for up to `longestFullDisk`.
  public var fullDisks = 0
  public var longestFullDisk = Interval.seconds(6)

  /// By how much a process's clock is too fast or too slow at most, in millionths; at most 100,000.
  public var largestClockDrift: UInt64 = 0

  /// Faults begin within this time after the start...
  public var span = Interval.seconds(10)
  /// ...and at this time all end: no message is lost any more, every process runs.
  public var cease = Interval.seconds(20)

  public static let none = FaultPlan()

  public init() {}

  /// Draws which faults there are and how many. Each kind is absent from at least half of the plans: a schedule with
  /// all of them at once hardly ever gets deep into a run (Groce et al. 2012, "Swarm testing").
  public init(seed: UInt64) {
    var random = SeededRandom(seed: seed, purpose: .faults)
    func share(_ largest: Double) -> Double { random.happens(0.5) ? random.fraction() * largest : 0 }
    func number(_ largest: UInt64, _ probability: Double = 0.5) -> Int {
      random.happens(probability) ? 1 + Int(random.integer(below: largest)) : 0
    }
    loss = share(0.2)
    duplication = share(0.3)
    corruption = share(0.02)
    reordering = share(0.2)
    workerCrashes = number(5)
    serverCrashes = number(2)
    coordinatorCrashes = number(2, 0.4)
    simultaneousCrashes = number(1, 0.3)
    powerCuts = number(2, 0.4)
    stopSignals = number(1, 0.3)
    workerPauses = number(4)
    serverPauses = number(1)
    coordinatorPauses = number(1)
    lateJoiners = number(3)
    departures = number(2)
    secondServers = number(1)
    oneWayPartitions = number(3)
    twoWayPartitions = number(2, 0.3)
    swizzles = number(1, 0.3)
    diskFailures = share(0.5)
    fullDisks = number(1, 0.2)
    largestClockDrift = random.happens(0.5) ? 1 + random.integer(below: 50_000) : 0
    span = .seconds(random.element(of: [2, 4, 8]))
    cease = .seconds(span.seconds + longestPause.seconds)
    workerStalls = number(20)
  }

  /// The same for a cluster of so many workers: the more there are, the more of them crash, stop, come and go, and the more
  /// ways are cut.
  public init(seed: UInt64, workers: Int) {
    self.init(seed: seed)
    let factor = max(1, workers / Self.workersPerFault)
    workerCrashes *= factor
    workerPauses *= factor
    workerStalls *= factor
    lateJoiners *= factor
    departures *= factor
    oneWayPartitions *= factor
    twoWayPartitions *= factor
  }

  /// In a cluster of a thousand a worker crashes as often as in one of this size.
  private static let workersPerFault = 32

  /// Draws what happens to the processes of one host under a supervisor, with the waits of `timing`: one fault, or some
  /// at once.
  public init(supervisedSeed seed: UInt64, timing: Timing) {
    var random = SeededRandom(seed: seed, purpose: .faults)
    func number(_ largest: UInt64) -> Int { random.happens(0.4) ? 1 + Int(random.integer(below: largest)) : 0 }
    longestPause = .seconds(min(6, timing.rendezvous.seconds / 2))
    span = .seconds(random.element(of: [1, 4, 8]))
    cease = .seconds(span.seconds + longestPause.seconds)
    if random.happens(0.5) {
      switch random.integer(below: 8) {
      case 0: workerCrashes = 1
      case 1: serverCrashes = 1
      case 2: coordinatorCrashes = 1
      case 3: workerPauses = 1
      case 4: serverPauses = 1
      case 5: coordinatorPauses = 1
      default: silences = 1
      }
    } else {
      workerCrashes = number(8)
      serverCrashes = number(8)
      coordinatorCrashes = number(8)
      simultaneousCrashes = number(2)
      stopSignals = number(2)
      workerPauses = number(4)
      serverPauses = number(2)
      coordinatorPauses = number(2)
      departures = number(1)
      silences = number(3)
    }
  }
}
