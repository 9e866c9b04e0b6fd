import CLinux
import Dispatch
import Files
import Glibc
import Synchronization

/// A second thread for tasks in pieces that are worth waking it: while a server updates the weights of a network, the cores
/// of its workers have nothing to do. Both threads take pieces until none is left, so a thread that comes late, or never,
/// costs nothing but its help.
///
/// To be used by one thread at a time. The thread begins with the first task of several pieces, and ends after this object
/// is released.
package final class HelperThread {
  /// What both threads see of the task under way.
  private final class Task: @unchecked Sendable {
    /// Its number, how many pieces it has, and the next one: in one word, so that no piece of another task is taken.
    let ticket = Atomic<UInt64>(0)
    let finished = Atomic<Int>(0)
    /// Set before the ticket, and valid until all pieces have finished.
    var body: ((Int) -> Void)?
    let begun = DispatchSemaphore(value: 0)
    let hasEnded = Atomic<Bool>(false)
    /// The number of the thread; 0 before it has begun.
    let thread = Atomic<Int32>(0)

    static func ticket(_ number: UInt64, count: Int) -> UInt64 { number << 32 | UInt64(count) << 16 }

    /// Not inlined: it has released the body when it returns, as `withoutActuallyEscaping` demands.
    @inline(never)
    private func run(_ piece: Int) { body?(piece) }

    /// Takes pieces until none is left.
    func work() {
      var ticket = ticket.load(ordering: .acquiring)
      while ticket & 0xffff < ticket >> 16 & 0xffff {
        let (isTaken, current) = self.ticket.compareExchange(
          expected: ticket, desired: ticket + 1, ordering: .acquiringAndReleasing)
        ticket = isTaken ? ticket + 1 : current
        guard isTaken else { continue }
        run(Int((ticket - 1) & 0xffff))
        finished.add(1, ordering: .releasing)
      }
    }
  }

  /// More pieces than these are run by one thread.
  private static let mostPieces = 0xffff

  private let label: String
  private let task = Task()
  private var hasBegun = false
  private var number: UInt64 = 0
  /// Where the helper does not run. The system would often wake it on the first thread's processor, where it waits.
  private var avoidedProcessor: Int32 = -1

  package init(_ label: String) { self.label = label }

  deinit {
    task.hasEnded.store(true, ordering: .relaxed)
    task.begun.signal()
  }

  /// Runs `body(0)` to `body(count - 1)`, each once, and returns when all have returned.
  package func run(_ count: Int, _ body: (Int) -> Void) {
    guard count > 1, count <= Self.mostPieces, Processors.count > 1 else {
      for piece in 0..<count { body(piece) }
      return
    }
    if !hasBegun { begin() }
    number += 1
    stayApart()
    withoutActuallyEscaping(body) { body in
      task.body = body
      task.finished.store(0, ordering: .relaxed)
      task.ticket.store(Task.ticket(number, count: count), ordering: .releasing)
      task.begun.signal()
      task.work()
      while task.finished.load(ordering: .acquiring) < count { sched_yield() }
      task.body = nil
    }
  }

  private func stayApart() {
    let thread = task.thread.load(ordering: .relaxed)
    let processor = descent_current_processor()
    guard thread != 0, processor != avoidedProcessor else { return }
    descent_avoid_processor(thread, processor)
    avoidedProcessor = processor
  }

  private func begin() {
    hasBegun = true
    DispatchQueue(label: label).async { [task] in
      task.thread.store(descent_thread(), ordering: .relaxed)
      repeat {
        task.begun.wait()
        task.work()
      } while !task.hasEnded.load(ordering: .relaxed)
    }
  }
}
