"""The console beside `nilometer local`: a process of its own that is started when somebody looks for the first time.

So it costs nothing while nobody does, and its work delays no function.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import dataclass, field

from nilometer.errors import Unavailable
from nilometer.local.sources.ingress import Request, Response

START_SECONDS = 60


@dataclass(slots=True)
class ConsoleBeside:
    """Answers `GET /` of the stack at `port` with the way to its console. Its process ends with this one."""

    port: int
    _process: subprocess.Popen[str] | None = None
    _url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def redirect(self, _request: Request) -> Response:
        """To the console, which runs once this returns."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()
            return Response(302, [("location", self._url), ("cache-control", "no-store")], b"")

    def stop(self) -> None:
        """Of no effect when nobody looked."""
        with self._lock:
            if self._process is not None:
                self._process.terminate()
                self._process.wait()

    def _start(self) -> None:
        command = [sys.executable, "-m", "nilometer", "console", "--port", str(self.port), "--listen", "0"]
        self._process = subprocess.Popen(
            [*command, "--until-stdin-closes", "--json"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the stack, which stops this process last
        )
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            self._process.wait()
            raise Unavailable("the console did not start; `nilometer console` says why")
        self._url = json.loads(line)["url"]
