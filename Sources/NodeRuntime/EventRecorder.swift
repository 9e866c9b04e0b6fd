import Diagnostics
import Glibc
import Messaging
import Optimization
import Reporting
import Synchronization

/// Writes the event files of a run, in its directory `tensorboard`, for TensorBoard and what reads its format.
///
/// The scalars of an evaluation are written as its metrics are, before any checkpoint of it, so that a resumed run
/// neither repeats nor misses a step. Histograms and images are made by a thread of their own that yields to others: at
/// the first and the last evaluation of a start, and between them not before the training time has grown by a tenth,
/// nor more often than takes half a percent of the time.
final class EventRecorder: RunObserver {
  private typealias Evaluated = (record: MetricsRecord, state: OptimizerState, validation: Evaluation)

  /// What the thread tells.
  private struct Progress: Sendable {
    var pacing = Pacing()
    var isBusy = false
    var failure: Failure?
  }

  private final class SharedProgress: Sendable {
    let value = Mutex(Progress())
  }

  let name = "event_files"
  private let contents: EventContents
  private let directory: EventDirectory
  private let command: [String]
  private let start: (step: UInt64, isResumed: Bool)
  private let progress = SharedProgress()
  private let thread = BackgroundThread("run.pictures")
  /// Nil before the first evaluation of this start: one that fails before it leaves everything as it was.
  private var file: EventFile?
  /// The newest steps whose scalars and whose pictures are recorded.
  private var newestStep: UInt64?
  private var newestPictures: UInt64?
  private var secondsOfPictures: Double?
  private var newest: Evaluated?
  /// Why the first of the missing values was not written.
  private var gap: Failure?

  /// Removes what earlier starts have recorded after the step that the run resumes at.
  init(
    _ contents: EventContents, path: String, command: [String], startingAt step: UInt64, isResumed: Bool
  ) throws(Failure) {
    (self.contents, self.command) = (contents, command)
    directory = EventDirectory(path: path)
    start = (step, isResumed)
    guard isResumed else { return }
    let steps = try directory.removeValues(after: step)
    newestStep = steps["learning_rate"]
    newestPictures = steps.filter { $0.key.hasPrefix(EventContents.tagOfWeights) }.values.max()
  }

  func evaluated(
    _ record: MetricsRecord, _ snapshot: TrainingSnapshot, _ validation: Evaluation
  ) throws(Failure) {
    let evaluated = (record, snapshot.state, validation)
    newest = evaluated
    do throws(Failure) {
      let file = try openFile()
      if newestStep.map({ record.step > $0 }) ?? true {
        try file.append(Event(at: .now(), step: record.step, .summary(contents.scalars(record))))
        newestStep = record.step
      }
      if isDue(record) { recordPictures(evaluated, in: file) }
      if let failure = progress.value.withLock({ $0.failure }) { throw failure }
    } catch {
      defer { gap = gap ?? error }
      // Once: the disk stays full.
      if gap == nil { throw error }
    }
  }

  func finished(_ result: RunResult, _ ending: ExitReason) throws(Failure) {
    if let file, let newest { recordPictures(newest, in: file) }
    thread.wait()
    if let gap = gap ?? progress.value.withLock({ $0.failure }) { throw gap }
    for event in contents.end(result, ending, at: .now()) { try file?.append(event) }
  }

  private func openFile() throws(Failure) -> EventFile {
    if let file { return file }
    if start.isResumed {
      // Readers show the first value of such a tag, and only once.
      _ = try directory.removeValues(after: .max) { [step = start.step] tag, found in
        tag.hasPrefix(Hyperparameters.tagPrefix) || EventContents.tagsOfEnd.contains(tag)
          || EventContents.tagsOfStart.contains(tag) && found == step
      }
    }
    let now = UTCTime.now()
    let first = Event(at: now, step: start.isResumed ? start.step + 1 : start.step, .start)
    let opened = try directory.begin(
      at: now, host: NodeProcess.host, [first] + contents.start(command, at: now, step: start.step))
    file = opened
    return opened
  }

  // MARK: Pictures

  private static let growth = 1.1

  private func isDue(_ record: MetricsRecord) -> Bool {
    if record.step >= contents.job.plan.totalSteps { return true }
    return record.seconds >= Self.growth * (secondsOfPictures ?? 0)
      && progress.value.withLock { !$0.isBusy && $0.pacing.isDue() }
  }

  private func recordPictures(_ evaluated: Evaluated, in file: EventFile) {
    let step = evaluated.record.step
    guard newestPictures.map({ step > $0 }) ?? true else { return }
    (newestPictures, secondsOfPictures) = (step, evaluated.record.seconds)
    progress.value.withLock { $0.isBusy = true }
    let (state, validation) = (evaluated.state, evaluated.validation)
    thread.perform { [contents, progress] in
      let began = Self.processorTime
      var failure: Failure?
      do throws(Failure) {
        try file.append(Event(at: .now(), step: step, .summary(contents.pictures(state, validation))))
      } catch {
        failure = error
      }
      let cost = Self.processorTime - began
      progress.value.withLock {
        $0.pacing.took(cost)
        $0.isBusy = false
        $0.failure = $0.failure ?? failure
      }
    }
  }

  /// Of the calling thread.
  private static var processorTime: Duration {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
  }
}
