"""How the process of a worker starts and ends: with an interpreter of its own, or forked (`local.workers.forking`)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

ENDED = b"ended"
"""What a fork server says of a worker."""
ORDER_BYTES = 256 * 1024
"""The longest order: Lambda's 4 KB for the variables of a function, and what a shell has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A worker to start: the handler of its function, all of its environment, and the folder it runs in."""

    handler: str
    environment: dict[str, str]
    folder: str

    @property
    def command(self) -> list[str]:
        """What runs it in an interpreter of its own. -P: nothing in the folder may stand in for a module."""
        return [sys.executable, "-P", "-m", "nilometer.local.workers.worker", self.handler]

    def encoded(self) -> bytes:
        """As one message."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decoded(cls, message: bytes) -> Order:
        """Of what `encoded` gave."""
        return cls(**json.loads(message))


class WorkerProcess(Protocol):
    """A process that has been asked for, and leads a process group of its own. Thread-safe."""

    @property
    def pid(self) -> int:
        """Blocks until it is known; 0 of a process that ended before it began."""

    def kill(self) -> None:
        """SIGKILL to the process and what it started. Does nothing once it has ended."""

    def wait(self) -> None:
        """Blocks until it has ended. Call it once."""


class Launcher(Protocol):
    """Starts workers. They end with the process that has started them, however that one ends."""

    def start(self, order: Order, log: Path) -> WorkerProcess:
        """Returns at once. `log` gets what the worker writes, at its end."""

    def renew(self) -> None:
        """Workers that start from now on import the sources as they are now."""

    def close(self) -> None:
        """After the end of the workers: no process is left."""


class Spawning(Launcher):
    """Every worker is an interpreter of its own."""

    def start(self, order: Order, log: Path) -> WorkerProcess:
        return _Spawned(order, log)

    def renew(self) -> None:
        """They do."""

    def close(self) -> None:
        """There is none."""


class _Spawned:
    def __init__(self, order: Order, log: Path) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                order.command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=order.folder,
                env=order.environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self) -> None:
        self._process.wait()
        assert self._process.stdin  # noqa: S101  # opened above
        self._process.stdin.close()
