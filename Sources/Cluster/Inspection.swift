import Messaging
import Optimization

/// What the simulation's checker sees of a server after each event, to compare it with its own account.
package struct ServerInspection {
  package struct OpenTicket {
    package var worker: Incarnation
    package var number: UInt64
    package var epoch: MembershipEpoch
    package var clock: UInt64
    package var shards: ShardSet
  }

  /// The state it was started with is in place.
  package var isStarted: Bool
  package var step: UInt64
  /// The membership epoch in effect.
  package var epoch: MembershipEpoch
  package var shardClocks: [UInt64]
  /// `bsp`: shards of the open step that are in.
  package var received: ShardSet
  package var totals: RunTotals
  package var outstandingSnapshots: Int
  package var members: Int
}

extension ServerMachine {
  package static var refusalBound: Int { maximumRefusedPushes }
  package static var snapshotBound: Int { maximumOutstandingSnapshots }

  package var inspection: ServerInspection {
    ServerInspection(
      isStarted: store != nil, step: step, epoch: epoch, shardClocks: store?.shardClocks ?? [],
      received: store?.received ?? ShardSet(), totals: store?.totals ?? RunTotals(),
      outstandingSnapshots: snapshots.count, members: members.count)
  }

  package var openTickets: [ServerInspection.OpenTicket] {
    members.compactMap { member in
      member.ticket.map {
        ServerInspection.OpenTicket(
          worker: member.incarnation, number: $0.number, epoch: epoch, clock: $0.work.clock, shards: $0.work.shards)
      }
    }
  }

  /// W and velocity as they stand.
  package var trainingState: TrainingState? { store?.state }
}

extension CoordinatorMachine {
  package static var queueBound: Int { SnapshotPipeline.capacity }
  package static var nodeBound: Int { maximumWorkers }
  package static var lostServerBound: Int { maximumLostServers }
  package static var untrustedBound: Int { maximumUntrusted }
  package var queuedSnapshots: Int { pipeline.waitingCount }
  package var workerCount: Int { workers.count }
  package var lostServerCount: Int { lostServers.count }
  package var untrustedCount: Int { untrusted.count }
  package var membershipEpoch: MembershipEpoch { run.state.membershipEpoch }
  /// It knows how the run ends.
  package var hasDecided: Bool {
    switch stage {
    case .rendezvous, .running, .interrupted: false
    case .finishing, .draining, .ended: true
    }
  }
  /// Of the workers and the server that are not known to have ended.
  package var memberIncarnations: [Incarnation] { workers.map(\.incarnation) + (server.map { [$0.incarnation] } ?? []) }
}
