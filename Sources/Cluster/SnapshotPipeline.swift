import Messaging

/// The way of the server's snapshots through the coordinator: each waits until those before it are decided on, at most
/// one is evaluated at a time, and at most one state is written while two others wait.
package struct SnapshotPipeline {
  package struct Entry {
    var snapshot: Message.Snapshot
    /// The server that numbered it, and waits for the number; nil for the state that the run was resumed with.
    var server: Incarnation?

    var step: UInt64 { snapshot.training.step }
  }

  private enum Writing {
    case idle
    /// In the order of their steps: at most the newest, and the best if it is another one.
    case underWay(waiting: [RunState])
  }

  package static let capacity = 4
  package private(set) var waiting: [Entry] = []
  private var evaluated: Entry?
  private var writing = Writing.idle

  var isFull: Bool { waiting.count == Self.capacity }
  var isIdle: Bool { waiting.isEmpty && evaluated == nil }

  // MARK: Snapshots

  mutating func append(_ entry: Entry) {
    precondition(!isFull, "the pipeline is full")
    waiting.append(entry)
  }

  /// Removes the snapshot whose turn it is; nil while one is evaluated.
  mutating func next() -> Entry? { evaluated == nil && !waiting.isEmpty ? waiting.removeFirst() : nil }

  mutating func beginEvaluation(_ entry: Entry) {
    precondition(evaluated == nil, "two evaluations at a time")
    evaluated = entry
  }

  /// The snapshot whose evaluation has ended; nil if it was dropped meanwhile.
  mutating func endEvaluation(_ serial: UInt64) -> Entry? {
    evaluated?.snapshot.serial == serial ? evaluated.take() : nil
  }

  /// Whether a snapshot of this number is waiting or evaluated.
  func holds(_ serial: UInt64) -> Bool {
    evaluated?.snapshot.serial == serial || waiting.contains { $0.snapshot.serial == serial }
  }

  /// Whether a snapshot that was asked for is waiting.
  var holdsRequested: Bool { waiting.contains { $0.snapshot.occasion == .requested } }

  /// The server is lost. What it sent last is evaluated to its end.
  mutating func dropWaiting() { waiting.removeAll() }

  mutating func dropAll() {
    waiting.removeAll()
    evaluated = nil
  }

  // MARK: Writing

  var isWriting: Bool { if case .underWay = writing { true } else { false } }

  /// Newer states take the place of those that wait, except of one that is still the best.
  /// - Parameter states: at least one, in the order of their steps.
  /// - Returns: the state to write now; nil while one is being written.
  mutating func write(_ states: [RunState]) -> RunState? {
    let isImproved = states.contains(where: \.isBest)
    guard case .underWay(let waiting) = writing else {
      writing = .underWay(waiting: Array(states.dropFirst()))
      return states.first
    }
    writing = .underWay(waiting: waiting.filter { $0.isBest && !isImproved } + states)
    return nil
  }

  mutating func dropWaitingStates() {
    if case .underWay = writing { writing = .underWay(waiting: []) }
  }

  /// - Returns: the state to write next.
  mutating func endWriting() -> RunState? {
    guard case .underWay(let waiting) = writing, let next = waiting.first else {
      writing = .idle
      return nil
    }
    writing = .underWay(waiting: Array(waiting.dropFirst()))
    return next
  }
}
