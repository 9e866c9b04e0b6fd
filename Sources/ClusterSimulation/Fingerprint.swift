import Messaging
import Optimization

/// 64 bits of a hash, to recognise weights by. Four multiplications run side by side, so that it keeps up with memory.
func fingerprint(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
  let prime: UInt64 = 0x9E37_79B9_7F4A_7C15
  var lanes = (UInt64(bytes.count), prime, ~prime, prime << 7)
  let whole = bytes.count / 32 * 32
  func word(_ offset: Int) -> UInt64 { bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self) }
  func mix(_ lane: UInt64, _ word: UInt64) -> UInt64 {
    let product = (lane ^ word) &* prime
    return product ^ (product >> 29)
  }
  for offset in stride(from: 0, to: whole, by: 32) {
    lanes.0 = mix(lanes.0, word(offset))
    lanes.1 = mix(lanes.1, word(offset + 8))
    lanes.2 = mix(lanes.2, word(offset + 16))
    lanes.3 = mix(lanes.3, word(offset + 24))
  }
  for offset in whole..<bytes.count { lanes.0 = mix(lanes.0, UInt64(bytes[offset])) }
  return mix(mix(mix(mix(prime, lanes.0), lanes.1), lanes.2), lanes.3)
}

/// Of a state's parameters and the vectors of its optimizer.
func fingerprint(weights: UInt64, slots: UInt64) -> UInt64 { weights ^ (slots << 1 | slots >> 63) }

/// Remembers the fingerprints of the newest payloads: most questions are about one of a few.
final class Fingerprints {
  private static let capacity = 8
  /// Bytes of the parameters; behind them may be the vectors of the optimizer.
  private let border: Int
  private var newest: [(payload: Payload, weights: UInt64, slots: UInt64)] = []
  private var oldest = 0

  init(parameterCount: Int) { border = parameterCount * MemoryLayout<Float>.stride }

  /// Of the parameters alone.
  func weights(of payload: Payload) -> UInt64 { entry(payload).weights }

  /// Of parameters and vectors.
  func state(of payload: Payload) -> UInt64 {
    let entry = entry(payload)
    return fingerprint(weights: entry.weights, slots: entry.slots)
  }

  private func entry(_ payload: Payload) -> (payload: Payload, weights: UInt64, slots: UInt64) {
    if let known = newest.first(where: { $0.payload === payload }) { return known }
    let end = min(border, payload.count)
    let entry = (
      payload: payload, weights: fingerprint(UnsafeRawBufferPointer(rebasing: payload.bytes[..<end])),
      slots: fingerprint(UnsafeRawBufferPointer(rebasing: payload.bytes[end...]))
    )
    if newest.count < Self.capacity {
      newest.append(entry)
    } else {
      newest[oldest] = entry
      oldest = (oldest + 1) % Self.capacity
    }
    return entry
  }
}

extension TrainingState {
  var fingerprint: UInt64 {
    ClusterSimulation.fingerprint(
      weights: parameters.values.withUnsafeBytes(ClusterSimulation.fingerprint),
      slots: slots.flatMap(\.values).withUnsafeBytes(ClusterSimulation.fingerprint))
  }
}
