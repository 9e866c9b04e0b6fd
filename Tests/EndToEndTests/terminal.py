"""Runs a command in the foreground of a terminal of its own, and types what a file holds.

Usage: terminal.py [--tostop] [--ignore-interrupt] [--columns N] KEYS COMMAND...

As soon as the file KEYS exists, its bytes are typed, and it is removed. The file KEYS.columns holds a number of columns that
the terminal gets in the same way. What the command shows goes to standard error; the exit status is its own, or 128 and the
number of the signal that ended it.
"""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios


def set_columns(terminal: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def main() -> int:
    arguments = sys.argv[1:]
    flags = set()
    columns = 0
    while arguments[0].startswith("--"):
        flag = arguments.pop(0)
        flags.add(flag)
        if flag == "--columns":
            columns = int(arguments.pop(0))
    keys, command = arguments[0], arguments[1:]
    process, terminal = pty.fork()
    if process == 0:
        if columns:
            set_columns(0, columns)
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
        if os.path.exists(keys + ".columns"):
            with open(keys + ".columns", encoding="ascii") as file:
                set_columns(terminal, int(file.read()))
            os.remove(keys + ".columns")
    status = os.waitpid(process, 0)[1]
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


sys.exit(main())
