import Files
import NodeRuntime
import Synchronization
import Testing

/// Each task of these would fail, hang or crash if a piece of one were run in another.
@Suite struct HelperThreadTests {
  @Test
  func `each piece of each task runs once, whichever thread takes it`() {
    let helper = HelperThread("test")
    for task in 0..<20_000 {
      let count = task % 9
      let found = Pieces()
      helper.run(count) { found.note($0) }
      #expect(found.pieces == Array(0..<count), "task \(task)")
    }
  }

  @Test(.enabled(if: Processors.count > 1, "takes two processors"))
  func `a task waits for a piece of the other thread`() {
    let helper = HelperThread("test")
    for _ in 0..<50 {
      // Each of the two pieces waits for the other one to begin, so that both threads take one.
      let begun = Atomic<Int>(0)
      helper.run(2) { _ in
        begun.add(1, ordering: .releasing)
        while begun.load(ordering: .acquiring) < 2 {}
      }
      #expect(begun.load(ordering: .acquiring) == 2)
    }
  }

  private final class Pieces: Sendable {
    private let found = Mutex<[Int]>([])
    var pieces: [Int] { found.withLock { $0.sorted() } }
    func note(_ piece: Int) { found.withLock { $0.append(piece) } }
  }
}
