import Cluster
import Messaging
import TestSupport
import Testing

/// What counts as a second, deliberate request.
@Suite struct StopRequestTests {
  private let start = Instant(nanoseconds: 1_000_000_000)

  @Test func `a scheduler warns, warns again and signals: the run stops once and saves`() throws {
    var requests = StopRequests()
    #expect(requests.received(isWarning: true, at: start) == .first)
    for second in 1...5 { #expect(requests.received(isWarning: true, at: start + .seconds(Double(second))) == .copy) }
    #expect(requests.received(at: start + .seconds(60)) == .copy)
    #expect(requests.received(at: start + .seconds(62)) == .deliberate)
    try Evidence.add(
      .trees, "SIGUSR2, SIGXCPU", observed: "a stop, and copies of it; SIGTERM twice after it ends at once")
  }

  @Test func `a warning after a signal is a copy of it`() {
    var requests = StopRequests()
    #expect(requests.received(at: start) == .first)
    #expect(requests.received(isWarning: true, at: start + .seconds(9)) == .copy)
  }
}
