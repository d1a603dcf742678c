"""Runs a command for as long as its parent lives: `python -m nilometer.local.plane.guard COMMAND ...`.

The parent holds the other end of standard input. When the parent ends, however it ends (also by
SIGKILL), the pipe closes, the command gets SIGTERM and may save its state: nothing is left running. A parent that
writes `AT_ONCE` before has no use for that state: the command is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

GRACE_SECONDS = 20
AT_ONCE = b"at once"


def main(command: list[str]) -> int:
    """Blocks until the command ends, and returns its exit code."""
    # A Ctrl-C in the terminal goes to the whole group: only the parent decides when to stop.
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=_stop_with_parent, args=(child,), daemon=True).start()
    return child.wait()


def _stop_with_parent(child: subprocess.Popen[bytes]) -> None:
    last = b""
    while said := os.read(sys.stdin.fileno(), 1024):
        last = said
    if last == AT_ONCE:
        child.kill()
        return
    child.terminate()
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
