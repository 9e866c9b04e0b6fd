import Diagnostics
import Messaging

/// A run that is to have some number of workers does not go on for long with fewer.
extension CoordinatorMachine {
  /// Ends the run when training has had fewer workers than the minimum for longer than the rendezvous. With none at all it
  /// waits in the rendezvous, and the time counts as well.
  mutating func watchNumberOfWorkers() {
    guard workers.count < minimumWorkers else {
      fewerSince = nil
      return
    }
    guard let since = fewerSince else {
      fewerSince = turn.now
      turn.note(.warning, "too_few_workers", "\(tooFew); the run ends in \(timing.rendezvous) unless others join")
      return
    }
    guard turn.now.since(since) >= timing.rendezvous else { return }
    lacksWorkers = true
    stopTraining()
  }

  /// "1 of at least 3 workers connected".
  var tooFew: String { "\(workers.count) of at least \(minimumWorkers) workers connected" }
}
