import Diagnostics
import Files

/// Writes `result.json` when the run has ended.
public final class ResultFile: RunObserver {
  public let name = "result"
  private let path: String

  /// Removes the result of an earlier start of the run.
  public init(path: String) {
    self.path = path
    try? FileSystem().unlink(path)
  }

  public func finished(_ result: RunResult, _ status: ExitStatus) throws(Failure) {
    try FileSystem().replace(path, with: result.json)
  }
}
