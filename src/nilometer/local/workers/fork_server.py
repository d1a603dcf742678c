"""The process that workers are forked from, on Linux: it has imported what handlers have in common, so that a worker
costs a tenth of the CPU of an interpreter of its own.

`python -m nilometer.local.workers.fork_server`, with a socket to the runner (`local.workers.forking`) as standard
input. A message is a worker to start (`Order`), with three files: its standard input, its log, and a socket on which
the runner learns its process id, and then that it has `ENDED`. When the runner has closed its end, the server takes no
more orders and ends with its last worker.

Of a process that forks only the thread that forks goes on: other threads are gone without notice. So what has threads
or connections of its own (deltalake, duckdb, pyarrow) is not imported here. If there were a second thread all the same,
a worker would start as it does without a fork. No handler is imported either: it reads the environment of its function.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from nilometer.local.workers import worker
from nilometer.local.workers.processes import ENDED, ORDER_BYTES, Order

_TASKS = Path("/proc/self/task")
SHARED = (
    "aws_lambda_powertools",
    "boto3",
    "concurrent.futures.thread",
    "http.client",
    "nilometer.aws.dynamodb",
    "nilometer.aws.eventbridge",
    "nilometer.aws.s3",
    "nilometer.aws.secrets",
    "nilometer.aws.sqs",
    "nilometer.flows.billing.commit",
    "nilometer.flows.inbox.settle",
    "nilometer.flows.lake.declaring",
    "nilometer.flows.usage.known",
    "nilometer.flows.usage.metering",
    "nilometer.lake.tables.storage",
    "nilometer.stripe_api.client",
)
"""What several handlers of ours import. A module that is missing here costs time only."""


def main() -> None:
    """Ends with the runner; in a worker it does not return."""
    orders = socket.socket(fileno=os.dup(0))
    order = _Server(orders).serve()
    if order is not None:
        _become(order)


@dataclass(slots=True)
class _Server:
    """`workers` are the sockets of their runner by process id, as numbers: an object would close one in a worker."""

    orders: socket.socket
    workers: dict[int, int] = field(default_factory=dict)
    _wakes: tuple[int, int] = field(default_factory=os.pipe)

    def serve(self) -> Order | None:
        """In a worker the order that it was forked for; None in the server, when runner and workers have gone."""
        for end in self._wakes:
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wakes[1], warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        waiting = select.poll()
        waiting.register(self._wakes[0], select.POLLIN)
        waiting.register(self.orders, select.POLLIN)
        listens = True
        while listens or self.workers:
            ready = {number for number, _ in waiting.poll()}
            self._reap()
            if listens and self.orders.fileno() in ready:
                message, files, _, _ = socket.recv_fds(self.orders, ORDER_BYTES, 3)
                if not message:
                    waiting.unregister(self.orders)
                    listens = False
                elif (order := self._forked(message, files)) is not None:
                    return order
        return None

    def _forked(self, message: bytes, files: list[int]) -> Order | None:
        """The order in the new worker, None in the server."""
        stdin, log, said = files
        order = Order.decoded(message)
        if order.handler.startswith("nilometer."):
            _import_shared()
        alone = len(list(_TASKS.iterdir())) == 1
        try:
            pid = os.fork()
        except OSError:  # no memory, too many processes: as if the worker had ended
            for file in files:
                os.close(file)
            return None
        if pid:
            self.workers[pid] = said
        else:
            self._let_go()
            _introduce(said)
            for file, standard in ((stdin, 0), (log, 1), (log, 2)):
                os.dup2(file, standard)
        os.close(stdin)
        os.close(log)
        if pid:
            return None
        os.chdir(order.folder)
        if not alone:
            os.execve(sys.executable, order.command, order.environment)  # noqa: S606  # our own command
        return order

    def _let_go(self) -> None:
        """In a worker: signals are its own, and it holds nothing by which somebody notices another one's end."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.orders.close()
        for number in (*self._wakes, *self.workers.values()):
            os.close(number)

    def _reap(self) -> None:
        """Tells the runner of each worker that has ended."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wakes[0], 1024):
                pass
        with contextlib.suppress(ChildProcessError):
            while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                said = self.workers.pop(pid)
                with contextlib.suppress(OSError):  # the runner may have gone
                    os.write(said, ENDED)
                os.close(said)


def _introduce(said: int) -> None:
    """In a worker, once it leads a group of its own and can be killed with what it starts."""
    os.setsid()
    try:
        os.write(said, str(os.getpid()).encode())
    except OSError:  # nobody wants it any more
        os._exit(1)
    os.close(said)


@cache
def _import_shared() -> None:
    gc.disable()
    for module in SHARED:
        # A worker that needs it says in its own log why it cannot be imported.
        with contextlib.suppress(Exception):
            importlib.import_module(module)
    gc.freeze()
    gc.enable()


def _become(order: Order) -> None:
    """Runs the handler, as in a process of its own. Does not return."""
    sys.argv = ["worker", order.handler]
    os.environ.clear()
    os.environ.update(order.environment)
    time.tzset()
    worker.main()


if __name__ == "__main__":
    main()
