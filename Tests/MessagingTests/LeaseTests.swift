import Messaging
import Testing

@Suite struct LeaseTests {
  private static let length = Interval.seconds(8)

  private func at(_ seconds: Double) -> Instant { Instant(nanoseconds: UInt64((1000 + seconds) * 1e9)) }

  private func sighting(_ epoch: UInt64, _ holder: LeaseHolder, renewal: UInt8 = 0) -> LeaseSighting {
    LeaseSighting(epoch: epoch, holder: holder, renewal: [renewal], length: Self.length)
  }

  @Test func `a lease without a holder is claimed at once, and one whose holder runs is refused`() {
    var application = LeaseApplication()
    #expect(application.sees(nil, from: at(0), to: at(0)) == .claim(epoch: 1))
    #expect(application.sees(sighting(4, .none), from: at(0), to: at(0)) == .claim(epoch: 5))
    #expect(application.sees(sighting(4, .running), from: at(0), to: at(0)) == .refuse)
  }

  @Test func `a holder that is not seen is watched for a lease and a quarter, from the end of the first look`() {
    var application = LeaseApplication()
    let seen = sighting(4, .unseen)
    #expect(application.sees(seen, from: at(0), to: at(3)) == .wait(until: at(13)))
    // The beginning of the last look counts.
    #expect(application.sees(seen, from: at(12.9), to: at(20)) == .wait(until: at(13)))
    #expect(application.sees(seen, from: at(13), to: at(13)) == .claim(epoch: 5))
  }

  @Test func `one renewal may be a late sight of the last one, a second one is a sign of life`() {
    var application = LeaseApplication()
    _ = application.sees(sighting(4, .unseen, renewal: 1), from: at(0), to: at(0))
    #expect(application.sees(sighting(4, .unseen, renewal: 2), from: at(1), to: at(1)) == .wait(until: at(11)))
    #expect(application.sees(sighting(4, .unseen, renewal: 2), from: at(10), to: at(10)) == .wait(until: at(11)))
    #expect(application.sees(sighting(5, .unseen, renewal: 0), from: at(10.5), to: at(10.5)) == .refuse)
  }

  @Test func `a lease that is given back while it is watched is claimed`() {
    var application = LeaseApplication()
    _ = application.sees(sighting(4, .unseen), from: at(0), to: at(0))
    #expect(application.sees(sighting(4, .none), from: at(1), to: at(1)) == .claim(epoch: 5))
  }

  @Test func `a holder renews its lease in time, and claims the next epoch when it may have expired`() {
    var term = LeaseTerm(epoch: 4, length: Self.length, began: at(0))
    #expect(term.task(at: at(7.9)) == .renew)
    term.succeeded(.renew, from: at(7), to: at(7.5))
    #expect(term.isCurrent(at: at(14.9)) && !term.isCurrent(at: at(15)))
    #expect(term.task(at: at(15)) == .claim(epoch: 5))
    term.succeeded(.claim(epoch: 5), from: at(16), to: at(40))
    #expect(term.epoch == 5 && !term.isCurrent(at: at(40)) && term.isCurrent(at: at(23)))
    term.lose()
    #expect(term.task(at: at(17)) == nil && !term.isCurrent(at: at(17)))
  }

  @Test func `a renewal that reaches the disk after the lease has expired does not count`() {
    var term = LeaseTerm(epoch: 4, length: Self.length, began: at(0))
    term.succeeded(.renew, from: at(7), to: at(8))
    #expect(!term.isCurrent(at: at(8)))
  }
}
