import Messaging

/// Processes of several hosts that want the same lease (`LeaseApplication`, `LeaseTerm`), over a file server that each of
/// them sees late: a disk hangs, processes are stopped and continued, die, and give the lease back. Nothing but the seed
/// decides what happens.
///
/// The file server creates a file once, whatever the clients see of it (O_EXCL). What else they see may be as old as the
/// margin of the lease allows. Each process has a clock of its own, with an origin of its own.
public struct LeaseSimulation {
  /// What came of a run of the simulation.
  public struct Report: Sendable, Equatable {
    /// Writes that a holder was sure of, and of these, those after another process had claimed a later epoch: none.
    public var writes = 0
    public var wrongWrites = 0
    /// Holders: those that claimed an epoch from another process, and those that lost it.
    public var successors = 0
    public var losses = 0
    /// Processes that were told that the holder lives.
    public var refusals = 0
    /// Holders that found their lease expired, and claimed the next epoch before any other process did.
    public var recoveries = 0
    /// Whether a process held the lease at the end, or all of them had died.
    public var isHeld = false
    /// Processes that were sure of the lease at the end: at most one.
    public var holders = 0

    public init() {}
  }

  /// The file of an epoch, as the server has it.
  private struct File {
    let owner: Int
    let created: UInt64
    var removed: UInt64?
    var released: UInt64?
    /// When each renewal reached the server.
    var renewals: [UInt64]

    func exists(at time: UInt64) -> Bool { created <= time && removed.map { $0 > time } ?? true }
  }

  private enum Phase {
    case looking(began: UInt64)
    case claiming(epoch: UInt64, began: UInt64)
    /// Created; is it the newest?
    case verifying(epoch: UInt64, began: UInt64)
    case holding
    case working(LeaseTerm.Task, began: UInt64, isWritten: Bool)
    case ended
  }

  private struct Process {
    let clockOrigin: UInt64
    var phase: Phase
    var application = LeaseApplication()
    var term: LeaseTerm?
  }

  private enum Step {
    case advance(Int)
    case write(Int)
  }

  private static let length = Interval.seconds(8)
  /// What a client sees of others is at most so old: the watcher's margin.
  private static let delay = Interval.seconds(2)
  private static let end = Interval.seconds(240).nanoseconds

  private var random: SeededRandom
  private var queue = EventQueue<Step>()
  private var files: [UInt64: File] = [:]
  private var processes: [Process] = []
  private var report = Report()
  private var now: UInt64 = 0

  public init(seed: UInt64) { random = SeededRandom(seed: seed, purpose: .lease) }

  public mutating func run() -> Report {
    let count = 2 + random.index(below: 3)
    for index in 0..<count {
      processes.append(
        Process(
          clockOrigin: random.integer(below: 1 << 40), phase: .looking(began: 0)))
      let start = index == 0 ? 1 : random.interval(from: .seconds(0), to: .seconds(60)).nanoseconds
      processes[index].phase = .looking(began: start)
      queue.insert(.advance(index), at: start)
      queue.insert(.write(index), at: start)
    }
    while let time = queue.nextTime, time < Self.end, let next = queue.removeFirst() {
      now = next.time
      switch next.element {
      case .advance(let index): advance(index)
      case .write(let index): write(index)
      }
    }
    now = Self.end
    report.holders = processes.count { $0.term?.isCurrent(at: instant(now, of: $0)) ?? false }
    report.isHeld = report.holders == 1 || processes.allSatisfy { if case .ended = $0.phase { true } else { false } }
    return report
  }

  private func instant(_ time: UInt64, of process: Process) -> Instant {
    Instant(nanoseconds: time + process.clockOrigin)
  }

  /// How long a step takes: now and then the disk hangs, or the process is stopped.
  private mutating func pause() -> UInt64 {
    random.happens(0.05)
      ? random.interval(from: .seconds(0), to: Self.length * 3).nanoseconds
      : random.interval(from: .milliseconds(1), to: .milliseconds(300)).nanoseconds
  }

  private mutating func move(_ index: Int, to phase: Phase) {
    processes[index].phase = phase
    queue.insert(.advance(index), at: now + pause())
  }

  /// What the server has had so long ago as a client may see it.
  private mutating func view() -> UInt64 {
    let age = random.interval(from: .seconds(0), to: Self.delay).nanoseconds
    return now > age ? now - age : 0
  }

  private func newest(at time: UInt64) -> UInt64? {
    files.keys.filter { files[$0]?.exists(at: time) ?? false }.max()
  }

  // MARK: The steps of a process

  private mutating func advance(_ index: Int) {
    switch processes[index].phase {
    case .looking(let began): look(index, began)
    case .claiming(let epoch, let began): claim(epoch, index, began)
    case .verifying(let epoch, let began): verify(epoch, index, began)
    case .holding: hold(index)
    case .working(let task, let began, let isWritten): work(task, index, began, isWritten)
    case .ended: break
    }
  }

  private mutating func look(_ index: Int, _ began: UInt64) {
    // What is seen is what the server had at some moment of the look, less the delay.
    let process = processes[index]
    let decision = processes[index].application.sees(
      sighting(at: view()), from: instant(began, of: process), to: instant(now, of: process))
    switch decision {
    case .claim(let epoch): move(index, to: .claiming(epoch: epoch, began: now))
    case .wait:
      processes[index].phase = .looking(began: now + 500_000_000)
      queue.insert(.advance(index), at: now + 500_000_000 + pause())
    case .refuse:
      report.refusals += 1
      processes[index].phase = .ended
    }
  }

  private func sighting(at time: UInt64) -> LeaseSighting? {
    guard let epoch = newest(at: time), let file = files[epoch] else { return nil }
    let renewals = file.renewals.count { $0 <= time }
    let isReleased = file.released.map { $0 <= time } ?? false
    return LeaseSighting(
      epoch: epoch, holder: isReleased ? .none : .unseen, renewal: [UInt8(file.owner)] + Array("\(renewals)".utf8),
      length: Self.length)
  }

  private mutating func claim(_ epoch: UInt64, _ index: Int, _ began: UInt64) {
    if files[epoch]?.exists(at: now) ?? false {
      if processes[index].term != nil { return lose(index) }
      return move(index, to: .looking(began: now))
    }
    // The file of the same epoch may have been there, and removed, before.
    files[epoch] = File(owner: index, created: now, renewals: [])
    move(index, to: .verifying(epoch: epoch, began: began))
  }

  private mutating func verify(_ epoch: UInt64, _ index: Int, _ began: UInt64) {
    guard newest(at: now) == epoch else {
      files[epoch]?.removed = now
      if processes[index].term != nil { return lose(index) }
      return move(index, to: .looking(began: now))
    }
    let start = instant(began, of: processes[index])
    if var term = processes[index].term {
      term.succeeded(.claim(epoch: epoch), from: start, to: instant(now, of: processes[index]))
      processes[index].term = term
      report.recoveries += 1
    } else {
      processes[index].term = LeaseTerm(epoch: epoch, length: Self.length, began: start)
      if epoch > 1 { report.successors += 1 }
    }
    for earlier in files.keys where earlier < epoch && files[earlier]?.removed == nil { files[earlier]?.removed = now }
    rest(index)
  }

  /// Until the next renewal.
  private mutating func rest(_ index: Int) {
    processes[index].phase = .holding
    queue.insert(.advance(index), at: now + LeaseTerm.pause(Self.length).nanoseconds + pause())
  }

  private mutating func hold(_ index: Int) {
    if random.happens(0.02) {
      // Killed, or cut off for good.
      (processes[index].phase, processes[index].term) = (.ended, nil)
      return
    }
    guard let term = processes[index].term, let task = term.task(at: instant(now, of: processes[index])) else { return }
    if random.happens(0.02), case .renew = task {
      files[term.epoch]?.released = now
      (processes[index].phase, processes[index].term) = (.ended, nil)
      return
    }
    switch task {
    case .renew: move(index, to: .working(task, began: now, isWritten: false))
    case .claim(let epoch): move(index, to: .claiming(epoch: epoch, began: now))
    }
  }

  private mutating func work(_ task: LeaseTerm.Task, _ index: Int, _ began: UInt64, _ isWritten: Bool) {
    guard var term = processes[index].term else { return }
    guard isWritten else {
      guard let file = files[term.epoch], file.owner == index, file.removed == nil else {
        // Removed by a successor.
        return move(index, to: .claiming(epoch: term.epoch + 1, began: now))
      }
      files[term.epoch]?.renewals.append(now)
      return move(index, to: .working(task, began: began, isWritten: true))
    }
    guard newest(at: view()) ?? 0 <= term.epoch else { return lose(index) }
    term.succeeded(task, from: instant(began, of: processes[index]), to: instant(now, of: processes[index]))
    processes[index].term = term
    rest(index)
  }

  private mutating func lose(_ index: Int) {
    report.losses += 1
    (processes[index].phase, processes[index].term) = (.ended, nil)
  }

  /// What a holder does as long as it is sure of its lease: changes the directory.
  private mutating func write(_ index: Int) {
    if case .ended = processes[index].phase { return }
    queue.insert(.write(index), at: now + random.interval(from: .milliseconds(50), to: .seconds(2)).nanoseconds)
    guard let term = processes[index].term, term.isCurrent(at: instant(now, of: processes[index])) else { return }
    report.writes += 1
    // One of an earlier epoch may be created and removed again by a process that had slept.
    if files.contains(where: { $0.key > term.epoch && $0.value.exists(at: now) }) { report.wrongWrites += 1 }
  }
}
