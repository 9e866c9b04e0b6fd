import Cluster
import Diagnostics
import Messaging
import Optimization

/// The three roles, hearing any sequence of messages from those who may speak to them: none of it may end a process
/// otherwise than by the role's own decision.
///
/// An input is a sequence of records: who hears it and who says it; how many milliseconds later; the step; the epoch;
/// and a message as `FuzzTarget.message` takes it, behind its length.
enum MachineFuzzing {
  private static let header = 6
  private static let run = RunID(1)

  static func run(_ bytes: UnsafeRawBufferPointer) {
    var stage = Stage()
    var rest = bytes[...]
    for _ in 0..<64 where rest.count >= header {
      let head = Array(rest.prefix(header))
      rest = rest.dropFirst(header)
      let body = rest.prefix(Int(head[4]) | Int(head[5]) << 8)
      rest = rest.dropFirst(body.count)
      stage.play(head, body: UnsafeRawBufferPointer(rebasing: body))
    }
  }

  private struct Stage {
    var server = ServerMachine(
      incarnation: Incarnation(2), endpoint: "ipc:///a", processID: 1, host: "host", timing: Timing(), kernel: .best)
    var worker = WorkerMachine(
      incarnation: Incarnation(10), name: "worker-1", processID: 2, host: "host", datasetFingerprint: 77,
      timing: Timing())
    var coordinator = CoordinatorMachine(
      MachineFuzzing.run,
      controller: RunController(
        plan: Seeds.plan, rule: StoppingRule(), initial: RunState(beginning: Seeds.plan), checkpoint: nil),
      timing: Timing(), expectedWorkers: 1, datasetFingerprint: 77,
      meanImage: Payload(concatenating: [1, 2, 3] as [Float]), checkpointInterval: nil)
    var now = Instant(nanoseconds: 1)

    init() {
      _ = Self.hand(.begin, to: &server, at: now)
      _ = Self.hand(.begin, to: &worker, at: now)
      _ = Self.hand(.begin, to: &coordinator, at: now)
    }

    mutating func play(_ head: [UInt8], body: UnsafeRawBufferPointer) {
      now = now + Interval.milliseconds(UInt64(head[1]) * 16)
      let roles: [NodeRole] = [.coordinator, .server, .worker]
      let (receiver, sender) = (roles[Int(head[0] & 3) % 3], NodeRole.allCases[Int(head[0] >> 2 & 3)])
      var received: (Message, Envelope)?
      if head[0] & 0x80 == 0 {
        guard let (message, sealed) = FuzzTarget.sealed(body), message.type.isAllowed(from: sender, to: receiver) else {
          return
        }
        var envelope = sealed
        envelope.incarnation = Incarnation(incarnation(of: sender, head[0] >> 4 & 3))
        envelope.step = head[2] == 255 ? .max : UInt64(head[2])
        envelope.membershipEpoch = MembershipEpoch(head[3] == 255 ? .max : UInt64(head[3]))
        received = (message, envelope)
      }
      switch receiver {
      case .server: _ = Self.hand(received, to: &server, at: now)
      case .worker: perform(Self.hand(received, to: &worker, at: now))
      default: perform(Self.hand(received, to: &coordinator, at: now))
      }
    }

    private static func hand<Machine: NodeMachine>(
      _ received: (Message, Envelope)?, to machine: inout Machine, at now: Instant
    ) -> [Machine.Action] {
      hand(received.map { .received($0, $1) } ?? .deadline, to: &machine, at: now)
    }

    private static func hand<Machine: Role>(
      _ event: Machine.Event, to machine: inout Machine, at now: Instant
    ) -> [Machine.Action] {
      var actions: [Machine.Action] = []
      machine.handle(event, at: now, into: &actions)
      return actions
    }

    private func incarnation(of role: NodeRole, _ number: UInt8) -> UInt64 {
      switch role {
      case .coordinator: 1 + UInt64(number) * 100
      case .server: 2 + UInt64(number) * 100
      case .worker, .observer: 10 + UInt64(number)
      }
    }

    // What the shells would report at once.

    private mutating func perform(_ actions: [WorkerMachine.Action]) {
      for case .request(.compute(let item, _)) in actions {
        let gradient = Payload(concatenating: [Int32](repeating: 1, count: Seeds.shape.parameterCount))
        let computed = Message.Push(item: item, statistics: .zero, gradient: gradient)
        _ = Self.hand(.outcome(.gradientReady(computed)), to: &worker, at: now)
      }
    }

    private mutating func perform(_ actions: [CoordinatorMachine.Action]) {
      for action in actions {
        switch action {
        case .request(.evaluate(let serial, let split, _, _)):
          let evaluation = Evaluation(
            MinibatchStatistics(examples: 5, lossSum: 1 << 24, correct: 1), confusion: [1, 1, 1, 2])
          _ = Self.hand(.outcome(.evaluated(serial: serial, split, evaluation)), to: &coordinator, at: now)
        case .request(.write(let state, _)):
          _ = Self.hand(.outcome(.checkpointWritten(step: state.step, .success("path"))), to: &coordinator, at: now)
        case .request(.verifyData(let thoroughly)):
          _ = Self.hand(.outcome(.dataVerified(nil, thoroughly: thoroughly)), to: &coordinator, at: now)
        default: break
        }
      }
    }
  }

  // MARK: Seeds

  private static func record(_ receiver: UInt8, _ sender: UInt8, _ message: Message, number: UInt8 = 0) -> [UInt8] {
    let body = Seeds.packed(message)
    return [receiver | sender << 2 | number << 4, 1, 1, 1, UInt8(body.count & 0xFF), UInt8(body.count >> 8)] + body
  }

  /// Each role with all that is said to it, in the order of the protocol.
  static let seeds: [[UInt8]] = {
    let roles: [NodeRole] = [.coordinator, .server, .worker]
    return roles.indices.map { receiver in
      NodeRole.allCases.indices.flatMap { sender in
        Seeds.messages.filter { $0.type.isAllowed(from: NodeRole.allCases[sender], to: roles[receiver]) }.flatMap {
          record(UInt8(receiver), UInt8(sender), $0)
        }
      }
    }
  }()
}
