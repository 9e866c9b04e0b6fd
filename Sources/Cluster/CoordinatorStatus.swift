import Messaging
import Optimization

/// What `descent status` shows.
extension CoordinatorMachine {
  package func statusText(at now: Instant) -> String {
    var lines = [
      "step \(progress.step) of \(plan.totalSteps)  epoch \(run.state.membershipEpoch)  \(stageText(at: now))"
    ]
    if let server {
      let join = server.join
      lines.append("server    process \(join.processID)  \(join.endpoint)  heard \(now.since(server.heard)) ago")
    } else {
      lines.append("server    none")
    }
    for worker in workers {
      lines.append(
        "worker \(worker.rank)  process \(worker.join.processID) on \(worker.join.host)  \(shardsText(of: worker))  heard "
          + "\(now.since(worker.heard)) ago")
    }
    if rejectedPushes > 0 || stalePushes > 0 {
      lines.append("pushes    \(rejectedPushes) rejected, \(stalePushes) unsolicited")
    }
    if let checkpoint = run.checkpoint { lines.append("checkpoint \(checkpoint)") }
    return lines.joined(separator: "\n")
  }

  private func shardsText(of worker: Worker) -> String {
    worker.shards.map { $0.isEmpty ? "no shards" : "shards \($0)" } ?? "no shards yet"
  }

  private func stageText(at now: Instant) -> String {
    switch stage {
    case .rendezvous(let deadline, _):
      "waiting for \(server == nil ? "a server" : "workers") (\(deadline.since(now)) left); \(connectedWorkers)"
    case .running: "running"
    case .interrupted: "stopping"
    case .finishing: "finishing"
    case .draining, .ended: "ended"
    }
  }

  var connectedWorkers: String { "\(workers.count) of \(expectedWorkers) workers connected" }
}
