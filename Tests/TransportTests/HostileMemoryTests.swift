import Diagnostics
import Glibc
import Messaging
import Optimization
import Testing
import Transport

/// A worker whose memory says what it likes: the server's view of it is mapped a second time and written to.
private struct HostileWorker {
  let server: MemoryChannels
  let worker: MemoryChannels
  let gradients: PayloadPool
  let memory: UnsafeMutableRawBufferPointer

  init() throws {
    server = try MemoryChannels(weightsByteCount: 4_096, count: 1)
    worker = try MemoryChannels(worker: Incarnation(7), gradientByteCount: 4_096)
    gradients = worker.payloads(byteCount: 4_096)
    let offer = worker.offer
    try server.attach(offer, from: Incarnation(7))
    try worker.attach(server.offer, from: Incarnation(9))
    let count = Int(offer.byteCount)
    let address = mmap(nil, count, PROT_READ | PROT_WRITE, MAP_SHARED, offer.memory, 0)
    try #require(address != MAP_FAILED)
    memory = UnsafeMutableRawBufferPointer(start: address, count: count)
  }

  func unmap() { munmap(memory.baseAddress, memory.count) }

  func sendPush() {
    let gradient = gradients.make { $0.withMemoryRebound(to: Int32.self) { $0.update(repeating: 3) } }
    let push = Message.push(
      Message.Push(
        item: WorkItem(id: WorkItem.ID(1), step: 0, shards: ShardSet([2])), statistics: .zero, gradient: gradient))
    _ = worker.send(
      push,
      Envelope(
        type: .push, run: RunID(1), membershipEpoch: MembershipEpoch(1), incarnation: Incarnation(7), step: 1,
        sequence: 1))
  }
}

@Suite("Memory that is written to by an enemy") struct HostileMemoryTests {
  /// The places of the layout's table: ring to the server at 4,096.
  private static let slot = 4096

  @Test func `lengths and offsets beyond the memory are refused`() throws {
    let longest = UInt64(Envelope.maximumPayloadLength)
    for (offset, value) in [
      (8, UInt64.max), (8, UInt64.max - 4_095), (16, UInt64.max), (16, longest), (8, 1 << 40), (16, longest + 1),
    ] {
      let hostile = try HostileWorker()
      defer { hostile.unmap() }
      hostile.sendPush()
      hostile.memory.storeBytes(of: value, toByteOffset: Self.slot + offset, as: UInt64.self)
      let reception = hostile.server.receive()
      guard case .rejected(.length)? = reception else {
        Issue.record("\(offset) = \(value): \(String(describing: reception))")
        continue
      }
      #expect(hostile.server.receive() == nil)
    }
  }

  @Test func `fields longer than a slot are refused`() throws {
    let hostile = try HostileWorker()
    defer { hostile.unmap() }
    hostile.sendPush()
    hostile.memory.storeBytes(of: UInt32.max, toByteOffset: Self.slot + 4, as: UInt32.self)
    guard case .rejected(.length)? = hostile.server.receive() else {
      Issue.record("accepted")
      return
    }
  }

  @Test
  func `every flipped bit of envelope and fields is noticed`() throws {
    let hostile = try HostileWorker()
    defer { hostile.unmap() }
    var places: [Int] = []
    for index in 0..<64 { places.append(64 + index) }
    for index in 0..<40 { places.append(128 + index) }
    var slot = 0
    for place in places {
      hostile.sendPush()
      hostile.memory[Self.slot + slot * 4096 + place] ^= 0x10
      slot = (slot + 1) % 4
      let reception = hostile.server.receive()
      guard case .rejected? = reception else {
        Issue.record("byte \(place): \(String(describing: reception))")
        continue
      }
    }
  }

  /// No checksum covers it, and what it says counts only if the server finds it possible (`BadGradientTests`).
  @Test func `a gradient that its sender changes is received as it then is`() throws {
    let hostile = try HostileWorker()
    defer { hostile.unmap() }
    hostile.sendPush()
    for index in 36_864..<hostile.memory.count { hostile.memory[index] ^= 1 }
    guard case .message(.push(let push), _)? = hostile.server.receive() else {
      Issue.record("rejected")
      return
    }
    #expect(push.gradient == Payload(concatenating: [UInt32](repeating: 3 ^ 0x0101_0101, count: 1_024)))
  }

  @Test(arguments: 1...20)
  func `random bytes in the whole ring never trap, and a good message comes through afterwards`(seed: Int) throws {
    let hostile = try HostileWorker()
    defer { hostile.unmap() }
    let generator = Philox4x64(seed: UInt64(seed), stream: .initialParameters)
    for round in 0..<50 as Range<UInt64> {
      for slot in 0..<4 {
        let start = Self.slot + slot * 4096
        for word in 0..<64 as Range<UInt64> {
          let bits = UInt64(bitPattern: Int64(generator.normal(at: round &* 1024 &+ UInt64(slot) &* 64 &+ word) * 1e17))
          hostile.memory.storeBytes(of: bits, toByteOffset: start + Int(word) * 8, as: UInt64.self)
        }
        hostile.memory.storeBytes(of: 1, toByteOffset: start, as: UInt32.self)
      }
      while let reception = hostile.server.receive() {
        if case .message = reception { Issue.record("random bytes made a message") }
      }
    }
    hostile.sendPush()
    guard case .message(.push, _)? = hostile.server.receive() else {
      Issue.record("the good message did not come through")
      return
    }
  }
}
