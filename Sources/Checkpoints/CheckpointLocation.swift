import Diagnostics
import Files

extension CheckpointStore {
  /// The directory of the checkpoint that `selector` names: `RUN[@best|@latest|@STEP]`, where RUN alone means its latest
  /// one, or the path of a checkpoint.
  ///
  /// - Throws: `missingInput` when nothing is there, `badData` when it is no checkpoint or run.
  public static func locate(_ selector: String) throws(Failure) -> String {
    guard !FileSystem().exists(selector), let mark = selector.lastIndex(of: "@") else {
      return try load(selector).path
    }
    let store = CheckpointStore(runDirectory: String(selector[..<mark]))
    let name = String(selector[selector.index(after: mark)...])
    let path = store.path(UInt64(name).map { CheckpointName(step: $0).text } ?? name)
    guard name == "best" || name == latestName || UInt64(name) != nil, FileSystem().exists(path) else {
      throw Failure(.missingInput, "\(selector) names no checkpoint: \(path) does not exist")
    }
    return try load(path).path
  }
}
