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
    "last-snapshot": Switch("a server that is asked to stop sends no snapshot"),
    "stop-snapshot": Switch("a coordinator that is asked to stop requests no snapshot"),
    "restart-bound": Switch("restarts have no bound", word=("nil", "Self.delays[Self.delays.count - 1]")),
    "restart-pause": Switch("each restart waits for 10 s", value=".seconds(10)"),
    "rejoin": Switch(
        "server and workers end with their coordinator",
        value=".ended(ExitReason(status: .unavailable, reason: reason))"),
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
    "fencing": Switch("no worker is told that it is no longer a member", places=2),
    "second-signal": Switch("a second signal is a copy of the first", value=".copy"),
    "signal-copies": Switch("a copy of a signal is a second one"),
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
    "succession": Switch("no server is told that another one has its key"),
    # Simulation.
    "checker": Switch("the checker of the simulation notes nothing"),
    "tickets": Switch("a push counts whatever ticket, step and epoch it answers", places=3),
    # Intruders.
    "unknown-key": Switch(
        "an unknown key is taken for one of the list",
        value="access.entry(of: $0) ?? ($0 != unlistedKey.bytes ? access.list.entries.first : nil)"),
    "no-curve": Switch("a listener asks for no keys (NULL)", before="return"),
    "plain": Switch("a listener takes any password (PLAIN)", before="set(ZMQ_PLAIN_SERVER, 1); return"),
    "start-up-test": Switch("no start-up test"),
    "handshake-limit": Switch("a handshake has no time limit", instead="set(ZMQ_HANDSHAKE_IVL, 0)"),
    "frame-limit": Switch("a frame may have any length", value="-1"),
    "draining": Switch("superfluous frames are not discarded as those of one message"),
    "incarnation-of-key": Switch("an incarnation may have another's key"),
    "role-of-key": Switch("a key is for any role"),
    "directions": Switch("any peer may send any message"),
    "one-process": Switch("a key may be used by several processes at once"),
    "withdrawal": Switch("a withdrawn key stays accepted"),
    # Bad bytes.
    "push-length": Switch("a gradient may have any length"),
    "push-loss": Switch("a loss may be any number"),
    "push-divergence": Switch("every report of a loss that is not finite is believed"),
    "push-norm": Switch("a gradient may have any norm"),
    "eviction": Switch("a worker that pushes impossible gradients stays"),
    "header-checksum": Switch("an envelope's checksum is not compared"),
    "message-end": Switch("fields may be followed by anything"),
    "tensor-end": Switch("the end of a safetensors file is not compared with its tensors"),
    "json-end": Switch("JSON is read past its end"),
    "labels": Switch("a CIFAR-10 record may have any label"),
    "settings-once": Switch("a setting may stand twice in a file"),
    "mechanism": Switch("a request for a key may be of any mechanism"),
    "listed-once": Switch("a name or key may stand twice in the allow-list"),
    "assignment": Switch("an assignment may deal shards twice"),
    # File systems.
    "pointer-files": Switch("a link that cannot be made is an error"),
    "pointer-text": Switch("a file with the name of a checkpoint leads nowhere"),
    "recorded-best": Switch("without its link the best checkpoint is not found"),
    "directory-sync": Switch("a directory that cannot be synchronized is an error"),
    "named-links": Switch("links that the user has made are not followed", word=("true", "false")),
    "dangling-links": Switch("a link that leads to nothing is a name that exists", places=3),
    "unreadable": Switch("what cannot be followed counts as absent"),
    "copies": Switch("a copy in the place of a link stays in the way"),
    "stale": Switch("a file that another host replaces is read once"),
    "overlay": Switch("a directory that cannot be renamed is not removed"),
    "leftovers": Switch("a file that cannot be removed stops the removal"),
    "no-locks": Switch("a file system without locks is an error"),
    "lock-record": Switch("the process that a lock names is not looked for"),
    "address-record": Switch("the process that an address names is not looked for"),
    "unmappable": Switch("a file that cannot be mapped is an error"),
    "reserving": Switch("space that cannot be reserved is an error"),
    "file-modes": Switch("a mode that cannot be changed is an error"),
    "utf8": Switch("an argument that is not UTF-8 is repaired"),
    "kernel-memory": Switch(
        "the kernels are given 64 bytes too little (a bug put in on purpose)",
        before="if (bytes > 64) bytes -= 64;"),
}


def exit_status(name: str) -> str:
    return f"EndToEndTests.ExitStatusTests/{name}"


def intruder(name: str) -> str:
    return f"TransportTests.IntruderTests/{name}"


def poor(name: str) -> str:
    return f"CheckpointsTests.PoorFileSystemTests/{name}"


def unlocked(name: str) -> str:
    return f"NodeRuntimeTests.RunLockTests/{name}"


def lacking(name: str) -> str:
    return f"EndToEndTests.FileSystemTests/{name}"


FUZZING = "FuzzingTests.FuzzingTests/mutated bytes for a parser"
LIES = "EndToEndTests.BadGradientTests/a worker pushes what cannot have been computed"
SUPERVISION = "ClusterSimulationTests.SupervisionTests/"
SIMULATIONS = [
    f"ClusterSimulationTests.FaultToleranceTests/{name}"
    for name in (
        "every fault at once under bsp", "every fault at once under bsp with a backup",
        "every fault at once under ssp", "every fault at once under asp")]

TRIALS = [
    # Processes.
    Trial(["usage"], [exit_status("an unknown flag")]),
    Trial(["digests"], [exit_status("a bit of a checkpoint is flipped")]),
    Trial(["missing-data"], [exit_status("the directory of data is missing")]),
    Trial(["no-coordinator"], [exit_status("the coordinator never comes")], ["server", "worker"]),
    Trial(["diverged"], [exit_status("the training diverges")]),
    Trial(["occupied"], [exit_status("a second run in a directory in use")]),
    Trial(["save-errors"], [exit_status("the last checkpoint cannot be saved")]),
    Trial(["stopped"], [exit_status("SIGTERM to descent train")]),
    Trial(["second-server"], [exit_status("a second server")]),
    Trial(["misspelt"], [exit_status("a misspelt setting in the environment")]),
    Trial(["fencing"], [exit_status("a worker is stopped for longer than its lease")]),
    Trial(["second-signal"], [exit_status("a second signal")]),
    Trial(["signal-copies"], [
        "EndToEndTests.FaultTests/a signal to all processes of a run, three times within a second"]),
    Trial(["sockets"], [exit_status("a run comes to its end")], ["nothing is left"]),
    Trial(["restart"], [f"EndToEndTests.FaultPointTests/{name}" for name in (
        "SIGKILL at any point of a role's work",
        "SIGSTOP for twice the lease at any point of a role's work",
        "silence from any point of a role's work on")]),
    Trial(["restart-pause"], ["EndToEndTests.FaultPointTests/SIGKILL with the default lease"]),
    Trial(["restart"], ["EndToEndTests.FaultTests/SIGKILL of a role midway"], ["worker", "server", "coordinator"]),
    Trial(["told-to-stop"], ["EndToEndTests.FaultTests/SIGTERM to a role"], ["nothing takes its place"]),
    Trial(["last-snapshot"], ["EndToEndTests.FaultTests/SIGTERM to a role"], ["every step that was applied is saved"]),
    Trial(["stop-snapshot"], ["EndToEndTests.FaultTests/SIGTERM to a role"], ["every step that was applied is saved"]),
    Trial(["restart-bound"],
          ["EndToEndTests.FaultTests/SIGKILL of the coordinator again and again"], ["descent train gives up"]),
    Trial(["rejoin"], ["EndToEndTests.FaultTests/SIGKILL of a coordinator started by hand"], ["memory", "tcp"]),
    # The disk.
    Trial(["digests", "manifest"],
          ["CheckpointsTests.DamageTests/"
           "a file of a checkpoint is truncated, lengthened, flipped at any byte or missing"],
          ["model.safetensors", "optimizer.safetensors", "state.json", "MANIFEST.json"]),
    Trial(["read-back"], ["CheckpointsTests.DamageTests/a disk returns other bytes than were written"]),
    Trial(["digests"],
          ["CheckpointsTests.DamageTests/a model of the real size is truncated or flipped, its header everywhere",
           "EndToEndTests.DiskFaultTests/a file of the newest checkpoint is damaged"]),
    Trial(["save-errors"], [
        "EndToEndTests.CoordinatorDiskTests/every fsync of the checkpoint directory fails",
        "EndToEndTests.CoordinatorDiskTests/a system call of the coordinator's save fails or is its last",
        "EndToEndTests.CoordinatorDiskTests/the disk is full",
        "EndToEndTests.DiskFaultTests/a system call of a checkpoint's write fails or is the last"]),
    Trial(["record-errors"], ["EndToEndTests.CoordinatorDiskTests/the disk is full for a while"]),
    Trial(["record-errors"], ["EndToEndTests.DiskFaultTests/a result, run.json or metrics cannot be written"]),
    # The network.
    Trial(["leases"],
          ["EndToEndTests.NetworkFaultTests/a worker's host is cut off beyond its lease",
           "EndToEndTests.NetworkFaultTests/the server's host is cut off beyond its lease"]),
    Trial(["succession"],
          ["EndToEndTests.NetworkFaultTests/the server's host is cut off beyond its lease"], ["status → 69"]),
    Trial(["reconnect"], ["EndToEndTests.NetworkFaultTests/a proxy delays, cuts, resets and reorders"]),
    Trial(["reconnect"], ["EndToEndTests.NetworkFaultTests/a bad cable between two hosts"], ["resets"], complete=True),
    # Waiting, and long runs.
    Trial(["leases"],
          ["EndToEndTests.WaitingTests/a worker is stopped",
           "EndToEndTests.WaitingTests/the server is stopped and no other comes"]),
    Trial(["rendezvous"], ["EndToEndTests.WaitingTests/a role never comes"], ["server", "worker"]),
    Trial(["leak"], ["EndToEndTests.WaitingTests/60,000 steps with a kill every 2 s"], complete=True),
    # Simulation.
    Trial(["checker"], ["ClusterSimulationTests.CheckerTests/a bug is put in on purpose"], ["not within"]),
    Trial(["checker"], [SUPERVISION + "members that wait as long as their coordinator, put in on purpose"], ["found"]),
    Trial(["tickets"], SIMULATIONS, ["was counted"]),
    Trial(["tickets"], [SUPERVISION + "faults under the supervisor"], ["was counted"]),
    # Intruders.
    Trial(["unknown-key"], [intruder("an unknown key")], [r"handshake"]),
    Trial(["unknown-key"], [intruder("a key is withdrawn from the list")], [r"handshake"]),
    Trial(["withdrawal"], [intruder("a key is withdrawn from the list")], ["serverSees"]),
    Trial(["no-curve", "start-up-test"], [intruder("no key")],
          [r"none .*isTurnedAway", r"version1 .*isTurnedAway", r"version2 .*isTurnedAway"]),
    Trial(["plain", "start-up-test"], [intruder("no key")], [r"password .*isTurnedAway"]),
    Trial(["no-curve", "start-up-test"], [
        intruder("a wrong key of the server"), intruder("random bytes after a greeting")]),
    Trial(["handshake-limit"],
          [intruder("silent and half-greeting connections")], ["isClosed"]),
    Trial(["frame-limit"], [intruder("a frame that claims to be huge")], ["isClosed"]),
    Trial(["draining"], [intruder("a message of a million frames")]),
    Trial(["incarnation-of-key"], [intruder("another worker's incarnation under an allowed key")]),
    Trial(["role-of-key", "directions"], [intruder("a worker's key for another role")],
          ["coordinator", "server", "observer"]),
    Trial(["role-of-key"], [intruder("another role's key for a worker")], ["observer", "coordinator"]),
    Trial(["one-process"], [intruder("one key in two processes at once")]),
    Trial(["role-of-key"], ["EndToEndTests.IntruderTests/every intrusion at once on a live run"]),
    # Bad bytes.
    Trial(["push-divergence"], [LIES]),
    Trial(["push-loss"], [LIES]),
    Trial(["push-length"], [LIES]),
    Trial(["push-norm"], [LIES]),
    Trial(["eviction"], [LIES]),
    Trial(["tickets"], ["EndToEndTests.BadGradientTests/a worker pushes what was not asked for"]),
    Trial(["header-checksum"], [FUZZING], ["envelope"]),
    Trial(["message-end"], [FUZZING], ["message: a "]),
    Trial(["tensor-end"], [FUZZING], ["Fatal error|signal"]),
    Trial(["json-end"], [FUZZING], ["Fatal error|signal"]),
    Trial(["manifest"], [FUZZING], ["manifest: a "]),
    Trial(["labels"], [FUZZING], ["cifar: records"]),
    Trial(["settings-once"], [FUZZING], ["configuration: a key"]),
    Trial(["mechanism"], [FUZZING], ["zap: a key"]),
    Trial(["listed-once"], [FUZZING], ["allow-list: an"]),
    Trial(["assignment"], [FUZZING], ["Fatal error|signal"]),
    # File systems.
    Trial(["pointer-files"], [poor("a file system takes no symbolic links")], ["create the link"]),
    Trial(["directory-sync"], [poor("a directory cannot be synchronized")], ["durable"]),
    Trial(["copies"], [poor("a run is copied without its links")], ["not a copy of a checkpoint"]),
    Trial(["recorded-best"], [poor("a run is copied without its links")], ["there is no checkpoint"]),
    Trial(["pointer-text"], [poor("a run is copied without its links")], ["safetensors|does not point|there is no"]),
    Trial(["named-links"], [poor("a run directory or its checkpoints are links")], ["durable"]),
    Trial(["dangling-links", "unreadable"], [poor("a link leads to nothing or in a circle")],
          ["leads to nothing", "levels of symbolic links"]),
    Trial(["stale"], [poor("another host replaces a file while it is read")], ["Stale"]),
    Trial(["overlay"], [poor("an overlay cannot rename a checkpoint of its lower layer")], ["cross-device"]),
    Trial(["leftovers"], [poor("others keep files in a checkpoint that is removed")], ["cannot remove"]),
    Trial(["lock-record"], [unlocked("the lock of a run names its holder")], ["counts"]),
    Trial(["address-record"], [unlocked("an address names its coordinator")], ["endpoint"]),
    Trial(["pointer-files"], [lacking("a file system does not offer all that is used")], ["no symbolic links"]),
    Trial(["directory-sync"], [lacking("a file system does not offer all that is used")], ["no fsync of directories"]),
    Trial(["unmappable"], [lacking("a file system does not offer all that is used")], ["no mapped files"]),
    Trial(["reserving"], [lacking("a file system does not offer all that is used")], ["no space reserved"]),
    Trial(["no-locks"], [lacking("a file system has no locks")], ["cannot lock|names no process"]),
    Trial(["address-record"], [lacking("a file system has no locks")], ["status"]),
    Trial(["file-modes"], [lacking("file modes cannot be changed")], ["Operation not permitted"]),
    Trial(["utf8"], [lacking("an argument is not UTF-8")], ["the status for"]),
    Trial(["save-errors"], [lacking("a file system has no room for another file")]),
    Trial(["overlay"], [lacking("a run lies in the lower layer of an overlay")], ["step-000000000020"], complete=True),
    # Races and memory errors.
    Trial(["kernel-memory"], ["Scripts/sanitize.sh"], ["AddressSanitizer"], arguments=["kernels"]),
]
