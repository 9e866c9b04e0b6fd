"""Process 1 of a pod: makes its mounts, waits for its network, gives up every right, and becomes the program of the
container. Called with a description in JSON by play.py and container.sh, in namespaces of its own (unshare).

Memory and processor are not limited, and system calls not filtered, as they are by a container runtime.
"""

import ctypes
import json
import os
import socket
import sys
import time

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 4, 24, 38
DEVICES = ["null", "zero", "full", "random", "urandom", "tty"]

libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    arguments = [text.encode() if text is not None else None for text in (source, target, kind)]
    if libc.mount(*arguments, ctypes.c_ulong(flags), data.encode() if data else None) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"cannot mount {source} at {target}: {os.strerror(code)}")


def place(root: str, target: str, source: str) -> str:
    """The path of a mount point, which the runtime makes where the image has none."""
    path = root + target
    if os.path.isdir(source):
        os.makedirs(path, exist_ok=True)
    elif not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8"):
            pass
    return path


def prepare(pod: dict) -> None:
    root = pod["root"]
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    socket.sethostname(pod["hostname"])
    mount(root, root, None, MS_BIND | MS_REC)
    os.makedirs(f"{root}/dev/shm", exist_ok=True)
    points = [(item, place(root, item["target"], item["source"])) for item in pod["mounts"]]
    devices = [(f"/dev/{name}", place(root, f"/dev/{name}", f"/dev/{name}")) for name in DEVICES]
    if pod["readonly"]:
        mount("none", root, None, MS_REMOUNT | MS_BIND | MS_RDONLY)
    for source, path in devices:
        mount(source, path, None, MS_BIND)
    mount("shm", f"{root}/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=64m")
    mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV)
    for item, path in points:
        mount(item["source"], path, None, MS_BIND)
        if item.get("readonly"):
            mount("none", path, None, MS_REMOUNT | MS_BIND | MS_RDONLY)


def give_up_rights(pod: dict) -> None:
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    os.setgroups(pod["groups"])
    os.setresgid(pod["gid"], pod["gid"], pod["gid"])
    os.setresuid(pod["uid"], pod["uid"], pod["uid"])


def main(path: str) -> None:
    with open(path, encoding="utf-8") as file:
        pod = json.load(file)
    prepare(pod)
    with open(pod["ready"], "w", encoding="utf-8"):
        pass
    while not os.path.exists(pod["go"]):
        time.sleep(0.005)
    output = os.open(pod["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.chroot(pod["root"])
    os.chdir("/")
    null = os.open("/dev/null", os.O_RDONLY)
    for number, descriptor in [(0, null), (1, output), (2, output)]:
        os.dup2(descriptor, number)
    give_up_rights(pod)
    try:
        os.execve(pod["command"][0], pod["command"], pod["environment"])
    except OSError as error:
        # As a container runtime does.
        os.write(2, f"cannot start {pod['command'][0]}: {error.strerror}\n".encode())
        os._exit(128 if error.errno != 2 else 127)


main(sys.argv[1])
