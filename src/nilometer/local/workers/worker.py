"""The process in which one function runs: AWS's own runtime client, for as long as the runner lives.

`python -m nilometer.local.workers.worker HANDLER`. The runner holds the other end of standard input: when it
ends, however it ends (also by SIGKILL), the pipe closes and the process exits in the middle of
whatever the handler does, as a Lambda sandbox may.
"""

from __future__ import annotations

import os
import sys
import threading


def main() -> None:
    """Does not return: the runtime client takes invocations until the process ends."""
    pipe = os.dup(0)
    # A handler that reads standard input gets an end of file, as in Lambda.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    threading.Thread(target=_exit_with_runner, args=(pipe,), daemon=True).start()
    from awslambdaric.__main__ import main as run  # type: ignore[import-untyped]  # noqa: PLC0415  # it has no types; the watch is on before anything can hang

    run(sys.argv)


def _exit_with_runner(pipe: int) -> None:
    while os.read(pipe, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
