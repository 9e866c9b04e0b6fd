import Cluster

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

  // How often, at times drawn from 0 ..< `span`.
  /// A process ends without a word, half of the time in the middle of what it was sending.
  public var workerCrashes = 0
  public var serverCrashes = 0
  /// A process does nothing for up to `longestPause`, with its messages waiting, and then goes on.
  public var workerPauses = 0
  public var serverPauses = 0
  public var coordinatorPauses = 0
  public var longestPause = Interval.seconds(6)
  /// One process's messages to another one are lost for up to `longestPartition`; the way back stays open.
  public var partitions = 0
  public var longestPartition = Interval.seconds(6)
  /// Workers that come after the start and stay.
  public var lateJoiners = 0
  /// Workers that get a signal and take leave; they do not come back if another worker is left.
  public var departures = 0
  /// A second server is started while the first one lives.
  public var secondServers = 0
  /// Share of checkpoints that the disk refuses.
  public var diskFailures = 0.0

  /// The coordinator gets a signal.
  public var stopSignal: Interval?
  /// Every process is killed; what is durable by then is what is left.
  public var killEverything: Interval?

  /// Faults begin within this time after the start...
  public var span = Interval.seconds(10)
  /// ...and at this time all end: no message is lost any more, every process runs.
  public var cease = Interval.seconds(20)

  public static let none = FaultPlan()

  public init() {}

  /// Draws which faults there are and how many. Each kind is absent from about half of the plans: a schedule with
  /// all of them at once hardly ever gets deep into a run (Groce et al. 2012, "Swarm testing").
  public init(seed: UInt64) {
    var chance = Chance(seed: seed, purpose: .faults)
    func share(_ largest: Double) -> Double { chance.happens(0.5) ? chance.fraction() * largest : 0 }
    func number(_ largest: UInt64) -> Int { chance.happens(0.5) ? 1 + Int(chance.integer(below: largest)) : 0 }
    loss = share(0.2)
    duplication = share(0.3)
    corruption = share(0.02)
    reordering = share(0.2)
    workerCrashes = number(5)
    serverCrashes = number(2)
    workerPauses = number(4)
    serverPauses = number(1)
    coordinatorPauses = number(1)
    partitions = number(4)
    lateJoiners = number(3)
    departures = number(2)
    secondServers = number(1)
    diskFailures = share(0.3)
    span = .seconds([1, 3, 10][Int(chance.integer(below: 3))])
  }
}
