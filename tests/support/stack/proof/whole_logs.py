"""MiniStack with whole logs: `PYTHON -P whole_logs.py` instead of `-m ministack`, with the engine's own Python.

The engine waits 5 ms after a line, or 50 ms for the first, and takes what came for all that the function wrote. On a
busy machine more comes later: it is kept for the next call of the same worker, and is lost with the worker. Here a
worker ends the lines of each call by a mark, before it answers, and the engine reads as far as the mark.
"""

from __future__ import annotations

import queue
import time

from ministack.app import main
from ministack.core import lambda_runtime

MARK = "\N{END OF TRANSMISSION}"
LONGEST_SECONDS = 10  # a worker that died leaves no mark
_ANSWER = "        _real_stdout.flush()\n\nrun()"


def whole(worker: lambda_runtime.Worker) -> str:
    """The lines of the call that was answered just now."""
    lines: list[str] = []
    deadline = time.monotonic() + LONGEST_SECONDS
    while (remaining := deadline - time.monotonic()) > 0:
        try:
            line = worker._stderr_queue.get(timeout=min(remaining, 0.5))
        except queue.Empty:
            if worker._stderr_thread is None or not worker._stderr_thread.is_alive():
                break
            continue
        if line.endswith(MARK):
            lines += filter(None, [line.removesuffix(MARK)])
            break
        lines.append(line)
    return "\n".join(lines)


def patch() -> None:
    """For the workers that are made from now on."""
    script = lambda_runtime._PYTHON_WORKER_SCRIPT
    if script.count(_ANSWER) != 1:
        raise SystemExit("this release of MiniStack answers otherwise; look at its worker script")
    marked = f"        print({MARK!r}, file=sys.stderr, flush=True)\n{_ANSWER}"
    lambda_runtime._PYTHON_WORKER_SCRIPT = script.replace(_ANSWER, marked)
    lambda_runtime.Worker._drain_stderr_bounded = whole  # type: ignore[method-assign]


if __name__ == "__main__":
    patch()
    main()
