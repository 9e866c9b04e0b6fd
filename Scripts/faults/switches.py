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
    # Data that change while they are used.
    "data-guard": Switch("a page of a mapped file that cannot be read is not replaced", before="break;"),
    "data-watch": Switch("the data files are not looked at again", places=2),
    "data-rollback": Switch("steps that may come from other data are saved"),
    "worker-data": Switch("a worker does not look at its files again"),
    "data-bytes": Switch("a data file that was changed is not compared with what it was"),
    "data-renamed": Switch("a data file that was changed is not compared, and counts as another", value="false"),
    "data-verdict": Switch("what a look at the data finds is passed over"),
    "data-confirmed": Switch("a snapshot does not count although the data stayed the same"),
    "data-complaint": Switch("a worker's files change without the coordinator's knowing", places=2),
    "resumed-data": Switch("a run may be resumed on other data"),
    "labels-in-use": Switch("a label is not checked where it is used"),
    "duplicates": Switch("records that are there twice, and odd names, are passed over", value="[]"),
    "data-kind": Switch("the content of a data file is not looked at"),
    # Pictures.
    "regular-file": Switch("any file is read"),
    "picture-size": Switch("a picture may be of any size"),
    "picture-depth": Switch("pictures of 16 bits are not reduced to 8"),
    "picture-alpha": Switch("transparent pixels are not laid over white"),
    "picture-data": Switch("every warning of libjpeg is passed over"),
    "picture-scans": Switch("a JPEG may have any number of scans"),
    "picture-rest": Switch("picture data may continue behind the picture", places=1),
    "picture-name": Switch("names that are not UTF-8 are taken as Swift repairs them"),
    "picture-list": Switch("the first bad picture ends the list", before="throw error"),
    "kernel-memory": Switch(
        "the kernels are given 64 bytes too little (a bug put in on purpose)",
        before="if (bytes > 64) bytes -= 64;"),
}


def exit_status(name: str) -> str:
    return f"EndToEndTests.ExitStatusTests/{name}"


def intruder(name: str) -> str:
    return f"TransportTests.IntruderTests/{name}"


FUZZING = "FuzzingTests.FuzzingTests/mutated bytes for a parser"
LIES = "EndToEndTests.BadGradientTests/a worker pushes what cannot have been computed"
CHANGING = "DatasetsTests.ChangingDataTests/"
PICTURES = "DatasetsTests.PictureTests/"
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
    # Data that change while they are used.
    Trial(["data-guard"], [CHANGING + "a data file is cut short while it is mapped"], ["signal|Fatal"]),
    Trial(["data-guard"], [CHANGING + "the disk of a mapped data file fails"], ["signal|Fatal"], complete=True),
    Trial(["data-bytes"], [CHANGING + "a data file is rewritten in place with as many bytes"]),
    Trial(["data-renamed"], [CHANGING + "a data file changes its name, time or mode"]),
    Trial(["duplicates"], [
        CHANGING + "the same records under two names",
        CHANGING + "a number is missing and other files lie beside the data"], ["remarks"]),
    Trial(["data-kind"], [CHANGING + "something else under the name of a data file"], ["an HTML page", "gzip"]),
    Trial(["labels-in-use"], [
        "OptimizationTests.KernelTests/a label is no class any more when it is used"],
          ["is_finite|Fatal error|signal"]),
    Trial(["data-rollback"], [
        "ClusterTests.ChangedDataTests/one look finds the files unchanged",
        "ClusterTests.ChangedDataTests/a state cannot be saved because the data have changed"], ["outcome|writes"]),
    Trial(["data-verdict"], ["ClusterTests.ChangedDataTests/the coordinator finds a file changed"], ["writes"]),
    Trial(["data-confirmed"], ["ClusterTests.ChangedDataTests/two looks find the files unchanged"], ["writes"]),
    Trial(["data-complaint"], [
        "ClusterTests.ChangedDataTests/a worker says that its files have changed",
        "ClusterTests.ChangedDataTests/a worker finds a file changed"]),
    Trial(["data-renamed"], ["EndToEndTests.ChangedDataTests/the training files are replaced by renaming others"]),
    Trial(["resumed-data"], ["EndToEndTests.ChangedDataTests/the data are others when the run is resumed"]),
    Trial(["data-watch", "worker-data"],
          ["EndToEndTests.ChangedDataTests/a training file changes during a run"], ["is rewritten with as many bytes"]),
    Trial(["duplicates"],
          ["EndToEndTests.ChangedDataTests/a data file twice under two names"], ["two names"]),
    # Pictures.
    Trial(["regular-file"], [PICTURES + "no file in the place of a picture"], ["directory", "pipe"]),
    Trial(["picture-size"], [PICTURES + "files without a whole picture"], ["50000|Fatal error|signal"]),
    Trial(["picture-data"], [PICTURES + "files without a whole picture"], ["JPEG cut short"]),
    Trial(["picture-depth"], [PICTURES + "pictures that browsers show"], ["unexpected size"]),
    Trial(["picture-alpha"], [PICTURES + "pictures that browsers show"], ["transparent"]),
    Trial(["picture-scans"], [PICTURES + "thousands of scans in a small JPEG"], ["message"]),
    Trial(["picture-rest"], [PICTURES + "gigabytes of picture data behind a small PNG"], ["message"]),
    Trial(["picture-name"],
          ["EndToEndTests.ChangedDataTests/pictures whose names are not UTF-8"], ["lines"]),
    Trial(["picture-list"], [
        "EndToEndTests.ChangedDataTests/a list of pictures with good ones, bad ones and no ones"], ["count"]),
    # Races and memory errors.
    Trial(["kernel-memory"], ["Scripts/sanitize.sh"], ["AddressSanitizer"], arguments=["kernels"]),
]
