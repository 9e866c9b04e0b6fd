import Cluster
import Messaging
import Optimization
import TestSupport
import Testing

/// Shards follow the speed of the workers, and go to others when a worker is late.
@Suite struct TakeOverTests {
  let first = workerNumbers[0]
  let second = workerNumbers[1]

  private func twoWorkers(_ consistency: ConsistencyModel = .bsp(backup: 0)) -> ServerStage {
    ServerStage(plan(consistency, steps: 10_000), members: [(first, shards(0, 1)), (second, shards(2, 3))])
  }

  /// One step in which a shard takes a worker so many milliseconds.
  private func step(_ server: inout ServerStage, _ milliseconds: [Incarnation: UInt64]) {
    let ends = [first, second].compactMap { worker -> (worker: Incarnation, end: UInt64)? in
      guard let item = server.scheduler?.members.first(where: { $0.incarnation == worker })?.outstanding?.item else {
        return nil
      }
      return (worker, UInt64(item.shards.count) * (milliseconds[worker] ?? 1))
    }.sorted { $0.end < $1.end }
    var passed: UInt64 = 0
    for (worker, end) in ends {
      server.stage.now = server.stage.now + .milliseconds(end - passed)
      passed = end
      _ = server.push(worker)
    }
  }

  private func held(_ server: ServerStage, by worker: Incarnation) -> ShardSet? {
    server.scheduler?.members.first { $0.incarnation == worker }?.outstanding?.item.shards
  }

  @Test func `workers of about the same speed keep their shards`() {
    var server = twoWorkers()
    for _ in 0..<100 { step(&server, [first: 10, second: 11]) }
    #expect(server.step == 100)
    #expect(held(server, by: first) == shards(0, 1) && held(server, by: second) == shards(2, 3))
    #expect(server.scheduler?.totals.takenOverShards == 0 && server.scheduler?.totals.lateShards == 0)
  }

  @Test func `a slow worker gets fewer shards, and its own again when it is as fast as the others`() {
    var server = twoWorkers()
    for _ in 0..<50 { step(&server, [first: 10, second: 30]) }
    #expect(held(server, by: second)?.count == 1)
    for _ in 0..<50 { step(&server, [first: 10, second: 10]) }
    #expect(held(server, by: first) == shards(0, 1) && held(server, by: second) == shards(2, 3))
    #expect(server.step == 100)
  }

  @Test func `a worker is late: one that has nothing to do takes its shards over, and the first result counts`() throws
  {
    var server = twoWorkers()
    for _ in 0..<20 { step(&server, [first: 10, second: 10]) }
    server.stage.now = server.stage.now + .milliseconds(20)
    _ = server.push(first)
    let early = server.passes(.milliseconds(19))
    #expect(early.work(for: first) == nil)
    let taken = server.passes(.milliseconds(2))
    #expect(taken.work(for: first)?.work.item.shards == shards(2, 3))
    #expect(held(server, by: second) == shards(2, 3))
    #expect(server.push(first).work(for: first)?.work.item.shards == shards(0, 1, 2, 3))
    #expect(server.step == 21 && server.scheduler?.totals.takenOverShards == 2)
    // It comes back in the middle of the next step, of which all shards are handed out.
    let back = server.push(second)
    #expect(back.work(for: second) == nil && server.step == 21)
    #expect(server.scheduler?.totals.lateShards == 2)
    #expect(server.push(first).work(for: second)?.work.item.step == 22)
    // It is given its share in parts from now on.
    #expect(held(server, by: first) == shards(0, 1) && held(server, by: second) == shards(2))
    #expect(server.scheduler?.totals.examples == 22 * 8)
    try Evidence.add(.waiting, observed: "2 shards taken over, 2 late results dropped, every example counted once")
  }

  @Test func `the result of a late worker counts if it comes before that of the other`() throws {
    var server = twoWorkers()
    for _ in 0..<20 { step(&server, [first: 10, second: 10]) }
    server.stage.now = server.stage.now + .milliseconds(20)
    _ = server.push(first)
    #expect(server.passes(.milliseconds(30)).work(for: first) != nil)
    let late = try #require(server.work[first])
    _ = server.push(second)
    #expect(server.step == 21)
    _ = server.push(first, answering: late.work, late.addressing)
    #expect(server.step == 21 && server.scheduler?.totals.lateShards == 2)
    // While it was away, the other one was given the whole of the next step.
    #expect(held(server, by: second) == shards(0, 1, 2, 3) && held(server, by: first) == nil)
  }

  /// Sixteen shards of two workers, of which the second one stood still once.
  private func withUnsteadyWorker() -> ServerStage {
    let shards = (ShardSet(range: 0..<8), ShardSet(range: 8..<16))
    var server = ServerStage(
      plan(steps: 1_000, shardCount: 16), members: [(first, shards.0), (second, shards.1)])
    for _ in 0..<20 { step(&server, [first: 10, second: 10]) }
    server.stage.now = server.stage.now + .milliseconds(80)
    _ = server.push(first)
    server.stage.now = server.stage.now + .milliseconds(100)
    _ = server.push(second)
    return server
  }

  @Test func `a worker that was late is given its share in parts: one that is ready takes the rest`() throws {
    var server = withUnsteadyWorker()
    #expect(server.step == 21)
    #expect(held(server, by: first) == ShardSet(range: 0..<8) && held(server, by: second) == shards(8, 9))
    server.stage.now = server.stage.now + .milliseconds(20)
    _ = server.push(second)
    #expect(held(server, by: second) == shards(10, 11))
    // It stands still again.
    server.stage.now = server.stage.now + .milliseconds(60)
    var rest = ShardSet()
    _ = server.push(first)
    while let part = held(server, by: first), server.scheduler?.totals.takenOverShards == 0 {
      #expect(part.count == 2)
      rest = rest.union(part)
      server.stage.now = server.stage.now + .milliseconds(20)
      _ = server.push(first)
    }
    #expect(rest == ShardSet(range: 12..<16))
    #expect(held(server, by: first) == shards(10, 11) && server.scheduler?.totals.takenOverShards == 2)
    #expect(server.push(first).work(for: first)?.work.item.shards == ShardSet(range: 0..<16))
    #expect(server.step == 22 && server.scheduler?.totals.examples == 22 * 32)
    try Evidence.add(
      .waiting, observed: "parts of 2 of 16 shards; the other worker takes 4 and, without waiting, 2 over")
  }

  @Test func `a worker that is no longer late is given its share as a whole`() {
    var server = withUnsteadyWorker()
    for _ in 0..<200 { step(&server, [first: 10, second: 10]) }
    #expect(held(server, by: first) == ShardSet(range: 0..<8) && held(server, by: second) == ShardSet(range: 8..<16))
  }

  @Test func `a worker needs longer for a shard than others for the step: it is looked at, not waited for`() throws {
    var server = twoWorkers()
    for _ in 0..<1_500 { step(&server, [first: 10, second: 500]) }
    for _ in 0..<100 where !server.step.isMultiple(of: 64) { step(&server, [first: 10, second: 500]) }
    let (before, totals) = (server.step, try #require(server.scheduler?.totals))
    #expect(before.isMultiple(of: 64) && held(server, by: second)?.count == 1)
    #expect(held(server, by: first)?.count == 3)
    server.stage.now = server.stage.now + .milliseconds(30)
    _ = server.push(first)
    #expect(server.step == before && held(server, by: first) == held(server, by: second))
    server.stage.now = server.stage.now + .milliseconds(10)
    _ = server.push(first)
    #expect(server.step == before + 1)
    #expect(server.scheduler?.totals.takenOverShards == totals.takenOverShards + 1)
    _ = server.push(second)
    #expect(server.scheduler?.totals.lateShards == totals.lateShards + 1)
    try Evidence.add(.waiting, observed: "the other worker takes its shard over at once; the step takes 40 ms, not 500")
  }

  @Test func `with backup shards, each worker keeps its own and none is taken over`() {
    var server = twoWorkers(.bsp(backup: 1))
    for _ in 0..<20 { step(&server, [first: 10, second: 50]) }
    #expect(held(server, by: second)?.isSubset(of: shards(2, 3)) ?? true)
    #expect(server.scheduler?.totals.takenOverShards == 0)
  }
}
