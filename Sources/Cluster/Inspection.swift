import Messaging
import Optimization

/// What the simulation's checker sees of a server after each event, to compare it with its own account.
package struct ServerInspection {
  /// A work item that a worker holds.
  package struct OpenItem {
    package var worker: Incarnation
    package var epoch: MembershipEpoch
    package var item: WorkItem
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
  package static var rejectionBound: Int { WorkScheduler.maximumRejectedPushes }
  package static var snapshotBound: Int { DataPlane.maximumOutstandingSnapshots }

  package var inspection: ServerInspection {
    let scheduler = dataPlane?.scheduler
    return ServerInspection(
      isStarted: scheduler != nil, step: step, epoch: scheduler?.epoch ?? MembershipEpoch(0),
      shardClocks: scheduler?.shardClocks ?? [], received: scheduler?.received ?? ShardSet(),
      totals: scheduler?.totals ?? RunTotals(), outstandingSnapshots: dataPlane?.snapshots.count ?? 0,
      members: scheduler?.members.count ?? 0)
  }

  package var openItems: [ServerInspection.OpenItem] {
    guard let scheduler = dataPlane?.scheduler else { return [] }
    return scheduler.members.compactMap { member in
      member.outstanding.map {
        ServerInspection.OpenItem(worker: member.incarnation, epoch: scheduler.epoch, item: $0.item)
      }
    }
  }

  /// W and velocity as they stand.
  package var trainingState: TrainingState? { dataPlane?.store.state }
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
