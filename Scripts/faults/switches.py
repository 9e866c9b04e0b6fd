"""The defences, what is said of each without it, and the tests that must fail then. Read by defences.py.

Where a defence stands is marked in the sources, and the form of the marked code says how it is switched off: see
markers.py. Only where no form says it, a switch states a replacement. A trial names what is off, the tests that must
fail, and what they must say of it (regular expressions, each to be found in an issue): a test that fails for another
reason proves nothing.
"""

from dataclasses import dataclass, field


@dataclass
class Switch:
    what: str
    # How many markers bear the name.
    places: int = 1
    # One word of the marked line, and what stands in its place.
    word: tuple[str, str] | None = None
    # In the place of what the marked line returns or assigns, or of the marked expression.
    value: str | None = None
    # Runs before the marked statement.
    before: str | None = None
    # Runs in the place of the marked statement.
    instead: str | None = None


@dataclass
class Trial:
    off: list[str]
    tests: list[str]
    expects: list[str] = field(default_factory=list)
    # With all that a test has, as faults.sh runs it.
    complete: bool = False
    # Of a script.
    arguments: list[str] = field(default_factory=list)


SWITCHES = {
    # Processes.
    "restart": Switch("`descent train` restarts nothing"),
    "told-to-stop": Switch(
        "a process that was stopped is restarted", word=("ExitStatus.fenced", "ExitStatus.stoppedBySignal")),
    "last-snapshot": Switch("a server that is told to stop hands nothing over"),
    "stop-snapshot": Switch("a coordinator that is told to stop asks for nothing"),
    "restart-bound": Switch("restarts have no bound", word=("nil", "Self.delays[Self.delays.count - 1]")),
    "restart-pause": Switch("each restart waits for 10 s", value=".seconds(10)"),
    "rejoin": Switch(
        "server and workers end with their coordinator", places=2,
        value=".ended(Message.Ending(status: .unavailable, reason: reason))"),
    "leases": Switch("the coordinator watches no leases"),
    "rendezvous": Switch("the coordinator waits without a deadline"),
    "sockets": Switch("the directory of sockets is left behind"),
    "leak": Switch("a descriptor is lost with each membership epoch", before='_ = open("/dev/null", O_RDONLY)'),
    # Exit statuses.
    "usage": Switch("wrong usage ends with 1", before="if (try? command.parseAsRoot()) == nil { _exit(1) }"),
    "missing-data": Switch(
        "data that are not there are an error of the program's own",
        word=(".missingInput", ".internalError")),
    "no-coordinator": Switch(
        "a coordinator that never comes is an error of the program's own",
        word=(".unavailable", ".internalError")),
    "diverged": Switch("a run that diverged ends like any other", word=(".internalError", ".success")),
    "occupied": Switch("a directory in use is an error of the program's own", word=(".cannotCreate", ".internalError")),
    "stopped": Switch("a run that was stopped ends like any other", word=(".stoppedBySignal", ".success")),
    "second-server": Switch("a second server is not answered"),
    "misspelt": Switch("unknown variables of the environment are passed over", before="continue"),
    "fencing": Switch("nobody tells a worker that it is no longer a member", places=2),
    "second-signal": Switch("a second signal is a first one", places=2),
    # The disk.
    "save-errors": Switch(
        "a checkpoint that could not be saved is announced all the same",
        value=".success(store.directory)"),
    "record-errors": Switch("a record that could not be written is forgotten"),
    "digests": Switch("size and SHA-256 of a checkpoint's files are not compared", places=2),
    "read-back": Switch("a checkpoint that was saved is not compared with what was written"),
    "manifest": Switch("a manifest need not be as Descent writes it"),
    # The network.
    "reconnect": Switch("a connection that broke is not made again", word=("50", "-1")),
    "succession": Switch("nobody tells a server that another one has its key"),
    # Simulation.
    "checker": Switch("the checker of the simulation notes nothing"),
    "tickets": Switch("a push counts whatever ticket, step and epoch it answers", places=3),
    # Intruders.
    "unknown-key": Switch(
        "an unknown key is taken for one of the list",
        value="access.entry(of: $0) ?? ($0 != strangerKey.bytes ? access.list.entries.first : nil)"),
    "no-curve": Switch("who listens asks for no keys (NULL)", before="return"),
    "plain": Switch("who listens takes any password (PLAIN)", before="set(ZMQ_PLAIN_SERVER, 1); return"),
    "start-up-test": Switch("no start-up test"),
    "handshake-limit": Switch("a handshake may take for ever", instead="set(ZMQ_HANDSHAKE_IVL, 0)"),
    "frame-limit": Switch("a frame may have any length", value="-1"),
    "draining": Switch("superfluous frames are not taken away as those of one message"),
    "incarnation-of-key": Switch("an incarnation may have another's key"),
    "role-of-key": Switch("a key is for any role"),
    "directions": Switch("anybody may say anything"),
    "one-process": Switch("a key may be used by several processes at once"),
    "withdrawal": Switch("a key that was let in is heard for ever"),
    # Bad bytes.
    "push-length": Switch("a gradient may have any length"),
    "push-loss": Switch("a loss may be any number"),
    "push-divergence": Switch("whoever says that the loss is not finite is believed"),
    "push-norm": Switch("a gradient may have any norm"),
    "eviction": Switch("who pushes what cannot be stays"),
    "header-checksum": Switch("an envelope's checksum is not compared"),
    "message-end": Switch("fields may be followed by anything"),
    "tensor-end": Switch("the end of a safetensors file is not compared with its tensors"),
    "json-end": Switch("JSON is read past its end"),
    "labels": Switch("a CIFAR-10 record may have any label"),
    "settings-once": Switch("a setting may stand twice in a file"),
    "mechanism": Switch("a request for a key may be of any mechanism"),
    "listed-once": Switch("a name or key may stand twice in the allow-list"),
    "assignment": Switch("an assignment may deal shards twice"),
    "kernel-memory": Switch(
        "the kernels are given 64 bytes too little (a bug put in on purpose)",
        before="if (bytes > 64) bytes -= 64;"),
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
    Trial(["told-to-stop"], ["EndToEndTests.FaultTests/terminated"], ["nothing takes its place"]),
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
