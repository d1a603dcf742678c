"""The process in which one function runs: AWS's own runtime client, for as long as the runner lives.

`python -m nilometer.local.workers.worker HANDLER`, or forked (`local.workers.fork_server`). The runner holds the other
end of standard input: when it ends, however it ends (also by SIGKILL), the pipe closes and the process exits in the
middle of whatever the handler does, as a Lambda sandbox may.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path

BEHIND = frozenset({"changes", "lake"})
"""Functions whose results nobody waits for: they give way where there are too few processors."""
_NICE = 10  # a tenth of what another process gets


def main() -> None:
    """Does not return: the runtime client takes invocations until the process ends."""
    title = _title(sys.argv[1])
    with contextlib.suppress(OSError):  # of Linux alone
        Path("/proc/self/comm").write_text(title)
    if title in BEHIND:
        _give_way()
    pipe = os.dup(0)
    # A handler that reads standard input gets an end of file, as in Lambda.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    threading.Thread(target=_exit_with_runner, args=(pipe,), daemon=True).start()
    from awslambdaric.__main__ import main as run  # type: ignore[import-untyped]  # noqa: PLC0415  # it has no types; the watch is on before anything can hang

    run(sys.argv)


def _title(handler: str) -> str:
    """The process as `ps` and `top` name it; Linux keeps 15 bytes. Of `nilometer.lambdas.http.api.handler`: `api`."""
    return handler.split(".")[-2] if "." in handler else handler


def _give_way() -> None:
    """Linux shares its processors among sessions first, and each worker has its own."""
    os.nice(_NICE)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(_NICE))


def _exit_with_runner(pipe: int) -> None:
    while os.read(pipe, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
