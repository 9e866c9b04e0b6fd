import Cluster
import Datasets
import Diagnostics
import Messaging
import Optimization
import ZeroMQTransport

/// Runs a worker until the coordinator, a signal or silence ends it.
///
/// - Parameter dataDirectory: the training files, the same bytes as the coordinator's.
/// - Throws: what kept it from beginning; how it ended otherwise is the result.
public func runWorker(_ options: NodeOptions, dataDirectory: String) throws(Failure) -> Message.Ending {
  try runWorker(options, dataDirectory: dataDirectory, in: NodeProcess(diesWithParent: options.diesWithParent))
}

package func runWorker(
  _ options: NodeOptions, dataDirectory: String, in process: NodeProcess
) throws(Failure) -> Message.Ending {
  // Before the rendezvous, so that the files are checked while the others start.
  let dataset = try CIFAR10Dataset(directory: dataDirectory, part: .training)
  let found = try options.coordinator.meeting(
    launch: options.launch, timeout: options.timing.rendezvous, interruptions: process.interruptions)
  guard let meeting = found else { return .stoppedWhileWaiting }
  let log = try process.log(role: .worker, meeting: meeting, options: options)
  let transport = NodeTransport(role: .worker, incarnation: process.incarnation, context: try MessagingContext())
  try transport.connectToCoordinator(meeting.coordinator)
  let machine = WorkerMachine(
    incarnation: process.incarnation, processID: process.processID, host: process.host,
    datasetFingerprint: dataset.fingerprint, timing: options.timing)
  let mailbox = try Mailbox()
  let runner = RoleRunner(
    machine: machine, transport: transport, mailbox: mailbox, interruptions: process.interruptions,
    shell: try WorkerShell(dataset: dataset, mailbox: mailbox, log: log), log: log)
  let ending = runner.run()
  log.note(ending.status == .success ? .info : .error, event: "ended", ending.reason)
  return ending
}

/// Hands gradients to a thread of their own, so that heartbeats never wait for one.
final class WorkerShell: NodeShell {
  private let thread: SerialThread
  private let computer: GradientComputer
  private let log: NodeLog

  init(dataset: CIFAR10Dataset, mailbox: Mailbox, log: NodeLog) throws(Failure) {
    thread = try SerialThread()
    computer = GradientComputer(dataset: dataset, mailbox: mailbox)
    self.log = log
  }

  func perform(_ action: Action) {
    switch action {
    case .prepare(let plan, let meanImage):
      thread.perform { [computer] in computer.prepare(plan, meanImage) }
    case .compute(let task):
      thread.perform { [computer] in computer.compute(task) }
    case .observe(.note(let level, let event, let text)):
      log.note(level, event: event, text)
    case .observe, .send, .connect, .evaluate, .write, .stop:
      break
    }
  }

  func abandon() {}
}

/// Computes gradients. Unchecked because the jobs of one `SerialThread` are all that touch the kernel.
private final class GradientComputer: @unchecked Sendable {
  private let dataset: CIFAR10Dataset
  private let mailbox: Mailbox
  private var prepared: (plan: TrainingPlan, kernel: GradientKernel, buffers: BufferPool)?

  init(dataset: CIFAR10Dataset, mailbox: Mailbox) {
    self.dataset = dataset
    self.mailbox = mailbox
  }

  /// A plan that is for another number of examples than there are, or for a model that the records are not for, computes
  /// nothing: the coordinator compares the fingerprints of the data before it hands out a plan, so it is no plan of ours.
  func prepare(_ plan: TrainingPlan, _ meanImage: Payload) {
    guard plan.shape == .cifar10, plan.exampleCount == dataset.count,
      meanImage.count == plan.shape.pixels * MemoryLayout<Float>.stride
    else {
      prepared = nil
      return
    }
    let kernel = GradientKernel(
      plan: plan, examples: dataset.examples,
      meanImage: meanImage.elements(of: Float.self, count: plan.shape.pixels))
    let buffers = BufferPool(byteCount: plan.shape.parameterCount * MemoryLayout<Int32>.stride)
    prepared = (plan, kernel, buffers)
  }

  /// The gradient goes straight into the memory that the socket sends it from.
  func compute(_ task: GradientTask) {
    guard let (plan, kernel, buffers) = prepared,
      task.parameters.count == plan.shape.parameterCount * MemoryLayout<Float>.stride,
      task.shards.isSubset(of: plan.allShards)
    else { return }
    let buffer = buffers.take()
    let statistics = task.parameters.withFloats(count: plan.shape.parameterCount) {
      kernel.gradient(
        parameters: $0, step: task.step, shards: task.shards,
        into: buffer.memory.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: Int32.self))
    }
    let gradient = Payload(borrowing: UnsafeRawBufferPointer(buffer.memory)) { buffers.give(buffer) }
    mailbox.post(
      .gradientReady(ComputedGradient(ticket: task.ticket, statistics: statistics, gradient: gradient)))
  }
}
