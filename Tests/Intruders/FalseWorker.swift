import Diagnostics
import Messaging
import Optimization

/// A worker that is let into a run and says there what it likes.
public final class FalseWorker {
  /// What it hears.
  public enum Word {
    case work(Message.Work, Addressing)
    case ended(ExitReason)
  }

  public let incarnation: Incarnation
  public let welcome: Message.Welcome
  private let run: RunID
  private let coordinator: UntrustedPeer
  private let server: UntrustedPeer
  private var sequence: UInt64 = 0

  /// Joins; nil if it is not welcomed within that time.
  /// - Parameters:
  ///   - endpoint: the coordinator's.
  ///   - fingerprint: of the training files that it claims to have.
  public init?(
    joining run: RunID, at endpoint: String, as incarnation: Incarnation, fingerprint: UInt64,
    withinMilliseconds limit: Int
  ) {
    self.run = run
    self.incarnation = incarnation
    let id = [NodeRole.worker.rawValue] + withUnsafeBytes(of: incarnation.value.littleEndian) { Array($0) }
    coordinator = UntrustedPeer(connectingTo: endpoint, as: id, .none)
    let join = Message.Join(
      role: .worker, name: "worker-1", processID: 1, host: "elsewhere", datasetFingerprint: fingerprint, endpoint: "")
    let addressing = Addressing(run: run, membershipEpoch: MembershipEpoch(0), step: 0)
    coordinator.send(Self.frames(.join(join), addressing, from: incarnation, sequence: 0))
    var found: Message.Welcome?
    while found == nil, let frames = coordinator.receive(withinMilliseconds: limit) {
      if case .welcome(let welcome)? = Self.message(frames)?.0 { found = welcome }
    }
    guard let found else { return nil }
    welcome = found
    server = UntrustedPeer(connectingTo: found.servers[0].endpoint, as: id, .none)
  }

  private static func frames(
    _ message: Message, _ addressing: Addressing, from incarnation: Incarnation, sequence: UInt64
  ) -> [[UInt8]] {
    let fields = message.encodeFields()
    var envelope = Envelope(
      type: message.type, run: addressing.run, membershipEpoch: addressing.membershipEpoch, incarnation: incarnation,
      step: addressing.step, sequence: sequence)
    message.seal(&envelope, fields: fields)
    var header = [UInt8](repeating: 0, count: Envelope.byteCount)
    header.withUnsafeMutableBytes { envelope.encode(into: $0) }
    return [header, fields, Array(message.payload.bytes)]
  }

  private static func message(_ frames: [[UInt8]]) -> (Message, Envelope)? {
    guard frames.count == 3, let envelope = try? frames[0].withUnsafeBytes({ try Envelope(decoding: $0) }) else {
      return nil
    }
    let payload = Payload(concatenating: frames[2])
    guard let message = try? frames[1].withUnsafeBytes({ try Message(envelope, fields: $0, payload: payload) }) else {
      return nil
    }
    return (message, envelope)
  }

  private func tell(_ peer: UntrustedPeer, _ message: Message, _ addressing: Addressing) {
    sequence += 1
    peer.send(Self.frames(message, addressing, from: incarnation, sequence: sequence))
  }

  public func push(_ push: Message.Push, _ addressing: Addressing) { tell(server, .push(push), addressing) }

  /// Takes its leave of the coordinator.
  public func leave() {
    tell(coordinator, .leave, Addressing(run: run, membershipEpoch: MembershipEpoch(0), step: 0))
    withExtendedLifetime(coordinator.receive(withinMilliseconds: 100)) {}
  }

  /// The next piece of work, or the end; asks for work and lives on as an honest worker would. Nil when nothing comes
  /// within about that time.
  public func listen(withinMilliseconds limit: Int) -> Word? {
    let addressing = Addressing(run: run, membershipEpoch: MembershipEpoch(0), step: 0)
    for round in 0..<max(1, limit / 4) {
      if round % 100 == 25 { tell(server, .requestWork, addressing) }
      if round % 100 == 50 { tell(coordinator, .heartbeat(Message.Heartbeat(isReady: true)), addressing) }
      for peer in [server, coordinator] {
        guard let frames = peer.receive(withinMilliseconds: 2), let (message, envelope) = Self.message(frames) else {
          continue
        }
        switch message {
        case .work(let work):
          let addressing = Addressing(run: run, membershipEpoch: envelope.membershipEpoch, step: envelope.step)
          return .work(work, addressing)
        case .refusal(let ending), .stop(let ending): return .ended(ending)
        default: continue
        }
      }
    }
    return nil
  }
}
