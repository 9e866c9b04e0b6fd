import Diagnostics
import Messaging

/// Has the shell look at the data files now and then, because other processes may change them, and knows which snapshots
/// are older than a look that found them unchanged. Members on other hosts look at their own files at least once a
/// heartbeat, so a snapshot counts as confirmed at the second look after it came.
struct DataWatch {
  /// Why a member does not trust its files any more.
  var suspicion: Failure?
  private var next: Instant?
  private var isUnderWay = false
  private var awaitsSnapshot = false
  private var newest: TrainingSnapshot?
  private var lookedAtOnce: TrainingSnapshot?

  /// Whether a look is due; it is then under way until `ended`.
  mutating func isDue(at now: Instant, every interval: Interval) -> Bool {
    guard !isUnderWay, now >= next ?? now else { return false }
    (isUnderWay, next) = (true, now + interval)
    return true
  }

  /// The server is asked for a snapshot that need not be saved.
  mutating func awaitSnapshot() { awaitsSnapshot = true }

  /// Takes over a snapshot for the case that the data change.
  /// - Returns: whether that is all that it was asked for.
  mutating func takes(_ snapshot: TrainingSnapshot) -> Bool {
    defer { awaitsSnapshot = false }
    newest = snapshot
    return awaitsSnapshot
  }

  /// The look found the files unchanged.
  /// - Returns: the newest snapshot that is certainly computed from them.
  mutating func ended() -> TrainingSnapshot? {
    defer { (isUnderWay, lookedAtOnce, newest) = (false, newest, nil) }
    return lookedAtOnce
  }
}

extension CoordinatorMachine {
  /// Looks at the files, and asks the server for a snapshot to keep where the plan has had none for some time.
  mutating func watchData() {
    let interval = timing.heartbeat * 2
    guard dataWatch.isDue(at: turn.now, every: interval) else { return }
    turn.request(.verifyData(thoroughly: false))
    guard pipeline.isIdle, progress.step > run.confirmed.step, turn.now.since(snapshotHeard) >= interval else { return }
    dataWatch.awaitSnapshot()
    sendToServer(.snapshotRequest(hold: false))
  }

  /// A member says, by a join with another fingerprint, that its files have changed: what this host sees of them names the
  /// file, if it has the same ones.
  mutating func suspectData(of join: Message.Join) {
    dataWatch.suspicion = Failure(
      .badData, "the training files of \(join.process) changed or could not be read while it used them",
      remedy: "Its log names the file. Restore its former bytes to resume the run")
    turn.request(.verifyData(thoroughly: true))
  }

  mutating func dataVerified(_ failure: Failure?, thoroughly: Bool) {
    switch stage {
    case .finishing(let outcome, _) where outcome.reason == .data: return
    case .draining, .ended: return
    case .rendezvous, .running, .interrupted, .finishing: break
    }
    let confirmed = thoroughly ? nil : dataWatch.ended()
    if let failure = failure ?? (thoroughly ? dataWatch.suspicion : nil) {
      conclude(run.dataFailed(failure))  // defence: data-verdict
    } else if let confirmed {
      run.confirm(confirmed)  // defence: data-confirmed
    }
  }
}
