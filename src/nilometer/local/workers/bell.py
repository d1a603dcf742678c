"""Says to the pollers which queue or stream has something new, so that an idle stack need not poll, and a
single event need not wait for the next poll.

One long poll to the engine (`local.plane`) stands for all of them. Without an answer they ask at their own pace.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
import urllib.parse
from collections.abc import Mapping

PATH = "/_nilometer/changes"
IDLE_SECONDS = 10.0  # between two polls of a source that has nothing new
_PAUSE_SECONDS = 0.02  # between two answers: what changes within it is one answer
_ANSWER_SECONDS = 30.0
_UNREACHABLE_SECONDS = 1.0


class Bell:
    """Runs in a thread of its own from `start` to `stop`. Places are names of queues and tables."""

    def __init__(self, endpoint_url: str) -> None:
        self._netloc = urllib.parse.urlsplit(endpoint_url).netloc
        self._lock = threading.Lock()
        self._waiting: dict[str, threading.Condition] = {}
        self._versions: dict[str, int] = {}
        self._listens = False
        self._stopped = False
        self._connection: http.client.HTTPConnection | None = None
        self._thread = threading.Thread(target=self._run, name="bell", daemon=True)

    def start(self) -> None:
        """Begins to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Nobody waits any more, now or later. Returns at once, and cuts the long poll: an engine that stops waits for
        it."""
        with self._lock:
            self._stopped = True
            self._hear(False)
        if (connection := self._connection) and (cut := connection.sock):
            with contextlib.suppress(OSError):
                cut.shutdown(socket.SHUT_RDWR)

    def seen(self, place: str) -> int:
        """The version of the place. Read it before the place is polled, and give it to `wait`."""
        with self._lock:
            return self._versions.get(place, 0)

    def wait(self, place: str, seen: int, *, otherwise: float) -> None:
        """Until the place has something new since `seen`, for `IDLE_SECONDS` at most; `otherwise` is how long when
        nobody can tell."""
        with self._lock:
            changed = self._waiting.setdefault(place, threading.Condition(self._lock))
            deadline = time.monotonic() + (IDLE_SECONDS if self._listens else otherwise)
            while not self._stopped and self._versions.get(place, 0) == seen:
                left = deadline - time.monotonic()
                if left <= 0 or not changed.wait(left if self._listens else min(left, otherwise)):
                    return

    def _run(self) -> None:
        since = 0
        while not self._stopped:
            try:
                connection = self._connection = http.client.HTTPConnection(self._netloc, timeout=_ANSWER_SECONDS)
                while not self._stopped:
                    since = self._ring(connection, since)
                    time.sleep(_PAUSE_SECONDS)
            except (OSError, http.client.HTTPException, ValueError, KeyError):
                if not self._stopped:
                    self._unreachable()
            finally:
                connection.close()

    def _ring(self, connection: http.client.HTTPConnection, since: int) -> int:
        connection.request("GET", f"{PATH}?since={since}")
        answer: Mapping[str, int] = json.loads(connection.getresponse().read())["changes"]
        with self._lock:
            self._hear(not self._stopped)
            self._versions.update(answer)
            for place in answer:
                if changed := self._waiting.get(place):
                    changed.notify_all()
        return max([since, *answer.values()])

    def _hear(self, listens: bool) -> None:
        """With the lock: how long everybody waits depends on it."""
        if self._listens != listens or self._stopped:
            self._listens = listens
            for changed in self._waiting.values():
                changed.notify_all()

    def _unreachable(self) -> None:
        """What was missed meanwhile the pollers find by asking."""
        with self._lock:
            self._hear(False)
        time.sleep(_UNREACHABLE_SECONDS)
