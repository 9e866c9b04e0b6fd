import Diagnostics
import Optimization

/// The numbers of the message types on the wire. Never reused for another meaning.
public enum MessageType: UInt16, Sendable, CaseIterable {
  // Control plane: with the coordinator.
  case join = 1
  case welcome = 2
  case refusal = 3
  case heartbeat = 4
  case heartbeatReply = 5
  case start = 6
  case assignment = 7
  case snapshot = 8
  case snapshotReceived = 9
  case snapshotRequest = 10
  case leave = 11
  case stop = 12
  case statusRequest = 13
  case status = 14
  case notAMember = 15
  case saveRequest = 16
  // Data plane: workers with the server.
  case requestWork = 32
  case work = 33
  case push = 34
  case noWorkYet = 35
  // Between the transports of a worker and a server on one host; the roles never see them.
  case attach = 48
  case attached = 49

  /// Whether a node of role `sender` may send this to a node of role `receiver`. Any other message is dropped before a
  /// role sees it, so a worker cannot pass for the coordinator.
  public func isAllowed(from sender: NodeRole, to receiver: NodeRole) -> Bool {
    switch self {
    case .join, .heartbeat, .leave, .saveRequest: receiver == .coordinator && (sender == .worker || sender == .server)
    case .snapshot: sender == .server && receiver == .coordinator
    case .statusRequest: sender == .observer && receiver == .coordinator
    case .status: sender == .coordinator && receiver == .observer
    case .welcome, .heartbeatReply, .stop, .notAMember:
      sender == .coordinator && (receiver == .worker || receiver == .server)
    case .refusal:
      sender == .coordinator && (receiver == .worker || receiver == .server) || sender == .server && receiver == .worker
    case .start, .assignment, .snapshotReceived, .snapshotRequest: sender == .coordinator && receiver == .server
    case .requestWork, .push, .attach: sender == .worker && receiver == .server
    case .work, .noWorkYet, .attached: sender == .server && receiver == .worker
    }
  }
}

/// A message between two roles. In bytes it is three frames: the envelope, the fields, and one array as it is in memory
/// (`payload`), which is not copied.
public enum Message: Sendable {
  /// A process asks the coordinator for admission; repeated until it is welcomed or refused.
  case join(Join)
  /// The coordinator admits a node, with all that it needs.
  case welcome(Welcome)
  /// The receiver may not continue; it ends with the status.
  case refusal(ExitReason)
  /// A node is alive, and where it stands.
  case heartbeat(Heartbeat)
  /// The coordinator is alive; the envelope carries its membership epoch.
  case heartbeatReply
  /// The coordinator gives the server the state to begin with.
  case start(TrainingSnapshot)
  /// Which worker computes which shards from the envelope's membership epoch on.
  case assignment(Assignment)
  /// Where training stands, for evaluation and checkpoints.
  case snapshot(Snapshot)
  /// The coordinator has dealt with the snapshot of this serial number.
  case snapshotReceived(serial: UInt64)
  /// The coordinator wants a snapshot now; with `hold` the server stops handing out work.
  case snapshotRequest(hold: Bool)
  /// A node ends by itself, or because it was sent a stop.
  case leave
  /// The run is over; the receiver ends with the status.
  case stop(ExitReason)
  /// An observer asks how things stand.
  case statusRequest
  /// One JSON object in UTF-8.
  case status(Payload)
  /// The coordinator does not know the sender of a heartbeat as a member. From the coordinator that admitted it, this
  /// means that its membership has ended; from another one, that the run has passed to that one and the node may join it.
  case notAMember
  /// A server or worker was asked by a signal to have the run saved now.
  case saveRequest
  /// A worker asks the server for work.
  case requestWork
  /// The server hands out work: the shards to compute for a step, and the weights to compute them with.
  case work(Work)
  /// A worker's summed gradient of one work item.
  case push(Push)
  /// The server is alive and has nothing for this worker to do yet.
  case noWorkYet
  /// A worker offers its server on the same host to exchange messages through memory.
  case attach(SharedMemoryOffer)
  /// The server does, and offers the memory that its weights are in.
  case attached(SharedMemoryOffer)

  public struct Join: Sendable, Equatable {
    public var role: NodeRole
    /// Of the process on its host: "server", "worker-1".
    public var name: String
    public var processID: Int32
    public var host: String
    /// Of the training files as this process sees them; 0 where a role reads none.
    public var datasetFingerprint: UInt64
    /// Where the server listens for workers; empty for others.
    public var endpoint: String
    /// How the process ended that this one replaces: "was killed by signal 9"; empty if it replaces none.
    public var formerExit = ""

    public init(
      role: NodeRole, name: String, processID: Int32, host: String, datasetFingerprint: UInt64, endpoint: String,
      formerExit: String = ""
    ) {
      self.role = role
      self.name = name
      self.formerExit = formerExit
      self.processID = processID
      self.host = host
      self.datasetFingerprint = datasetFingerprint
      self.endpoint = endpoint
    }

    /// The name of the process in logs, status and messages: "worker-1@host".
    public var fullName: String { "\(name)@\(host)" }
  }

  public struct Welcome: Sendable {
    public var plan: TrainingPlan
    /// In the order of `ServerIndex`: their ranges follow each other and are together all parameters of the plan.
    public var servers: [ServerEndpoint]
    /// Whether work and pushes go through memory where server and worker are on one host.
    public var sharesMemory: Bool
    /// Float32 [3072] in pixel units for workers; empty for the server, which never knows the model.
    public var meanImage: Payload
    public static let maximumServers = 64

    /// To a run with one server, which holds all parameters.
    public init(plan: TrainingPlan, serverEndpoint: String, sharesMemory: Bool = false, meanImage: Payload) {
      self.plan = plan
      servers = [ServerEndpoint(range: 0..<plan.shape.parameterCount, endpoint: serverEndpoint)]
      self.sharesMemory = sharesMemory
      self.meanImage = meanImage
    }
  }

  public struct Heartbeat: Sendable, Equatable {
    /// Server: the state it was started with is in place. Worker: it has had work.
    public var isReady: Bool
    /// Of the newest assignment the server has received.
    public var assignmentEpoch = MembershipEpoch(0)
    /// Examples that went into the weights since the run began.
    public var examples: UInt64 = 0
    /// Mean data loss of the newest step; not a number before the first.
    public var loss = 0.0
    /// The worker that the server has been waiting for the longest, 0 if for none, and for how long.
    public var waitingFor = Incarnation(0)
    public var waitingMilliseconds: UInt32 = 0
    /// Server: pushes since its start that cannot have been computed, and that were not asked for (any more).
    public var rejectedPushes: UInt64 = 0
    public var stalePushes: UInt64 = 0
    /// Server: as `RunTotals` has them.
    public var takenOverShards: UInt64 = 0
    public var lateShards: UInt64 = 0
    /// A worker that is given no more work because too many of its pushes were refused, 0 if there is none.
    public var untrusted = Incarnation(0)
    /// Server: of each member that has answered.
    public var paces: [WorkerPace] = []

    /// - Parameter change: sets what differs from the defaults.
    public init(isReady: Bool, _ change: (inout Heartbeat) -> Void = { _ in }) {
      self.isReady = isReady
      change(&self)
    }
  }

  /// How fast a member of the newest membership epoch has answered its work items since it joined.
  public struct WorkerPace: Sendable, Equatable {
    public var worker: Incarnation
    /// Valid pushes.
    public var answers: UInt64 = 0
    /// Steps whose last push was this worker's; 0 where updates do not wait for whole steps.
    public var timesLast: UInt64 = 0
    /// From handing out an item to the arrival of its push: on the server's host, until the worker has written it.
    public var medianSeconds = 0.0
    public var p99Seconds = 0.0
    /// For how long steps have waited for this worker alone, and for how long it has been a member.
    public var awaitedSeconds = 0.0
    public var memberSeconds = 0.0

    /// - Parameter change: sets what differs from the defaults.
    public init(worker: Incarnation, _ change: (inout WorkerPace) -> Void = { _ in }) {
      self.worker = worker
      change(&self)
    }
  }

  public struct Assignment: Sendable, Equatable {
    public static let maximumMembers = 1024
    public struct Member: Sendable, Equatable {
      public var incarnation: Incarnation
      /// `Join.fullName`, for messages; cut to 128 bytes on the wire.
      public var name: String
      public var shards: ShardSet
      public init(incarnation: Incarnation, name: String, shards: ShardSet) {
        self.incarnation = incarnation
        self.name = name
        self.shards = shards
      }
    }
    /// The sets of shards are disjoint and together all shards, unless there is no member.
    public var members: [Member]
    public init(members: [Member]) { self.members = members }
  }

  public struct Snapshot: Sendable {
    public enum Occasion: UInt8, Sendable {
      /// A multiple of the evaluation or checkpoint interval.
      case interval = 0
      /// The last step of the plan.
      case final = 1
      /// The coordinator asked.
      case requested = 2
      /// A gradient or a loss was not finite: the weights are those before it.
      case diverged = 3
    }
    public var serial: UInt64
    public var occasion: Occasion
    public var training: TrainingSnapshot
    /// Since the last snapshot at a multiple of the evaluation interval.
    public var interval: MinibatchStatistics
    /// ‖g‖₂ of the newest update, the regularizer's part included.
    public var gradientNorm: Double
    /// Seconds between two steps.
    public var stepSecondsP50: Double
    public var stepSecondsP99: Double
    public init(
      serial: UInt64, occasion: Occasion, training: TrainingSnapshot, interval: MinibatchStatistics,
      gradientNorm: Double, stepSecondsP50: Double, stepSecondsP99: Double
    ) {
      self.serial = serial
      self.occasion = occasion
      self.training = training
      self.interval = interval
      self.gradientNorm = gradientNorm
      self.stepSecondsP50 = stepSecondsP50
      self.stepSecondsP99 = stepSecondsP99
    }
  }

  public struct Work: Sendable {
    public var item: WorkItem
    /// Float32 [parameters]: the weights to compute the gradient at.
    public var parameters: Payload
    public init(item: WorkItem, parameters: Payload) {
      self.item = item
      self.parameters = parameters
    }
  }

  /// Memory that a process shares, and how to wake it: descriptors as that process numbers them, to be opened by way of
  /// /proc, which only processes of the same user can do.
  public struct SharedMemoryOffer: Sendable, Equatable {
    public var processID: Int32
    public var memory: Int32
    /// The end of a pipe to write to.
    public var doorbell: Int32
    public var byteCount: UInt64
    public init(processID: Int32, memory: Int32, doorbell: Int32, byteCount: UInt64) {
      self.processID = processID
      self.memory = memory
      self.doorbell = doorbell
      self.byteCount = byteCount
    }
  }

  public struct Push: Sendable {
    /// The item that it answers.
    public var item: WorkItem
    public var statistics: MinibatchStatistics
    /// Int32 [parameters]: the fixed-point sum over the shards' examples.
    public var gradient: Payload
    public init(item: WorkItem, statistics: MinibatchStatistics, gradient: Payload) {
      self.item = item
      self.statistics = statistics
      self.gradient = gradient
    }
  }
}

/// Why a process ends, and with which status.
public struct ExitReason: Sendable, Equatable {
  public var status: ExitStatus
  public var reason: String
  public init(status: ExitStatus, reason: String) {
    self.status = status
    self.reason = reason
  }
}
