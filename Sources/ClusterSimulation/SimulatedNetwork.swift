import Cluster
import Messaging
import Optimization

/// A message on its way: the three frames as they would be on the wire.
struct Packet {
  var destination: Int
  var header: [UInt8]
  var fields: [UInt8]
  var bulk: Payload

  /// What the transport hands to the role, or why it does not.
  func decoded() throws -> (Message, Envelope) {
    let envelope = try header.withUnsafeBytes { bytes in
      try Envelope(decoding: bytes)
    }
    let message = try fields.withUnsafeBytes { bytes in
      try Message(envelope, fields: bytes, bulk: bulk)
    }
    return (message, envelope)
  }

  /// Flips one bit of one of the frames.
  mutating func corrupt(_ chance: inout Chance) {
    let bit = UInt8(1) << UInt8(chance.integer(below: 8))
    let position = Int(chance.integer(below: UInt64(header.count + fields.count + bulk.count)))
    if position < header.count {
      header[position] ^= bit
    } else if position < header.count + fields.count {
      fields[position - header.count] ^= bit
    } else {
      let original = bulk
      bulk = Payload(count: original.count) { target in
        target.copyMemory(from: original.bytes)
        target[position - header.count - fields.count] ^= bit
      }
    }
  }
}

/// Where a process sits, for partitions: they cut the way from one place to another, whoever is there.
enum Place: Hashable {
  case coordinator
  case server
  case worker(Int)
}

/// Loses, repeats, delays and damages messages, and lets others overtake them.
struct SimulatedNetwork {
  struct Partition {
    var from: Place
    var to: Place
    var until: UInt64
  }

  private let faults: FaultPlan
  private var chance: Chance
  private var partitions: [Partition] = []

  init(seed: UInt64, faults: FaultPlan) {
    self.faults = faults
    chance = Chance(seed: seed, purpose: .network)
  }

  mutating func cut(from: Place, to: Place, until: UInt64) {
    partitions.append(Partition(from: from, to: to, until: until))
  }

  mutating func heal() { partitions.removeAll() }

  private func isCut(from: Place, to: Place, at now: UInt64) -> Bool {
    partitions.contains { $0.from == from && $0.to == to && now < $0.until }
  }

  /// How often and when the message arrives, and damages it if that is its fate.
  mutating func route(_ packet: inout Packet, from: Place, to: Place, at now: UInt64) -> [UInt64] {
    let isFaulty = now < faults.cease.nanoseconds
    guard isFaulty else { return [now + delay(isFaulty: false)] }
    if isCut(from: from, to: to, at: now) || chance.happens(faults.loss) { return [] }
    if chance.happens(faults.corruption) { packet.corrupt(&chance) }
    var arrivals = [now + delay(isFaulty: true)]
    if chance.happens(faults.duplication) { arrivals.append(now + delay(isFaulty: true)) }
    return arrivals
  }

  /// 50 to 500 µs as a rule.
  private mutating func delay(isFaulty: Bool) -> UInt64 {
    let isSlow = isFaulty && chance.happens(faults.reordering)
    let longest = isSlow ? faults.longestDelay : Interval(nanoseconds: 500_000)
    return chance.interval(from: Interval(nanoseconds: 50_000), to: longest).nanoseconds
  }
}
