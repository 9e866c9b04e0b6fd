import Diagnostics
import Files
import Messaging
import Optimization

/// Writes `confusion.json`: which classes the newest evaluated model takes for which, on the validation examples.
///
/// During the run the file is replaced for readers and not durably, so that no disk holds up the coordinator, and not more
/// often than costs half a percent of the time. At the end it is that of the last evaluation, and on the disk.
public final class ConfusionFile: RunObserver {
  public let name = "confusion"
  private let path: String
  private let classNames: [String]
  private var newest: (step: UInt64, validation: Evaluation)?
  private var pacing = Pacing()

  /// - Parameters:
  ///   - step: where the run starts or resumes. A file of a later step is removed.
  ///   - classNames: in the order of the labels.
  public init(path: String, classNames: [String], startingAt step: UInt64) {
    (self.path, self.classNames) = (path, classNames)
    guard let bytes = try? FileSystem().read(path, limit: 1 << 24, followingLinks: true) else { return }
    let found: UInt64? = try? JSONFields(parsing: bytes, source: path)["step"]
    if found.map({ $0 > step }) ?? true { try? FileSystem().unlink(path) }
  }

  public func evaluated(
    _ record: MetricsRecord, _ snapshot: TrainingSnapshot, _ validation: Evaluation
  ) throws(Failure) {
    guard validation.statistics.examples > 0 else { return }
    newest = (record.step, validation)
    guard pacing.isDue() else { return }
    let began = ContinuousClock.now
    defer { pacing.took(ContinuousClock.now - began) }
    let temporary = FileSystem().temporaryPath(for: path)
    do throws(Failure) {
      try File(temporary, for: .creating).write(Self.bytes(record.step, validation, classNames))
      try FileSystem().rename(temporary, to: path)
    } catch {
      try? FileSystem().unlink(temporary)
      throw error
    }
  }

  public func finished(_ result: RunResult, _ ending: ExitReason) throws(Failure) {
    guard let newest else { return }
    try FileSystem().replace(path, with: Self.bytes(newest.step, newest.validation, classNames))
  }

  private static func bytes(_ step: UInt64, _ validation: Evaluation, _ classNames: [String]) -> [UInt8] {
    let classes = validation.classes
    let rows = (0..<classes).map { JSONValue.numbers(validation.confusion[$0 * classes..<($0 + 1) * classes]) }
    let json: JSONValue = [
      "step": .number(step), "examples": .number(validation.statistics.examples), "classes": .strings(classNames),
      "counts": .array(rows),
    ]
    return Array(json.indentedText.utf8)
  }
}
