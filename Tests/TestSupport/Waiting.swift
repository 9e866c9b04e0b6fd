import Foundation

/// A condition did not hold within its limit.
public struct TimedOut: Error, CustomStringConvertible {
  public let description: String
}

/// Waits for a condition and checks it often; the limit matters only where something is broken.
public func waitUntil(
  _ what: @autoclosure () -> String, seconds: Double = 60, file: StaticString = #fileID, line: UInt = #line,
  _ condition: () throws -> Bool
) throws {
  let deadline = ContinuousClock.now + .seconds(seconds)
  while try !condition() {
    guard ContinuousClock.now < deadline else {
      throw TimedOut(description: "not within \(seconds) s: \(what()) (\(file):\(line))")
    }
    usleep(2_000)
  }
}
