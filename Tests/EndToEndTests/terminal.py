"""Runs a command in the foreground of a terminal of its own, and types what a file holds.

Usage: terminal.py [--tostop] [--ignore-interrupt] KEYS COMMAND...

As soon as the file KEYS exists, its bytes are typed, and it is removed. What the command shows goes to standard error; the
exit status is its own, or 128 and the number of the signal that ended it.
"""

import os
import pty
import select
import signal
import sys
import termios


def main() -> int:
    arguments = sys.argv[1:]
    flags = set()
    while arguments[0].startswith("--"):
        flags.add(arguments.pop(0))
    keys, command = arguments[0], arguments[1:]
    process, terminal = pty.fork()
    if process == 0:
        if "--tostop" in flags:
            attributes = termios.tcgetattr(0)
            attributes[3] |= termios.TOSTOP
            termios.tcsetattr(0, termios.TCSANOW, attributes)
        if "--ignore-interrupt" in flags:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.execv(command[0], command)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(process, signal.SIGTERM))
    while True:
        if select.select([terminal], [], [], 0.05)[0]:
            try:
                shown = os.read(terminal, 65536)
            except OSError:
                break
            if not shown:
                break
            os.write(2, shown)
        if os.path.exists(keys):
            with open(keys, "rb") as file:
                os.write(terminal, file.read())
            os.remove(keys)
    status = os.waitpid(process, 0)[1]
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


sys.exit(main())
