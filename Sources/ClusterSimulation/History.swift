import Cluster
import Messaging
import Optimization

/// What the run has been through, over the lives of all its processes: the states it has reached, and what was promised.
struct History {
  /// Fingerprints of the states that were reached, by step. Under `bsp` there is only one for each.
  private var reached: [[UInt64]]
  /// What a coordinator asked the disk to keep, by step.
  private var requests: [[RunState]]
  /// The newest step that was announced as durable.
  private(set) var announcedStep: UInt64?

  init(totalSteps: UInt64) {
    reached = Array(repeating: [], count: Int(totalSteps) + 1)
    requests = Array(repeating: [], count: Int(totalSteps) + 1)
  }

  func isReached(_ step: UInt64, _ fingerprint: UInt64) -> Bool {
    step < reached.count && reached[Int(step)].contains(fingerprint)
  }

  /// Nil unless the state is one that the run cannot be in.
  mutating func reach(_ step: UInt64, _ fingerprint: UInt64, isUnique: Bool) -> String? {
    guard step < reached.count else { return "step \(step) was reached, beyond the last one" }
    if reached[Int(step)].contains(fingerprint) { return nil }
    reached[Int(step)].append(fingerprint)
    return isUnique && reached[Int(step)].count > 1
      ? "step \(step) was reached with two different sets of weights" : nil
  }

  mutating func requested(_ state: RunState) {
    if state.step < requests.count { requests[Int(state.step)].append(state) }
  }

  mutating func announced(_ step: UInt64) { announcedStep = max(step, announcedStep ?? 0) }

  /// Nil if a run may continue like this: no announced step is lost, and what is found is what was saved.
  func disagreement(withResuming initial: RunState?) -> String? {
    if let announcedStep, (initial?.step ?? 0) < announcedStep || initial == nil {
      return "step \(announcedStep) was announced as durable, and the run resumes from step \(initial?.step ?? 0)"
    }
    guard let initial else { return nil }
    let isSaved = initial.step < requests.count && requests[Int(initial.step)].contains(initial)
    return isSaved ? nil : "the checkpoint of step \(initial.step) is not what was saved"
  }
}
