import Cluster
import Diagnostics
import Messaging
import Optimization
import Testing

@Suite struct SlowWorkerTests {
  private func pace(
    _ worker: Incarnation, _ answers: UInt64, last: UInt64, awaited: Double, median: Double, p99: Double
  ) -> Message.WorkerPace {
    Message.WorkerPace(worker: worker) {
      ($0.answers, $0.timesLast, $0.medianSeconds, $0.p99Seconds) = (answers, last, median, p99)
      ($0.awaitedSeconds, $0.memberSeconds) = (awaited * 100, 100)
    }
  }

  /// One that is as fast as the others in most steps.
  private func pace(_ worker: Incarnation, _ answers: UInt64 = 1000, awaited: Double) -> Message.WorkerPace {
    pace(worker, answers, last: answers / 2, awaited: awaited, median: 0.001, p99: 0.002)
  }

  private func slowWorker(_ paces: Message.WorkerPace...) -> Incarnation? { SlowWorker(among: paces)?.pace.worker }

  private let first = workerNumbers[0]
  private let second = workerNumbers[1]
  private let third = workerNumbers[2]

  @Test func `a worker for which the steps wait a large part of the time is slow, also if its median is not`() {
    #expect(slowWorker(pace(first, awaited: 0.05), pace(second, awaited: 0.6)) == second)
    #expect(
      slowWorker(
        pace(first, awaited: 0), pace(second, awaited: 0.31), pace(third, awaited: 0.1),
        pace(Incarnation(13), awaited: 0.05)) == second)
  }

  @Test func `with equal workers, with more shards than others, alone, or after a few steps none is slow`() {
    #expect(slowWorker(pace(first, awaited: 0.35), pace(second, awaited: 0.3)) == nil)
    #expect(slowWorker(pace(first, awaited: 0.01), pace(second, awaited: 0.2)) == nil)
    #expect(slowWorker(pace(first, awaited: 0.9)) == nil)
    #expect(slowWorker(pace(first, 99, awaited: 0), pace(second, 99, awaited: 0.9)) == nil)
    #expect(slowWorker() == nil)
  }

  @Test func `status, log and outcome name the slow worker, and the log not at every heartbeat`() throws {
    let plan = plan(evaluateEvery: 2)
    var coordinator = coordinatorStage(plan, workers: 2)
    _ = coordinator.hears(join(.server), from: serverNumber)
    _ = coordinator.hears(.heartbeat(Message.Heartbeat(isReady: true)), from: serverNumber)
    _ = coordinator.hears(join(.worker, name: "worker-1"), from: first)
    _ = coordinator.hears(join(.worker, name: "worker-2"), from: second)
    func beats(_ answers: UInt64) -> [CoordinatorMachine.Action] {
      let heartbeat = Message.Heartbeat(isReady: true) {
        $0.assignmentEpoch = MembershipEpoch(1)
        $0.paces = [
          pace(first, answers, last: answers / 20, awaited: 0.02, median: 0.0004, p99: 0.0012),
          pace(second, answers, last: answers - answers / 20, awaited: 0.71, median: 0.0031, p99: 0.044),
        ]
      }
      return coordinator.hears(.heartbeat(heartbeat), from: serverNumber)
    }
    let text =
      "worker-2@host, waited for 71 % of the time, last in 95 % of steps, median 3.1 ms against 0.40 ms, "
      + "p99 44.0 ms against 1.2 ms"
    #expect(beats(1000).notes("slow_worker") == ["slow worker: \(text)"])
    #expect(beats(1999).notes("slow_worker").isEmpty)
    #expect(beats(2000).notes("slow_worker").count == 1)
    let report = String(decoding: coordinator.machine.statusReport(at: coordinator.now).bytes, as: UTF8.self)
    #expect(report.contains(#""slowest_worker":"\#(text)""#))
    #expect(report.contains(#""name":"worker-2@host","host":"host","pid":1,"shards":"2-3","answers":2000"#))
    var actions = coordinator.happens(.stopRequested)
    actions += coordinator.snapshot(1, step: 3, .requested, plan: plan)
    actions += coordinator.happens(.outcome(.checkpointWritten(step: 3, .success("step-3"))))
    #expect(actions.outcome?.slowestWorker == text)
  }

  @Test func `the server counts answers and the steps that each worker completed, over membership epochs`() throws {
    var server = ServerStage(plan(), members: [(first, shards(0, 1)), (second, shards(2, 3))])
    func step() {
      server.stage.now = server.stage.now + .milliseconds(5)
      _ = server.push(first)
      server.stage.now = server.stage.now + .milliseconds(1)
      _ = server.push(second)
    }
    step()
    step()
    _ = server.assign([(first, shards(0)), (second, shards(1, 2)), (third, shards(3))], epoch: 2)
    step()
    let paces = try server.paces()
    #expect(paces.map(\.worker) == [first, second])
    #expect(paces.map(\.answers) == [3, 3] && paces.map(\.timesLast) == [0, 3])
    #expect((0.005...0.0052).contains(paces[0].medianSeconds))
    #expect((0.006...0.0062).contains(paces[1].medianSeconds))
    #expect(paces[0].awaitedSeconds == 0 && abs(paces[1].awaitedSeconds - 0.003) < 1e-9)
    #expect(paces[0].memberSeconds > 0.5)
  }

  @Test func `the worker that the others waited for is the one whose push was written last, whichever is seen first`()
    throws
  {
    var server = ServerStage(plan(), members: [(first, shards(0, 1)), (second, shards(2, 3))])
    for _ in 0..<3 {
      let began = server.stage.now
      server.stage.now = began + .milliseconds(9)
      for (worker, end) in [(first, 7), (second, 5)] as [(Incarnation, UInt64)] {
        server.stage.written = began + .milliseconds(end)
        _ = server.push(worker)
      }
    }
    let paces = try server.paces()
    #expect(paces.map(\.timesLast) == [3, 0])
    #expect(abs(paces[0].awaitedSeconds - 0.006) < 1e-9 && paces[1].awaitedSeconds == 0)
    #expect((0.007...0.0072).contains(paces[0].medianSeconds) && (0.005...0.0052).contains(paces[1].medianSeconds))
  }

  @Test func `a step that a lost worker held up is not held against the one that takes its shards over`() throws {
    var server = ServerStage(plan(), members: [(first, shards(0, 1)), (second, shards(2, 3))])
    _ = server.push(first)
    _ = server.stage.passes(.seconds(2))
    _ = server.assign([(first, shards(0, 1, 2, 3))], epoch: 2)
    server.stage.now = server.stage.now + .milliseconds(3)
    _ = server.push(first)
    let pace = try #require(try server.paces().first)
    #expect(pace.timesLast == 1 && abs(pace.awaitedSeconds - 0.003) < 1e-9)
  }

  @Test func `a slow step names the worker that it waited for`() {
    var server = ServerStage(plan(), members: [(first, shards(0, 1)), (second, shards(2, 3))])
    server.stage.now = server.stage.now + .milliseconds(1)
    _ = server.push(first)
    _ = server.push(second)
    _ = server.push(first)
    _ = server.stage.passes(.seconds(2))
    let notes = server.push(second).notes("slow_step")
    #expect(notes.count == 1)
    #expect(notes.first?.hasPrefix("step 2 took 2.0 s, waiting for worker-11@host; the median is ") == true)
  }
}

extension ServerStage {
  /// Those of its next heartbeat.
  fileprivate mutating func paces() throws -> [Message.WorkerPace] {
    let heartbeats = stage.passes(.seconds(1)).sent.compactMap {
      if case .heartbeat(let heartbeat) = $0.message { heartbeat } else { nil }
    }
    return try #require(heartbeats.last).paces
  }
}

@Suite struct StatusReportTests {
  private func members(_ coordinator: Stage<CoordinatorMachine>) throws -> JSONFields {
    let report = coordinator.machine.statusReport(at: coordinator.now)
    return try JSONFields(parsing: Array(report.bytes), source: "report")
  }

  @Test func `the report of a run that waits says for whom, and of one that runs how fast it is`() throws {
    var coordinator = coordinatorStage(plan(steps: 100), workers: 1)
    var fields = try members(coordinator)
    #expect(try fields["state"] == "waiting")
    #expect(try fields["detail"] == "for a server (30.0 s left); 0 of 1 workers connected")
    #expect(try fields.value("server") == .null && fields.value("images_per_second") == .null)
    _ = coordinator.gather([workerNumbers[0]])
    for step in [0, 10, 20] as [UInt64] {
      let heartbeat = Message.Heartbeat(isReady: true) {
        ($0.assignmentEpoch, $0.examples, $0.loss) = (MembershipEpoch(1), step * 8, 2.5)
      }
      _ = coordinator.hears(.heartbeat(heartbeat), from: serverNumber, step: step)
      coordinator.now = coordinator.now + .seconds(1)
    }
    fields = try members(coordinator)
    #expect(try fields["state"] == "running")
    let (step, total): (UInt64, UInt64) = (try fields["step"], try fields["total_steps"])
    #expect(step == 20 && total == 100)
    let (loss, rate, remaining): (Double, Double, Double) = (
      try fields["data_loss"], try fields["images_per_second"], try fields["remaining_seconds"]
    )
    #expect(loss == 2.5 && (rate * 3).rounded() == 160 && remaining.rounded() == 12)
    #expect(try fields.object("server")["name"] == "server@host")
  }

  @Test func `a process that replaces another one is reported once it has joined`() {
    var coordinator = coordinatorStage(plan(), workers: 1)
    func restarts(_ actions: [CoordinatorMachine.Action]) -> [String] {
      actions.compactMap {
        if case .request(.observe(.restarted(let process, let exit))) = $0 { "\(process) \(exit)" } else { nil }
      }
    }
    #expect(restarts(coordinator.hears(join(.server), from: serverNumber)).isEmpty)
    let again = join(.worker, name: "worker-3", formerExit: "was killed by signal 9")
    #expect(restarts(coordinator.hears(again, from: workerNumbers[0])) == ["worker-3@host was killed by signal 9"])
    #expect(restarts(coordinator.hears(again, from: workerNumbers[0])).isEmpty)
  }

  @Test func `a run that gives up says what was missing`() {
    var coordinator = coordinatorStage(plan(), workers: 1)
    #expect(coordinator.passes(.seconds(31)).outcome?.reason == .noServer)
    coordinator = coordinatorStage(plan(), workers: 1)
    _ = coordinator.gather([])
    #expect(coordinator.passes(.seconds(40)) { $0.heartbeats(from: [serverNumber]) }.outcome?.reason == .noWorker)
    coordinator = coordinatorStage(plan(), workers: 1)
    _ = coordinator.gather([workerNumbers[0]])
    #expect(
      coordinator.passes(.seconds(40)) { $0.heartbeats(from: [workerNumbers[0]]) }.outcome?.reason == .serverLost)
  }
}

@Suite struct SilentCoordinatorTests {
  private func waits<Machine: NodeMachine>(_ stage: inout Stage<Machine>) -> [String] {
    var lines: [String] = []
    let end = stage.now + .seconds(14)
    while stage.now < end { lines += stage.passes(.seconds(0.5)).notes("waiting_for_coordinator") }
    return lines
  }

  @Test func `server and worker name the silent coordinator after 2, 3, 5 and 9 s, and what mends it`() throws {
    var worker = joinedWorker()
    let lines = waits(&worker)
    #expect(lines.count == 4)
    #expect(
      lines.first
        == "no message from the coordinator for 2.0 s (worker-1@host at step 0); waiting 13.0 s more. Resume it")
    var server = ServerStage(plan(), members: [(workerNumbers[0], shards(0, 1, 2, 3))])
    #expect(waits(&server.stage).count == 4)
  }

  @Test func `a worker does not blame a server that answers`() {
    var worker = Stage(
      WorkerMachine(
        incarnation: workerNumbers[0], name: "worker-1", processID: 1, host: "host", datasetFingerprint: dataset,
        timing: Timing()))
    _ = worker.happens(.begin)
    let welcome = Message.Welcome(plan: plan(), serverEndpoint: "ipc://server", meanImage: .empty)
    _ = worker.hears(.welcome(welcome), from: coordinatorNumber)
    let answered = worker.passes(.seconds(5)) {
      $0.hears(.heartbeatReply, from: coordinatorNumber) + $0.hears(.noWorkYet, from: serverNumber)
    }
    #expect(answered.notes("waiting_for_server").isEmpty && !answered.notes("no_work").isEmpty)
    let silent = worker.passes(.seconds(9)) { $0.hears(.heartbeatReply, from: coordinatorNumber) }
    #expect(
      silent.notes("waiting_for_server").first?.hasPrefix("no message from the server at ipc://server for") == true)
    #expect(silent.notes("waiting_for_server").count <= 3)
    // A coordinator that is silent as well is the cause.
    #expect(worker.passes(.seconds(4)).notes("waiting_for_server").count <= 1)
  }
}
