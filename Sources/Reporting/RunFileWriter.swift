import Diagnostics

/// Writes `run.json` at every change.
public final class RunFileWriter: RunObserver {
  public let name = "run_file"
  private let path: String
  private var file: RunFile

  /// Writes the file of a run that starts. If it is resumed, the file at `path` is continued.
  public init(_ file: RunFile, path: String, isResumed: Bool) throws(Failure) {
    self.path = path
    self.file = file
    if isResumed, let earlier = try? RunFile(readingFrom: path) { self.file.continue(earlier) }
    try save()
  }

  public func membershipChanged(_ epoch: RunFile.MembershipEpoch) throws(Failure) {
    file.append(epoch)
    try save()
  }

  public func finished(_ result: RunResult, _ status: ExitStatus) throws(Failure) {
    file.stopReason = result.stopReason
    file.status =
      switch status {
      case .success: .finished
      case .stoppedBySignal: .interrupted
      default: .failed
      }
    try save()
  }

  private func save() throws(Failure) { try file.save(to: path, at: .now()) }
}
