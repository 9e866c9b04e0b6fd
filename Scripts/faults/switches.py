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
    # Sums whose scale follows the gradients.
    "old-scale": Switch("a gradient at the scale of before counts"),
    "push-peaks": Switch("any peak is believed"),
    # Stragglers.
    "take-over": Switch("each worker's shards are waited for"),
    "late-results": Switch("the result of a late worker counts although another's has counted"),
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
    # Settings and addresses.
    "byte-order-mark": Switch("a byte order mark is part of the first line", value="self[...]"),
    "invisible": Switch("a plain value may hold what cannot be seen"),
    "octal": Switch("a plain number may begin with a zero"),
    "spelling": Switch("no spelling is suggested for a value", value="nil"),
    "service-links": Switch("links of Kubernetes are settings"),
    "empty-variables": Switch("an empty variable is a value"),
    "foreign-variables": Switch(
        "a variable of others is a misspelt setting", before="return (name, text, .environment(name))"),
    "part-of-settings": Switch(
        "every process reads the variables of all settings", value="(name, text, .environment(name))"),
    "paths": Switch("a path of a file or variable stays as it is written", before="return text"),
    "relative-data": Switch(
        "the reader of the data says that they are missing",
        word=('"\\(entry.phrase) does not exist in the working directory"', '"cannot read \\(directory)"')),
    "without-effect": Switch("nothing is said of settings that cannot act"),
    "recorded-settings": Switch(
        "an evaluation mixes three of the recorded settings with defaults",
        value="try ResolvedSettings.resolve(flags: recorded.filter {"
        ' ["seed", "shards", "validation-examples"].contains($0.key) }.map { ($0.key, $0.value) })'),
    "dashes": Switch("a dash of print is not named", before="return nil"),
    "home-in-flags": Switch("a path behind `=` stays as it is written", before="return argument"),
    "repeated-flags": Switch("nothing is said of a flag with two values", value="nil"),
    "long-command": Switch("the command line is passed on whole"),
    "removed-directory": Switch("a working directory that was removed is not mentioned"),
    "endpoint-blanks": Switch("blanks are part of an address", value="text"),
    "endpoint-reason": Switch("an address is refused without a reason", value='""'),
    "bind-names": Switch("the name to listen as is left to libzmq", instead="return self"),
    "several-addresses": Switch("the first address of a name is taken", value="addresses.first"),
    "address-choices": Switch("the addresses of the host are not listed", value='""'),
    "brackets": Switch("brackets are part of an address of IPv6", value="text"),
    "pinned-loopback": Switch(
        "a name of loopback is looked up again for each connection", before="if addresses.count == 1 { return self }"),
    "linked-secrets": Switch(
        "a key behind a link is refused",
        before='if FileSystem().kind(of: path) == .symbolicLink { throw Failure(.badConfiguration, "a link") }'),
    "wildcards": Switch("peers are given 0.0.0.0", before="if isWildcard { return actual }"),
    "secret-of-root": Switch("a secret that root gave to a group is refused", value="0o077"),
    # Process trees, and starts that fail.
    "absence": Switch("the time in which a process was stopped counts"),
    "warnings": Switch("a scheduler's warning is a signal like any other", value="self.received(at: now)"),
    "scheduler-signals": Switch("only SIGINT and SIGTERM are handled", value="[SIGINT, SIGTERM]"),
    "parent-lost": Switch("the end of the command is no request to stop"),
    "parent-decides": Switch("what the command passes on is a signal like any other"),
    "suspend": Switch("Ctrl-Z stops the command alone"),
    "background": Switch("Ctrl-C stops a command for which SIGINT is ignored", value="[]"),
    "terminal-output": Switch("a line that is written stops a process in the background"),
    "child-exits": Switch("SIGCHLD stays ignored"),
    "leave-answer": Switch("the coordinator does not answer the leave of the server"),
    "held-signals": Switch("a signal ends a process that does not handle it yet"),
    "orphans": Switch("process 1 leaves orphans unreaped"),
    "recorded-end": Switch("run.json of a killed run is left as it was", places=2),
    "rollback": Switch("a start that failed leaves its files"),
    "claim": Switch(
        "a run that never took a step is a run", word=("paths.tookStep", "true")),
    "own-names": Switch("whatever lies beside the checkpoints is taken for one", before="return true"),
    "took-step": Switch("no run has taken a step", before="return false"),
    "no-run": Switch("a start that was killed is listed", value="run"),
    "socket-places": Switch("the first place for sockets is the only one", before="throw error"),
    "abstract-address": Switch("any user may connect to an abstract address"),
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
    "push-divergence": Switch("every report of a loss that is not finite is believed", places=2),
    "push-norm": Switch("a gradient may have any norm", places=2),
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
    "lock-record": Switch("the process that a lease names is not looked for"),
    "lease-copy": Switch("the copy of a lease counts"),
    "lease-renewed": Switch("a lease that is renewed is watched on"),
    "lease-patience": Switch(
        "a lease is claimed at the second look", value=".claim(epoch: sighting.epoch + 1)"),
    "lease-expiry": Switch("a lease does not expire for its holder", value="!isLost"),
    "lease-epoch": Switch("the holder of a lease does not look for later epochs"),
    "leased-disk": Switch("checkpoints are written without a look at the lease"),
    "address-record": Switch("the process that an address names is not looked for"),
    "unmappable": Switch("a file that cannot be mapped is an error"),
    "reserving": Switch("space that cannot be reserved is an error"),
    "file-modes": Switch("a mode that cannot be changed is an error"),
    "utf8": Switch("an argument that is not UTF-8 is repaired"),
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
    "data-replaced": Switch("a data set is written into a directory that holds something"),
    "pickles": Switch("a pickle may name any function"),
    "nested-pickles": Switch("a pickle may nest values to any depth"),
    "bombs": Switch("a compressed file may unpack to any size"),
    "folder-circles": Switch("folders of pictures may lead back to themselves"),
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
    # Limits.
    "descriptors": Switch("the limit of open files is not compared with what a run needs"),
    "threads": Switch("the limit of processes and threads is not tried"),
    "memory": Switch("the limits of memory are not tried"),
    "file-size": Switch("the limit of file sizes is not compared with what a run writes"),
    "large-files": Switch("SIGXFSZ ends the process"),
    "streams": Switch("closed standard streams stay closed"),
    "results": Switch("a result that was not written is forgotten"),
    "output-waits": Switch("standard output does not wait for its reader"),
    "gone-reader": Switch("a reader that has gone is an error like any other", value="false"),
    "stalled-reader": Switch("the training waits for the reader of standard error"),
    "memory-refused": Switch("shared memory that is refused is not reported", places=2),
    "limit-remedies": Switch("errors do not name the limit that they are due to", before="return nil"),
    "accept": Switch("libzmq is told that the process has no descriptor left"),
    "quota": Switch("the quota of control groups is not read"),
    "processor-time": Switch("no processor time is reserved for saving"),
    "kernel-objects": Switch("libzmq or Dispatch is the first to ask for an eventfd and an epoll instance", places=2),
    "stack": Switch("the limit of the stack is not compared with what the program needs"),
    "kernel-memory": Switch(
        "the kernels are given 64 bytes too little (a bug put in on purpose)",
        before="if (bytes > 64) bytes -= 64;"),
}


def exit_status(name: str) -> str:
    return f"EndToEndTests.ExitStatusTests/{name}"


def everywhere(name: str) -> str:
    return f"RunConfigurationTests.SettingsFromEverywhereTests/{name}"


def addresses(name: str) -> str:
    return f"TransportTests.EndpointTests/{name}"


def keys(name: str) -> str:
    return f"TransportTests.KeyTests/{name}"


def intruder(name: str) -> str:
    return f"TransportTests.IntruderTests/{name}"


def poor(name: str) -> str:
    return f"CheckpointsTests.PoorFileSystemTests/{name}"


def unlocked(name: str) -> str:
    return f"NodeRuntimeTests.RunLockTests/{name}"


def lacking(name: str) -> str:
    return f"EndToEndTests.FileSystemTests/{name}"


def nodes(name: str) -> str:
    return f"EndToEndTests.LeaseTests/{name}"


def limits(name: str) -> str:
    return f"EndToEndTests.LimitTests/{name}"


FUZZING = "FuzzingTests.FuzzingTests/mutated bytes for a parser"
LIES = "EndToEndTests.BadGradientTests/a worker pushes what cannot have been computed"
TAKE_OVER = "ClusterTests.TakeOverTests/"
CHANGING = "DatasetsTests.ChangingDataTests/"
PICTURES = "DatasetsTests.PictureTests/"
LEASES = "ClusterSimulationTests.LeaseSimulationTests/processes of several hosts want one lease"
SUPERVISION = "ClusterSimulationTests.SupervisionTests/"
SIMULATIONS = [
    f"ClusterSimulationTests.FaultToleranceTests/{name}"
    for name in (
        "every fault at once under bsp", "every fault at once under bsp with a backup",
        "every fault at once under ssp", "every fault at once under asp")]

TREES = "EndToEndTests.ProcessTreeTests/"
STARTS = "NodeRuntimeTests.StartTests/"

TRIALS = [
    # Process trees.
    Trial(["absence"], [
        "ClusterTests.AbsenceTests/a member is stopped for 300 s",
        "ClusterTests.AbsenceTests/the coordinator and its members are stopped for 300 s",
        "ClusterTests.AbsenceTests/the coordinator is stopped during the rendezvous",
        "ClusterTests.AbsenceTests/the coordinator is stopped after a signal",
        "ClusterTests.AbsenceTests/the command is stopped while it ends a run",
        SUPERVISION + "all processes are stopped at once for up to a minute"]),
    Trial(["absence"], [TREES + "all processes are stopped for longer than every wait"], ["before"]),
    Trial(["leave-answer"], ["ClusterTests.AbsenceTests/a signal to all processes"]),
    Trial(["warnings"], ["ClusterTests.StopRequestTests/a scheduler warns, warns again and signals"]),
    Trial(["scheduler-signals"], [TREES + "a scheduler's warning or Ctrl-backslash to all processes"]),
    Trial(["parent-lost"], [TREES + "SIGKILL to the command alone"]),
    Trial(["parent-decides"], [TREES + "a signal to the coordinator, and to the command 1.2 s later"]),
    Trial(["suspend"], [TREES + "Ctrl-Z"], ["all are stopped"]),
    Trial(["background"], [TREES + "Ctrl-C where SIGINT was ignored at the start"]),
    Trial(["terminal-output"], [TREES + "a run writes to a terminal with tostop"]),
    Trial(["child-exits"], [TREES + "signals are blocked or ignored at the start"], ["SIGCHLD"]),
    Trial(["held-signals"], [TREES + "a signal to a process that has just been started"]),
    Trial(["signal-copies"], [TREES + "a signal to a wrapper and to all that it has started"]),
    Trial(["recorded-end"], [TREES + "a second, deliberate signal"], ["record"]),
    Trial(["orphans"], [TREES + "the command is process 1"], ["orphans are gone"], complete=True),
    # Starts that fail.
    Trial(["rollback"], [
        STARTS + "a start fails before the first step", STARTS + "a start fails in a directory with other files"]),
    Trial(["rollback"], [TREES + "a worker cannot be started"], ["fileExists"]),
    Trial(["own-names"], [STARTS + "checkpoints lie among files of others"], ["status"]),
    Trial(["took-step"], [
        STARTS + "a run may have taken a step", STARTS + "a resumed run fails before its next step"]),
    Trial(["claim"], [
        STARTS + "a start is killed before the first step", TREES + "SIGKILL before the first step",
        TREES + "a signal before the first step"]),
    Trial(["no-run"], [STARTS + "a start is killed before the first step", TREES + "SIGKILL before the first step"]),
    Trial(["socket-places"], [STARTS + "XDG_RUNTIME_DIR cannot hold the sockets"]),
    Trial(["abstract-address"], [STARTS + "no place can hold the sockets"], ["exits"], complete=True),
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
    # Settings and addresses.
    Trial(["byte-order-mark"], [everywhere("a configuration file as editors write it")], ["U.FEFF"]),
    Trial(["byte-order-mark"], [keys("keys and an allow-list as editors and secret stores leave them")]),
    Trial(["invisible"], [everywhere("a configuration file that only looks right")], ["zero width", "of print"]),
    Trial(["octal"], [everywhere("a configuration file that only looks right")], ["a leading zero"]),
    Trial(["spelling"], [everywhere("a value spelt as elsewhere")]),
    Trial(["service-links", "empty-variables", "foreign-variables"],
          [everywhere("variables that a platform sets")], ["Kubernetes", "compose", "environment modules"]),
    Trial(["part-of-settings"], [everywhere("a variable that a role does not need")]),
    Trial(["misspelt"], [everywhere("a misspelt variable")]),
    Trial(["paths"], [everywhere("a path with ~ or a variable in a file or the environment"),
                      everywhere("a path that stands for nothing"),
                      everywhere("a configuration file of a run with any path")]),
    Trial(["brackets"], [everywhere("what config show prints")]),
    Trial(["relative-data"], [everywhere("a file names data that only its own directory has")]),
    Trial(["without-effect"], [everywhere("a setting that cannot act in a run")]),
    Trial(["recorded-settings"],
          ["EndToEndTests.SettingsTests/settings from file, variable and flag at once"], ["evaluate"]),
    Trial(["dashes", "home-in-flags", "repeated-flags"], [
        "EndToEndTests.SettingsTests/a command line as chats, services and containers hand it over"]),
    Trial(["long-command"], ["EndToEndTests.SettingsTests/a command line longer than one argument may be"]),
    Trial(["removed-directory"], ["EndToEndTests.SettingsTests/a working directory that was removed"]),
    Trial(["endpoint-blanks"], [addresses("an address as people write it")]),
    Trial(["endpoint-reason"], [addresses("an address that is none")]),
    Trial(["bind-names"], [addresses("a node listens as a name of loopback")]),
    Trial(["address-choices"], [addresses("a node listens as what this host is not")]),
    Trial(["pinned-loopback"], [addresses("a name of loopback without keys")]),
    Trial(["linked-secrets"], [keys("keys behind the links of a Kubernetes secret")]),
    Trial(["wildcards"], ["TransportTests.KeyedTransportTests/a node listens at all addresses"]),
    Trial(["several-addresses"],
          ["EndToEndTests.SettingsTests/a host name with several addresses, of which one is listened at"],
          complete=True),
    Trial(["secret-of-root"], [keys("a secret key by owner, mode and user")]),
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
    Trial(["push-peaks"], ["ClusterTests.CorrectionTests/a peak that no shard can have at these weights"]),
    Trial(["old-scale"], ["ClusterTests.CorrectionTests/a gradient at another scale than its step's"]),
    Trial(["eviction"], [LIES]),
    Trial(["take-over"], [TAKE_OVER + "a worker is late"]),
    Trial(["take-over"], ["EndToEndTests.WaitingTests/a worker gets a tenth of a processor"]),
    Trial(["take-over"], ["EndToEndTests.WaitingTests/a worker has the lowest priority"]),
    Trial(["take-over"], ["EndToEndTests.NetworkFaultTests/a worker behind 20 Mbit/s"]),
    Trial(["late-results"], [TAKE_OVER + "a worker is late"]),
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
    Trial(["pointer-text"], [poor("a run is copied without its links")], ["firstFailure|safetensors|there is no"]),
    Trial(["named-links"], [poor("a run directory or its checkpoints are links")], ["durable"]),
    Trial(["dangling-links", "unreadable"], [poor("a link leads to nothing or in a circle")],
          ["leads to nothing", "levels of symbolic links"]),
    Trial(["stale"], [poor("another host replaces a file while it is read")], ["Stale"]),
    Trial(["overlay"], [poor("an overlay cannot rename a checkpoint of its lower layer")], ["cross-device"]),
    Trial(["leftovers"], [poor("others keep files in a checkpoint that is removed")], ["cannot remove"]),
    Trial(["lock-record"], [unlocked("the lock of a run names its holder")], ["counts"]),
    Trial(["lease-copy"], [unlocked("the lock of a run names its holder")], ["counts"]),
    Trial(["lock-record"], [unlocked("a start finds the lease of another process")], ["waited|counts|holder"]),
    Trial(["lease-renewed"], [unlocked("a process of another host renews its lease")], ["on another"]),
    Trial(["lease-epoch"], [unlocked("another process takes the lease of a directory")], ["the holder sees it"]),
    Trial(["leased-disk"], [unlocked("another process takes the lease of a directory")], ["refused|thrown"]),
    Trial(["lease-patience"], [LEASES], ["wrongWrites|holders"]),
    Trial(["lease-expiry"], [LEASES], ["wrongWrites|holders"]),
    Trial(["lock-record"], [nodes("two runs are started in one directory from two nodes")], ["outputs|status"]),
    Trial(["lock-record"], [nodes("a run goes on in a directory that another node uses")], ["status"]),
    Trial(["lock-record"], [nodes("the node of a run dies")], ["lines"]),
    Trial(["lock-record"], [nodes("two nodes share a directory of keys")], ["status"]),
    Trial(["address-record"], [unlocked("an address names its coordinator")], ["endpoint"]),
    Trial(["pointer-files"], [lacking("a file system does not offer all that is used")], ["no symbolic links"]),
    Trial(["directory-sync"], [lacking("a file system does not offer all that is used")], ["no fsync of directories"]),
    Trial(["unmappable"], [lacking("a file system does not offer all that is used")], ["no mapped files"]),
    Trial(["reserving"], [lacking("a file system does not offer all that is used")], ["no space reserved"]),
    Trial(["no-locks"], [lacking("a file system has no locks")], ["cannot lock|names no process"]),
    Trial(["address-record"], [lacking("a file system has no locks")], ["a copy is no run"]),
    Trial(["file-modes"], [lacking("file modes cannot be changed")], ["Operation not permitted"]),
    Trial(["utf8"], [lacking("an argument is not UTF-8")], ["the status for"]),
    Trial(["save-errors"], [lacking("a file system has no room for another file")]),
    Trial(["overlay"], [lacking("a run lies in the lower layer of an overlay")], ["step-000000000020"], complete=True),
    # Data that change while they are used.
    Trial(["data-guard"], [CHANGING + "a data file is cut short while it is mapped"], ["signal|Fatal"]),
    Trial(["data-guard"], [CHANGING + "the disk of a mapped data file fails"], ["signal|Fatal"], complete=True),
    Trial(["data-bytes"], [CHANGING + "a data file is rewritten in place with as many bytes"]),
    Trial(["data-renamed"], [CHANGING + "a data file changes its name, time or mode"]),
    Trial(["duplicates"], [
        CHANGING + "the same records under two names",
        CHANGING + "a number is missing and other files lie beside the data"], ["remarks"]),
    Trial(["data-kind"], [CHANGING + "something else under the name of a data file"], ["an HTML page", "gzip"]),
    Trial(["data-replaced"], ["DatasetsTests.ImportTests/a place that holds something is to become a data set"]),
    Trial(["pickles"], ["DatasetsTests.ImportTests/damaged, foreign and hostile files to import"], ["posix.system"]),
    Trial(["nested-pickles"], ["DatasetsTests.ImportTests/damaged, foreign and hostile files to import"], ["signal|Fatal"]),
    Trial(["bombs"], ["DatasetsTests.ImportTests/damaged, foreign and hostile files to import"], ["IDX, a bomb"]),
    Trial(["folder-circles"], ["DatasetsTests.ImageFolderTests/folders that lead back to themselves"]),
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
    # Limits.
    Trial(["descriptors"], [
        "FilesTests.SystemLimitsTests/fewer open files than are needed",
        limits("every limit of open files"), limits("40 workers under ulimit -n 64")]),
    Trial(["threads"], ["FilesTests.SystemLimitsTests/fewer threads than are needed"]),
    Trial(["memory"], ["FilesTests.SystemLimitsTests/less memory than is needed"]),
    Trial(["memory"], [limits("every limit of the address space")], complete=True),
    Trial(["file-size"], ["FilesTests.SystemLimitsTests/a limit of file sizes below what is written"]),
    Trial(["file-size"], [limits("every limit of file sizes")]),
    # Not by a checkpoint: the thread of Dispatch that writes it blocks SIGXFSZ.
    Trial(["large-files"], [limits("a full standard output of a command that only prints")]),
    Trial(["streams"], ["ReportingTests.StandardStreamsTests/the three streams are closed"]),
    Trial(["results"], [
        limits("standard streams closed or full"), limits("a full standard output of a command that only prints")]),
    Trial(["output-waits"], ["ReportingTests.StandardStreamsTests/standard output does not block and is full"]),
    Trial(["limit-remedies"], [limits("the limit of file sizes shrinks while a run goes on")]),
    Trial(["descriptors"], [limits("few open files for a command")]),
    Trial(["memory-refused"], [limits("an optional system call is refused by a sandbox")]),
    Trial(["gone-reader"], [limits("the reader of the result goes away")]),
    Trial(["gone-reader"], ["ReportingTests.StandardStreamsTests/the reader of standard output goes away"]),
    Trial(["stalled-reader"], [
        "ReportingTests.StandardStreamsTests/standard error is a pipe that is full and not read",
        limits("standard error is a full pipe that is not read")]),
    Trial(["memory-refused"], ["TransportTests.RefusedResourcesTests/shared memory is refused to a worker"]),
    Trial(["accept"], ["TransportTests.RefusedResourcesTests/a connection comes when no descriptor is left"]),
    Trial(["quota"], ["FilesTests.SystemLimitsTests/processors by affinity and quota"]),
    Trial(["processor-time"], [limits("a limit of processor time")], ["ulimit -t 3"]),
    Trial(["kernel-objects"], [limits("a system call that is needed is refused by a sandbox")], ["eventfd2"]),
    Trial(["stack"], [limits("a stack of 64 kB")]),
    # Races and memory errors.
    Trial(["kernel-memory"], ["Scripts/sanitize.sh"], ["AddressSanitizer"], arguments=["kernels"]),
]
