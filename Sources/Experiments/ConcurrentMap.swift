import Dispatch
import Synchronization

/// The results of `count` independent computations, in order, by several threads. Each thread takes the next one that is
/// left, so which thread computes what is left open: a result must be a function of its index.
///
/// - Parameters:
///   - threads: at least 1.
///   - completed: called after each computation, from its thread and one call at a time, with the number of those done.
///   - memory: what one thread works in, made by it.
package func concurrentMap<Memory, Result: Sendable>(
  _ count: Int, threads: Int, completed: @Sendable (Int) -> Void = { _ in },
  memory: @autoclosure @Sendable () -> Memory,
  _ body: @Sendable (inout Memory, Int) -> Result
) -> [Result] {
  let next = Atomic(0)
  let results = Mutex([(index: Int, value: Result)]())
  DispatchQueue.concurrentPerform(iterations: max(1, min(threads, count))) { _ in
    var memory = memory()
    while case let index = next.add(1, ordering: .relaxed).oldValue, index < count {
      let value = body(&memory, index)
      results.withLock { results in
        results.append((index, value))
        completed(results.count)
      }
    }
  }
  return results.withLock { $0.sorted { $0.index < $1.index }.map(\.value) }
}

/// The same of computations that need no memory of their own.
package func concurrentMap<Result: Sendable>(
  _ count: Int, threads: Int, _ body: @Sendable (Int) -> Result
) -> [Result] {
  concurrentMap(count, threads: threads, memory: ()) { _, index in body(index) }
}
