import Diagnostics
import Logging
import Messaging
import Optimization

/// Shows or records a run: a file, a display, a page. One file defines an observer, and one line in
/// `RunRecorder.observers` adds it to every run.
///
/// The initializer brings the observer's file to the step at which the run starts or resumes. After that the run calls
/// the methods from one thread, for each event in the order of that list; by default they do nothing. When a method
/// throws, the failure is logged and training continues.
public protocol RunObserver: AnyObject {
  /// The name in log events: "metrics" in `metrics_failed`.
  var name: String { get }

  /// The coordinator listens on TCP.
  /// - Parameter endpoint: what the others connect to.
  func listening(at endpoint: String) throws(Failure)
  /// Workers have joined or left, and training continues with the others.
  func membershipChanged(epoch: UInt64, step: UInt64, workers: Int) throws(Failure)
  /// `descent train` has restarted a server or worker, whose predecessor ended like this: "was killed by signal 9".
  func restarted(_ process: String, formerExit: String) throws(Failure)
  /// Several times a second. Must not allocate or take long.
  func progressed(_ record: MetricsRecord)
  /// - Parameters:
  ///   - snapshot: the training state after the step of `record`, parameters included.
  ///   - validation: of these parameters, on the validation examples.
  func evaluated(
    _ record: MetricsRecord, _ snapshot: TrainingSnapshot, _ validation: Evaluation
  ) throws(Failure)
  /// What is known of the workers: after each evaluation, and before the end.
  func workersMeasured(_ record: WorkersRecord) throws(Failure)
  /// A line was written to the log of the run.
  func logged(_ level: Logger.Level, _ message: String)
  /// - Parameter ending: so far. An observer that throws changes it for those after it.
  /// - Throws: why the record is not on disk as a whole. The process then exits with `inputOutput` instead of success.
  func finished(_ result: RunResult, _ ending: ExitReason) throws(Failure)
}

extension RunObserver {
  public func listening(at endpoint: String) throws(Failure) {}
  public func membershipChanged(epoch: UInt64, step: UInt64, workers: Int) throws(Failure) {}
  public func restarted(_ process: String, formerExit: String) throws(Failure) {}
  public func progressed(_ record: MetricsRecord) {}
  public func evaluated(
    _ record: MetricsRecord, _ snapshot: TrainingSnapshot, _ validation: Evaluation
  ) throws(Failure) {}
  public func workersMeasured(_ record: WorkersRecord) throws(Failure) {}
  public func logged(_ level: Logger.Level, _ message: String) {}
  public func finished(_ result: RunResult, _ ending: ExitReason) throws(Failure) {}
}
