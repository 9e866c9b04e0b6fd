import Synchronization

/// How much of a long computation is done, on standard error: a line that is redrawn on a terminal, and one every ten
/// seconds elsewhere. For any thread.
package final class WorkProgress: Sendable {
  private struct State {
    var lastShown: ContinuousClock.Instant
    var hasOpenLine = false
  }

  private let noun: String
  private let total: Int
  private let style: ProgressStyle
  private let began = ContinuousClock.now
  private let state: Mutex<State>

  /// - Parameters:
  ///   - noun: what is counted, in the plural: "tries".
  ///   - total: how many there are.
  package init(_ noun: String, of total: Int, style: ProgressStyle) {
    (self.noun, self.total, self.style) = (noun, total, style)
    state = Mutex(State(lastShown: began))
  }

  /// Shows that `done` are complete, if that is due.
  package func completed(_ done: Int) {
    let now = ContinuousClock.now
    state.withLock { state in
      let interval: Duration = style == .redrawn ? .milliseconds(100) : .seconds(10)
      guard style != .silent, now - state.lastShown >= interval else { return }
      state.lastShown = now
      let elapsed = (now - began) / .seconds(1)
      let remaining = elapsed * Double(total - done) / Double(max(1, done))
      let line = "\(done)/\(total) \(noun)  ETA \(Display.duration(remaining))"
      StandardError.write(
        style == .redrawn ? RedrawnLine.drawing(String(line.prefix(max(0, StandardError.width - 1)))) : line + "\n")
      state.hasOpenLine = style == .redrawn
    }
  }

  /// Removes the line.
  package func finish() {
    state.withLock { state in
      if state.hasOpenLine { StandardError.write(RedrawnLine.clear) }
      state.hasOpenLine = false
    }
  }
}
