"""Workers are forked from a process that has imported what they have in common (`local.workers.fork_server`). On Linux:
frameworks of macOS do not survive a fork.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from nilometer.local.workers.processes import ENDED, Launcher, Order, Spawning, WorkerProcess

_COMMAND = (sys.executable, "-P", "-m", "nilometer.local.workers.fork_server")
_WORD_BYTES = 64
# What the interpreter, or a library while it is imported, reads of the environment. All else reads it in the worker.
_READ_EARLY = ("PATH", "HOME", "TMPDIR", "VIRTUAL_ENV", "POWERTOOLS_DEBUG", "POWERTOOLS_DEV", "AWS_EXECUTION_ENV")
_READ_EARLY_PREFIXES = ("PYTHON", "LD_", "LC_", "LANG")


def launcher() -> Launcher:
    """The cheapest that is safe on this system."""
    return Forking() if sys.platform == "linux" else Spawning()


class Forking(Launcher):
    """One server for each environment of interpreters: for all functions of a stack it is the same."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._servers: dict[frozenset[tuple[str, str]], _ForkServer] = {}
        self._former: list[_ForkServer] = []

    def start(self, order: Order, log: Path) -> WorkerProcess:
        """A server that has ended is started again; so is one worker that it had not begun."""
        early = _read_early(order.environment)
        key = frozenset(early.items())
        with self._lock:
            if server := self._servers.get(key):
                with contextlib.suppress(ConnectionError):
                    return server.fork(order, log)
                server.dismiss()
                self._former.append(server)
            server = self._servers[key] = _ForkServer(early, log)
            return server.fork(order, log)

    def renew(self) -> None:
        """The servers of before end with their last workers."""
        with self._lock:
            for server in self._servers.values():
                server.dismiss()
            self._former += self._servers.values()
            self._servers.clear()
            self._former = [server for server in self._former if not server.over]

    def close(self) -> None:
        self.renew()
        with self._lock:
            for server in self._former:
                server.wait()
            self._former.clear()


class _ForkServer:
    """The process, and the socket to it. What it says itself goes to `log`."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, log.open("ab") as output:
            self._process = subprocess.Popen(
                _COMMAND,
                stdin=theirs.fileno(),
                stdout=output,
                stderr=output,
                cwd=log.parent,
                env=environment,
                start_new_session=True,
            )

    @property
    def over(self) -> bool:
        """Its process has ended."""
        return self._process.poll() is not None

    def fork(self, order: Order, log: Path) -> WorkerProcess:
        """Returns at once, also while the server still imports. `ConnectionError` when it has ended."""
        ear, mouth = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stdin, lifeline = os.pipe()
        try:
            with log.open("ab") as output:
                socket.send_fds(self._orders, [order.encoded()], [stdin, output.fileno(), mouth.fileno()])
        except OSError:
            ear.close()
            os.close(lifeline)
            raise
        finally:
            mouth.close()
            os.close(stdin)
        return _Forked(ear, lifeline)

    def dismiss(self) -> None:
        """It takes no more orders, and ends with its last worker."""
        self._orders.close()

    def wait(self) -> None:
        """Blocks until it has ended."""
        self._process.wait()


class _Forked:
    """`ear` hears the process id from the worker, and `ENDED` from its server. While `lifeline` is open, it lives."""

    def __init__(self, ear: socket.socket, lifeline: int) -> None:
        self._ear = ear
        self._lifeline = lifeline
        self._lock = threading.Lock()
        self._known = threading.Event()
        self._pid = 0
        self._over = False

    @property
    def pid(self) -> int:
        self._known.wait()
        return self._pid

    def kill(self) -> None:
        with self._lock:
            if self._over:
                return
            if self._pid:
                self._strike()
            else:
                # It ends when it wants to say who it is.
                self._ear.shutdown(socket.SHUT_RDWR)

    def wait(self) -> None:
        said = self._ear.recv(_WORD_BYTES)
        if said.isdigit():
            with self._lock:
                self._pid = int(said)
            self._known.set()
            said = self._ear.recv(_WORD_BYTES)
        with self._lock:
            if said != ENDED:
                self._strike()  # its server has ended first, or nobody may hear it
            self._over = True
            self._ear.close()
            os.close(self._lifeline)
        self._known.set()

    def _strike(self) -> None:
        if self._pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)


def _read_early(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name in _READ_EARLY or name.startswith(_READ_EARLY_PREFIXES)
    }
