import Cluster
import Messaging
import Optimization

extension ProcessName {
  /// A number for each, in a run with one server.
  var slot: Int {
    switch self {
    case .coordinator: 0
    case .server(let index): 1 + Int(index.value)
    case .worker(let number): 2 + number
    }
  }
}

/// A message on its way: the three frames as they would be on the wire.
struct Packet {
  /// The receiver. A socket reconnects by itself: what was sent to an address reaches the process that listens there
  /// then.
  enum Address {
    case coordinator
    case server(endpoint: String)
    case process(Int)
  }

  var address: Address
  /// Index of the process that sent it.
  var sender: Int
  /// The place it goes to.
  var slot: Int
  /// Of a push: the weights that its gradient was computed from. The wire does not carry them; they are for the checker.
  var origin: Payload?
  var header: [UInt8]
  var fields: [UInt8]
  var payload: Payload

  /// What the transport hands to the role, or why it does not.
  func decoded() throws(CodecError) -> (Message, Envelope) {
    let envelope = try header.withUnsafeBufferPointer { (bytes) throws(CodecError) in
      try Envelope(decoding: UnsafeRawBufferPointer(bytes))
    }
    let message = try fields.withUnsafeBufferPointer { (bytes) throws(CodecError) in
      try Message(envelope, fields: UnsafeRawBufferPointer(bytes), payload: payload)
    }
    return (message, envelope)
  }

  /// Flips one bit of one of the frames.
  mutating func corrupt(_ random: inout SeededRandom) {
    let bit = UInt8(1) << UInt8(random.integer(below: 8))
    let position = random.index(below: header.count + fields.count + payload.count)
    if position < header.count {
      header[position] ^= bit
    } else if position < header.count + fields.count {
      fields[position - header.count] ^= bit
    } else {
      let original = payload
      payload = Payload(count: original.count) { target in
        target.copyMemory(from: original.bytes)
        target[position - header.count - fields.count] ^= bit
      }
    }
  }
}

/// Loses, repeats, delays and damages messages, lets others overtake them, and cuts ways from place to place.
struct SimulatedNetwork {
  /// A way on which nothing gets through for a while; nil stands for every place.
  struct Cut {
    var from: ProcessName?
    var to: ProcessName?
    var begins: UInt64
    var ends: UInt64
    /// Whether what is sent arrives afterwards, as over a connection that was never broken, or is lost.
    var isHolding: Bool

    func applies(from sender: ProcessName, to receiver: ProcessName, at now: UInt64) -> Bool {
      begins <= now && now < ends && (from == nil || from == sender) && (to == nil || to == receiver)
    }
  }

  private let faults: FaultPlan
  private var random: SeededRandom
  private var cuts: [Cut] = []

  init(seed: UInt64, faults: FaultPlan) {
    self.faults = faults
    random = SeededRandom(seed: seed, purpose: .network)
  }

  mutating func add(_ cut: Cut) { cuts.append(cut) }

  mutating func heal() { cuts.removeAll() }

  /// Damages the message if that is its fate.
  /// - Returns: when it arrives: not at all, once or twice.
  mutating func route(_ packet: inout Packet, from: ProcessName, to: ProcessName, at now: UInt64) -> [UInt64] {
    guard now < faults.cease.nanoseconds else { return [now + delay(isFaulty: false)] }
    var leaves = now
    if let cut = cuts.first(where: { $0.applies(from: from, to: to, at: now) }) {
      guard cut.isHolding else { return [] }
      leaves = min(cut.ends, faults.cease.nanoseconds)
    }
    if random.happens(faults.loss) { return [] }
    if random.happens(faults.corruption) { packet.corrupt(&random) }
    let arrival = leaves + delay(isFaulty: true)
    return random.happens(faults.duplication) ? [arrival, leaves + delay(isFaulty: true)] : [arrival]
  }

  /// 50 to 500 µs as a rule.
  private mutating func delay(isFaulty: Bool) -> UInt64 {
    let isSlow = isFaulty && random.happens(faults.reordering)
    let longest = isSlow ? faults.longestDelay : Interval(nanoseconds: 500_000)
    return random.interval(from: Interval(nanoseconds: 50_000), to: longest).nanoseconds
  }
}
