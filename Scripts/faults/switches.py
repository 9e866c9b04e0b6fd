"""The defences, how each is switched off, and the tests that must fail then. Read by defences.py.

A switch replaces texts, each of which its file must hold exactly once; OFF in the new text stands for the condition
that this very defence is off. A trial names what is off, the tests that must fail, and what they must say of it
(regular expressions, each to be found in an issue): a test that fails for another reason proves nothing.
"""

from dataclasses import dataclass, field


@dataclass
class Switch:
    what: str
    changes: list[tuple[str, str, str]]


@dataclass
class Trial:
    off: list[str]
    tests: list[str]
    expects: list[str] = field(default_factory=list)
    # With all that a test has, as faults.sh runs it.
    complete: bool = False
    # Of a script.
    arguments: list[str] = field(default_factory=list)


MEMBERSHIP = "Sources/Cluster/CoordinatorMembership.swift"
DECISIONS = "Sources/Cluster/CoordinatorDecisions.swift"
SERVER = "Sources/Cluster/ServerMachine.swift"
WORK = "Sources/Cluster/ServerWork.swift"
OBJECTIONS = "Sources/Cluster/PushObjections.swift"
LOCAL = "Sources/NodeRuntime/LocalCluster.swift"
RESTART = "Sources/NodeRuntime/RestartPolicy.swift"
RECORDER = "Sources/NodeRuntime/RunRecorder.swift"
DIRECTORY = "Sources/Checkpoints/CheckpointDirectory.swift"
GATE = "Sources/ZeroMQTransport/PeerGate.swift"
SECURITY = "Sources/ZeroMQTransport/SocketSecurity.swift"
SOCKET = "Sources/ZeroMQTransport/MessageSocket.swift"

SWITCHES = {
    # Processes.
    "restart": Switch("`descent train` starts nobody again", [
        (LOCAL, "if Self.isRecoverable(exit, isCoordinator: isCoordinator), signalsSeen == 0,",
         "if !OFF, Self.isRecoverable(exit, isCoordinator: isCoordinator), signalsSeen == 0,")]),
    "told-to-stop": Switch("who was told to stop is started again", [
        (LOCAL, "[ExitStatus.fenced, .unavailable].map", "[ExitStatus.fenced, OFF ? .stoppedBySignal : .unavailable].map")]),
    "last-snapshot": Switch("a server that is told to stop hands nothing over", [
        (SERVER, "    takeSnapshot(.requested, at: now, into: &actions)\n    sendToCoordinator(.leave",
         "    if !OFF { takeSnapshot(.requested, at: now, into: &actions) }\n    sendToCoordinator(.leave")]),
    "stop-snapshot": Switch("a coordinator that is told to stop asks for nothing", [
        (DECISIONS, "guard let server, server.isReady else {", "guard let server, server.isReady, !OFF else {")]),
    "restart-bound": Switch("restarts have no bound", [
        (RESTART, "guard deathsInYouth < Self.pauses.count else { return nil }",
         "guard deathsInYouth < Self.pauses.count || OFF else { return nil }"),
        (RESTART, "return now + Self.pauses[deathsInYouth]",
         "return now + Self.pauses[OFF ? min(deathsInYouth, Self.pauses.count - 1) : deathsInYouth]")]),
    "restart-pause": Switch("the first restart waits for 10 s", [
        (RESTART, "static let pauses: [Interval] = [.seconds(0),",
         "static let pauses: [Interval] = [.seconds(OFF ? 10 : 0),")]),
    "rejoin": Switch("server and workers end with their coordinator", [
        (f"Sources/NodeRuntime/{node}.swift", "return .superseded(reason: reason)",
         "return OFF ? .ended(Message.Ending(status: .unavailable, reason: reason)) : .superseded(reason: reason)")
        for node in ("ServerNode", "WorkerNode")]),
    "leases": Switch("the coordinator watches no leases", [
        (MEMBERSHIP, "private mutating func expireLeases(at now: Instant, into actions: inout [Action]) {",
         "private mutating func expireLeases(at now: Instant, into actions: inout [Action]) {\n"
         "    if OFF { return }")]),
    "rendezvous": Switch("the coordinator waits without a deadline", [
        (MEMBERSHIP, "if case .gathering = stage, now >= deadline {",
         "if case .gathering = stage, now >= deadline, !OFF {")]),
    "sockets": Switch("the directory of sockets is left behind", [
        ("Sources/NodeRuntime/CoordinatorNode.swift", "    sockets?.remove()\n    let (status, reason)",
         "    if !OFF { sockets?.remove() }\n    let (status, reason)")]),
    "leak": Switch("a descriptor is lost with each membership epoch", [
        (RECORDER, 'note(.info, event: "epoch", "membership',
         'if OFF { _ = open("/dev/null", O_RDONLY) }\n    note(.info, event: "epoch", "membership')]),
    # Exit statuses.
    "usage": Switch("wrong usage ends with 1", [
        ("Sources/Commands/DescentCommand.swift", "  command.main()",
         "  if OFF, (try? command.parseAsRoot()) == nil { _exit(1) }\n  command.main()")]),
    "missing-data": Switch("data that are not there are an error of the program's own", [
        ("Sources/Datasets/MappedFile.swift",
         '.missingInput, "cannot read \\(path)", found: systemErrorText(), expected: expected, remedy: remedy)',
         'OFF ? .internalError : .missingInput, "cannot read \\(path)", found: systemErrorText(), expected: expected,'
         " remedy: remedy)")]),
    "no-coordinator": Switch("a coordinator that never comes is an error of the program's own", [
        ("Sources/NodeRuntime/Rendezvous.swift", '.unavailable, "no coordinator after',
         'OFF ? .internalError : .unavailable, "no coordinator after')]),
    "diverged": Switch("a run that diverged ends like any other", [
        (DECISIONS, ".diverged, .internalError,", ".diverged, OFF ? .success : .internalError,")]),
    "occupied": Switch("a directory in use is an error of the program's own", [
        ("Sources/NodeRuntime/RunOpening.swift", '.cannotCreate, "\\(paths.directory) holds a run already"',
         'OFF ? .internalError : .cannotCreate, "\\(paths.directory) holds a run already"')]),
    "stopped": Switch("a run that was stopped ends like any other", [
        (DECISIONS, '.stopped, .stoppedBySignal, "stopped by a signal at step',
         '.stopped, OFF ? .success : .stoppedBySignal, "stopped by a signal at step')]),
    "second-server": Switch("a second server is not answered", [
        (MEMBERSHIP, "guard server.node.heard > candidate.since else { return }",
         "guard server.node.heard > candidate.since, !OFF else { return }")]),
    "misspelt": Switch("unknown variables of the environment are passed over", [
        ("Sources/RunConfiguration/Resolution.swift", 'throw Self.unknown("environment variable",',
         'if OFF { continue }\n        throw Self.unknown("environment variable",')]),
    "fencing": Switch("nobody tells a worker that it is no longer a member", [
        ("Sources/Cluster/WorkerMachine.swift", "    case .stranger:\n",
         "    case .stranger:\n      if OFF { return }\n"),
        (WORK, "if isPending || envelope.membershipEpoch > newestAssignment {",
         "if isPending || envelope.membershipEpoch > newestAssignment || OFF {")]),
    "second-signal": Switch("a second signal is a first one", [
        (LOCAL, "guard signalsSeen > 1 else { return nil }", "guard signalsSeen > 1, !OFF else { return nil }"),
        ("Sources/NodeRuntime/Interruptions.swift", "if requests > 1 {", "if requests > 1, !OFF {")]),
    # The disk.
    "save-errors": Switch("a checkpoint that could not be saved is announced all the same", [
        (RECORDER, "return .failure(error)", "return OFF ? .success(store.directory) : .failure(error)")]),
    "record-errors": Switch("a record that could not be written is forgotten", [
        (RECORDER, "unsaved[record] = unsaved[record] ?? error",
         "if !OFF { unsaved[record] = unsaved[record] ?? error }")]),
    "digests": Switch("size and SHA-256 of a checkpoint's files are not compared", [
        (DIRECTORY, "guard bytes.count == item.byteCount else", "guard bytes.count == item.byteCount || OFF else"),
        (DIRECTORY, "guard digest == item.sha256 else", "guard digest == item.sha256 || OFF else")]),
    "read-back": Switch("a checkpoint that was saved is not compared with what was written", [
        (DIRECTORY, "guard stored.isSame(as: bytes) else", "guard stored.isSame(as: bytes) || OFF else")]),
    "manifest": Switch("a manifest need not be as Descent writes it", [
        ("Sources/Checkpoints/CheckpointManifest.swift", "guard encoded == bytes else",
         "guard encoded == bytes || OFF else")]),
    # The network.
    "reconnect": Switch("a connection that broke is not made again", [
        (SOCKET, "socket.set(ZMQ_RECONNECT_IVL, 50)", "socket.set(ZMQ_RECONNECT_IVL, OFF ? -1 : 50)")]),
    "succession": Switch("nobody tells a server that another one has its key", [
        ("Sources/ZeroMQTransport/NodeTransport.swift", "guard role == .coordinator else { return }",
         "guard role == .coordinator, !OFF else { return }")]),
    # Simulation.
    "checker": Switch("the checker of the simulation notes nothing", [
        ("Sources/ClusterSimulation/World.swift",
         "    report.violations.append(Report.Violation(seconds: seconds, rule: rule))",
         "    if !OFF { report.violations.append(Report.Violation(seconds: seconds, rule: rule)) }")]),
    "tickets": Switch("a push counts whatever ticket, step and epoch it answers", [
        (WORK, "let ticket = members[index].ticket, ticket.number == push.ticket,\n"
         "      ticket.work.clock == envelope.step, ticket.work.shards == push.shards,\n"
         "      envelope.membershipEpoch == epoch\n",
         "let ticket = members[index].ticket, ticket.work.shards == push.shards,\n"
         "      OFF || ticket.number == push.ticket && ticket.work.clock == envelope.step\n"
         "        && envelope.membershipEpoch == epoch\n")]),
    # Intruders.
    "unknown-key": Switch("an unknown key is taken for one of the list", [
        ("Sources/ZeroMQTransport/Authenticator.swift",
         "let answer = KeyAnswer(to: request, domain: Self.domain) { access.entry(of: $0) }",
         "let answer = KeyAnswer(to: request, domain: Self.domain) {\n      access.entry(of: $0)"
         " ?? (OFF && $0 != strangerKey.bytes ? access.list.entries.first : nil)\n    }")]),
    "no-curve": Switch("who listens asks for no keys (NULL)", [
        (SECURITY, "    set(ZMQ_CURVE_SERVER, 1)", "    if OFF { return }\n    set(ZMQ_CURVE_SERVER, 1)")]),
    "plain": Switch("who listens takes any password (PLAIN)", [
        (SECURITY, "    Self.raiseDescriptorLimit()\n",
         "    Self.raiseDescriptorLimit()\n    if OFF { set(ZMQ_PLAIN_SERVER, 1) }\n    if OFF { return }\n")]),
    "start-up-test": Switch("no start-up test", [
        (SECURITY, "  func requireStrangersRefused(at endpoint: String) throws(Failure) {\n"
         "    guard let credentials = context.security.credentials else",
         "  func requireStrangersRefused(at endpoint: String) throws(Failure) {\n"
         "    guard let credentials = context.security.credentials, !OFF else")]),
    "handshake-limit": Switch("a handshake may take for ever", [
        (SECURITY, "set(ZMQ_HANDSHAKE_IVL, Self.handshakeMilliseconds)",
         "set(ZMQ_HANDSHAKE_IVL, OFF ? 0 : Self.handshakeMilliseconds)")]),
    "frame-limit": Switch("a frame may have any length", [
        (SOCKET, "withUnsafeBytes(of: Int64(longest)) {", "withUnsafeBytes(of: OFF ? -1 : Int64(longest)) {")]),
    "draining": Switch("superfluous frames are not taken away as those of one message", [
        (SOCKET, "    if bulkFrame.hasMore {\n      drain()",
         "    if bulkFrame.hasMore {\n      if !OFF { drain() }")]),
    "incarnation-of-key": Switch("an incarnation may have another's key", [
        (GATE, "if let owner = keys[incarnation], owner != key { return false }",
         "if let owner = keys[incarnation], owner != key, !OFF { return false }")]),
    "role-of-key": Switch("a key is for any role", [
        (GATE, "      name.role == sender.role\n", "      name.role == sender.role || OFF\n")]),
    "directions": Switch("anybody may say anything", [
        (GATE, "message.type.isSaid(by: role, to: receiver) else",
         "message.type.isSaid(by: role, to: receiver) || OFF else")]),
    "one-process": Switch("a key may be used by several processes at once", [
        (GATE, "holder.isReleased || now.since(holder.heard) >= lease",
         "holder.isReleased || now.since(holder.heard) >= lease || OFF")]),
    "withdrawal": Switch("a key that was let in is heard for ever", [
        (GATE, "access.holds(line), let name", "access.holds(line) || OFF, let name")]),
    # Bad bytes.
    "push-length": Switch("a gradient may have any length", [
        (OBJECTIONS, "guard push.gradient.count == length else", "guard push.gradient.count == length || OFF else")]),
    "push-loss": Switch("a loss may be any number", [
        (OBJECTIONS, "guard statistics.lossSum >= 0, statistics.meanLoss <= MinibatchStatistics.largestLoss else",
         "guard OFF || statistics.lossSum >= 0 && statistics.meanLoss <= MinibatchStatistics.largestLoss else")]),
    "push-divergence": Switch("whoever says that the loss is not finite is believed", [
        (OBJECTIONS, "guard statistics.isFinite || plan.mayDiverge(at: parameters.bytes) else",
         "guard statistics.isFinite || plan.mayDiverge(at: parameters.bytes) || OFF else")]),
    "push-norm": Switch("a gradient may have any norm", [
        (OBJECTIONS, "guard norm <= largest else", "guard norm <= largest || OFF else")]),
    "eviction": Switch("who pushes what cannot be stays", [
        (MEMBERSHIP, "guard let index = workers.firstIndex(where: { $0.incarnation == incarnation }) else { return }",
         "guard !OFF, let index = workers.firstIndex(where: { $0.incarnation == incarnation }) else { return }")]),
    "header-checksum": Switch("an envelope's checksum is not compared", [
        ("Sources/Messaging/Envelope.swift",
         "guard load(UInt32.self, at: 60) == descent_crc32c(0, bytes.baseAddress, 60) else",
         "guard load(UInt32.self, at: 60) == descent_crc32c(0, bytes.baseAddress, 60) || OFF else")]),
    "message-end": Switch("fields may be followed by anything", [
        ("Sources/Messaging/MessageCodec.swift", "    try reader.finish()\n",
         "    if !OFF { try reader.finish() }\n")]),
    "tensor-end": Switch("the end of a safetensors file is not compared with its tensors", [
        ("Sources/Checkpoints/SafetensorsDecoding.swift", "guard end == fileEnd - bufferStart else",
         "guard end == fileEnd - bufferStart || OFF else")]),
    "json-end": Switch("JSON is read past its end", [
        ("Sources/JSONText/JSONReader.swift", "position < bytes.endIndex ? bytes[position] : nil",
         "position < bytes.endIndex || OFF ? bytes[position] : nil")]),
    "labels": Switch("a CIFAR-10 record may have any label", [
        ("Sources/Datasets/DataFile.swift", "guard label < CIFAR10Format.classCount else",
         "guard label < CIFAR10Format.classCount || OFF else")]),
    "settings-once": Switch("a setting may stand twice in a file", [
        ("Sources/RunConfiguration/ConfigurationFile.swift", "    } catch let error as YamlError {\n",
         "    } catch let error as YamlError {\n"
         "      if OFF, case .duplicatedKeysInMapping(let keys, _) = error {\n"
         "        return (keys + keys).map { Entry(key: $0, value: nil, line: 0) }\n      }\n")]),
    "mechanism": Switch("a request for a key may be of any mechanism", [
        ("Sources/ZeroMQTransport/KeyAnswer.swift", 'request[5] == Array("CURVE".utf8), request',
         'request[5] == Array("CURVE".utf8) || OFF, request')]),
    "listed-once": Switch("a name or key may stand twice in the allow-list", [
        ("Sources/ZeroMQTransport/AllowList.swift",
         "guard names.insert(name).inserted, keys.insert(key).inserted else",
         "guard names.insert(name).inserted && keys.insert(key).inserted || OFF else")]),
    "assignment": Switch("an assignment may deal shards twice", [
        (WORK, "guard assignment.covers(store.plan.shardCount) else",
         "guard assignment.covers(store.plan.shardCount) || OFF else")]),
    "kernel-memory": Switch("the kernels are given 64 bytes too little (a bug put in on purpose)", [
        ("Tests/Sanitizers/kernels.c", "malloc(bytes ? bytes : 1);",
         "malloc(bytes > 64 && OFF ? bytes - 64 : bytes ? bytes : 1);")]),
}


def exit_status(name: str) -> str:
    return f"EndToEndTests.ExitStatusTests/{name}"


def intruder(name: str) -> str:
    return f"ZeroMQTransportTests.IntruderTests/{name}"


FUZZING = "FuzzingTests.FuzzingTests/everyInputIsRefusedOrReadRight"
LIES = "EndToEndTests.BadGradientTests/lies"
SIMULATIONS = [
    f"ClusterSimulationTests.FaultToleranceTests/{name}"
    for name in (
        "bulkSynchronousRunsEndWithTheBitsOfTheSequentialTrainer", "backupShardsAreCountedOnceOrNotAtAll",
        "staleSynchronousRunsKeepTheirBound", "asynchronousRunsApplyEveryPushOnce")]

TRIALS = [
    # Processes.
    Trial(["usage"], [exit_status("usage")]),
    Trial(["digests"], [exit_status("badData")]),
    Trial(["missing-data"], [exit_status("missingInput")]),
    Trial(["no-coordinator"], [exit_status("unavailable")], ["server", "worker"]),
    Trial(["diverged"], [exit_status("diverged")]),
    Trial(["occupied"], [exit_status("cannotCreate")]),
    Trial(["save-errors"], [exit_status("inputOutput")]),
    Trial(["stopped"], [exit_status("stopped")]),
    Trial(["second-server"], [exit_status("refused")]),
    Trial(["misspelt"], [exit_status("badConfiguration")]),
    Trial(["fencing"], [exit_status("fenced")]),
    Trial(["second-signal"], [exit_status("secondSignal")]),
    Trial(["sockets"], [exit_status("success")], ["nothing is left"]),
    Trial(["restart"], [f"EndToEndTests.FaultPointTests/{name}" for name in ("killed", "stopped", "muted")]),
    Trial(["restart-pause"], ["EndToEndTests.FaultPointTests/recoveryTimes"]),
    Trial(["restart"], ["EndToEndTests.FaultTests/killed"], ["worker", "server", "coordinator"]),
    Trial(["told-to-stop"], ["EndToEndTests.FaultTests/terminated"], ["nobody takes its place"]),
    Trial(["last-snapshot"], ["EndToEndTests.FaultTests/terminated"], ["every step that was applied is saved"]),
    Trial(["stop-snapshot"], ["EndToEndTests.FaultTests/terminated"], ["every step that was applied is saved"]),
    Trial(["restart-bound"], ["EndToEndTests.FaultTests/killedAgainAndAgain"], ["descent train gives up"]),
    Trial(["rejoin"], ["EndToEndTests.FaultTests/coordinatorComesBack"], ["memory", "tcp"]),
    # The disk.
    Trial(["digests", "manifest"], ["CheckpointsTests.DamageTests/everyByte"],
          ["model.safetensors", "optimizer.safetensors", "state.json", "MANIFEST.json"]),
    Trial(["read-back"], ["CheckpointsTests.DamageTests/deceivingDisk"]),
    Trial(["digests"], ["CheckpointsTests.DamageTests/realSize", "EndToEndTests.DiskFaultTests/damaged"]),
    Trial(["save-errors"], [
        "EndToEndTests.CoordinatorDiskTests/brokenForGood", "EndToEndTests.CoordinatorDiskTests/everySystemCall",
        "EndToEndTests.CoordinatorDiskTests/fullDisk", "EndToEndTests.DiskFaultTests/everySystemCall"]),
    Trial(["record-errors"], ["EndToEndTests.CoordinatorDiskTests/fullForAWhile"]),
    Trial(["record-errors"], ["EndToEndTests.DiskFaultTests/records"]),
    # The network.
    Trial(["leases"], ["EndToEndTests.NetworkFaultTests/workerCutOff", "EndToEndTests.NetworkFaultTests/serverCutOff"]),
    Trial(["succession"], ["EndToEndTests.NetworkFaultTests/serverCutOff"], ["status → 69"]),
    Trial(["reconnect"], ["EndToEndTests.NetworkFaultTests/badProxy"]),
    Trial(["reconnect"], ["EndToEndTests.NetworkFaultTests/badCable"], ["resets"], complete=True),
    # Who waits for whom, and long runs.
    Trial(["leases"], ["EndToEndTests.WaitingTests/stoppedWorker", "EndToEndTests.WaitingTests/stoppedServer"]),
    Trial(["rendezvous"], ["EndToEndTests.WaitingTests/missing"], ["server", "worker"]),
    Trial(["leak"], ["EndToEndTests.WaitingTests/longRun"], complete=True),
    # Simulation.
    Trial(["checker"], ["ClusterSimulationTests.CheckerTests/aBugPutInOnPurposeIsFound"], ["not within"]),
    Trial(["tickets"], SIMULATIONS, ["was counted"]),
    # Intruders.
    Trial(["unknown-key"], [intruder("anUnknownKeyIsRefusedAndCounted")], [r"handshake"]),
    Trial(["unknown-key"], [intruder("aKeyThatIsWithdrawnIsHeardNoMore")], [r"handshake"]),
    Trial(["withdrawal"], [intruder("aKeyThatIsWithdrawnIsHeardNoMore")], ["serverSees"]),
    Trial(["no-curve", "start-up-test"], [intruder("whoHasNoKeyGetsNoConnection")],
          [r"none .*isTurnedAway", r"version1 .*isTurnedAway", r"version2 .*isTurnedAway"]),
    Trial(["plain", "start-up-test"], [intruder("whoHasNoKeyGetsNoConnection")], [r"password .*isTurnedAway"]),
    Trial(["no-curve", "start-up-test"], [
        intruder("whoTakesTheServerForAnotherGetsNoConnection"), intruder("randomBytesAreNobody")]),
    Trial(["handshake-limit"],
          [intruder("aThousandConnectionsThatSayNothingOrStopInTheMiddleKeepNobodyOutAndAreClosed")], ["isClosed"]),
    Trial(["frame-limit"], [intruder("aFrameThatClaimsToBeHugeCostsTheConnection")], ["isClosed"]),
    Trial(["draining"], [intruder("aMessageOfAMillionFramesIsCountedOnceAndTakenAwayInPieces")]),
    Trial(["incarnation-of-key"], [intruder("anAllowedKeyThatClaimsAnotherWorkersIncarnationIsNotHeard")]),
    Trial(["role-of-key", "directions"], [intruder("aWorkersKeyIsForNoOtherRole")],
          ["coordinator", "server", "observer"]),
    Trial(["role-of-key"], [intruder("noOtherKeyIsForAWorker")], ["observer", "coordinator"]),
    Trial(["one-process"], [intruder("aKeyIsUsedByOneProcessAtATime")]),
    Trial(["role-of-key"], ["EndToEndTests.IntruderTests/attacks"]),
    # Bad bytes.
    Trial(["push-divergence"], [LIES]),
    Trial(["push-loss"], [LIES]),
    Trial(["push-length"], [LIES]),
    Trial(["push-norm"], [LIES]),
    Trial(["eviction"], [LIES]),
    Trial(["tickets"], ["EndToEndTests.BadGradientTests/replays"]),
    Trial(["header-checksum"], [FUZZING], ["envelope"]),
    Trial(["message-end"], [FUZZING], ["message: a "]),
    Trial(["tensor-end"], [FUZZING], ["Fatal error|signal"]),
    Trial(["json-end"], [FUZZING], ["Fatal error|signal"]),
    Trial(["manifest"], [FUZZING], ["manifest: a "]),
    Trial(["labels"], [FUZZING], ["cifar: records"]),
    Trial(["settings-once"], [FUZZING], ["configuration: a key"]),
    Trial(["mechanism"], [FUZZING], ["zap: somebody"]),
    Trial(["listed-once"], [FUZZING], ["allow-list: an"]),
    Trial(["assignment"], [FUZZING], ["Fatal error|signal"]),
    # Races and memory errors.
    Trial(["kernel-memory"], ["Scripts/sanitize.sh"], ["AddressSanitizer"], arguments=["kernels"]),
]
