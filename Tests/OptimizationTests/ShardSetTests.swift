import Optimization
import Testing

@Suite struct ShardSetTests {
  @Test
  func `it behaves as a Set of the same numbers does`() {
    var random = RandomSequence(Philox4x64(seed: 2, stream: .gradientCheck))
    for _ in 0..<50 {
      let left = Set((0..<40).map { _ in Int(random.next(below: 1_024)) })
      let right = Set((0..<400).map { _ in Int(random.next(below: 1_024)) })
      let (a, b) = (ShardSet(left), ShardSet(right))
      #expect(Array(a) == left.sorted())
      #expect(a.count == left.count && a.last == left.max())
      #expect(Array(a.union(b)) == left.union(right).sorted())
      #expect(Array(a.intersection(b)) == left.intersection(right).sorted())
      #expect(Array(a.subtracting(b)) == left.subtracting(right).sorted())
      #expect(a.isDisjoint(with: b) == left.isDisjoint(with: right))
      #expect(a.isSubset(of: b) == left.isSubset(of: right))
      #expect(a.intersection(b).isSubset(of: b))
      #expect((0..<1_024).allSatisfy { a.contains($0) == left.contains($0) })
      #expect((a == b) == (left == right))
    }
  }

  @Test
  func `the ends of the range and numbers beyond them`() {
    var set = ShardSet(range: 0..<1_024)
    #expect(set.count == 1_024)
    set.remove(0)
    set.remove(1_023)
    set.remove(1_024)
    set.remove(-1)
    #expect(Array(set) == Array(1..<1_023))
    #expect(!set.contains(-1) && !set.contains(1_024) && !set.contains(.max))
    #expect(ShardSet().last == nil && set.last == 1_022)
    #expect(ShardSet().isEmpty && ShardSet().count == 0 && Array(ShardSet()) == [])
    #expect(ShardSet(range: 5..<5).isEmpty)
    for (first, end) in [(0, 1), (63, 64), (63, 65), (64, 128), (5, 300), (1_000, 1_024)] {
      #expect(ShardSet(range: first..<end) == ShardSet(Array(first..<end)))
    }
  }

  @Test
  func `any words make a set, and the words of a set make it again`() {
    var set = ShardSet()
    for index in set.words.indices { set.words[index] = 0x8000_0000_0000_0001 &+ UInt64(index) }
    var copy = ShardSet()
    copy.words = set.words
    #expect(copy == set)
    #expect(set.contains(0) && set.contains(63) && set.contains(1_023))
  }

  @Test
  func `messages name runs of neighbours`() {
    #expect(ShardSet([0, 1, 2, 3, 7, 9, 10]).description == "0-3, 7, 9-10")
    #expect(ShardSet().description == "")
  }
}
