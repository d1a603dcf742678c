"""What sources of events have in common: they start, stop and are joined, and a poller goes on after an error."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Protocol

from botocore.exceptions import BotoCoreError, ClientError

from nilometer.local.plane.deployed import Clients
from nilometer.local.sources.checkpoints import Checkpoints
from nilometer.local.sources.engine_api import EngineApi
from nilometer.local.workers.activity import Activity
from nilometer.local.workers.bell import Bell
from nilometer.local.workers.chaos import Dice
from nilometer.local.workers.pool import Pool

_log = logging.getLogger(__name__)

_UNREACHABLE_SECONDS = 1.0


class Source(Protocol):
    """What feeds functions."""

    def start(self) -> None:
        """Returns at once; functions are invoked from now on."""

    def stop(self) -> None:
        """No new batch begins. Returns at once; `join` waits for what runs."""

    def join(self) -> None:
        """Returns when no thread of the source is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """What the poller of one event source mapping works with: `pool` runs its function, `dice` is its own chaos.

    `retry_seconds` is the first pause before a retry, None for what is usual of the source.
    """

    client: Clients
    api: EngineApi
    region: str
    pool: Pool
    checkpoints: Checkpoints
    activity: Activity
    bell: Bell
    dice: Dice
    retry_seconds: float | None = None


class Poller(Source):
    """Takes one turn after the other in a thread of its own; fewer while HTTP is busy. An error ends a turn, never the
    poller."""

    def __init__(self, name: str, feed: Feed, *, retry_seconds: float) -> None:
        self._feed = feed
        self._retry_seconds = retry_seconds if feed.retry_seconds is None else feed.retry_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def function(self) -> str:
        """The name of the function that it feeds."""
        return self._feed.pool.function.name

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def join(self) -> None:
        self._thread.join()

    def _turn(self) -> None:
        raise NotImplementedError

    def _recover(self) -> None:
        """What a turn must not find as the failed one left it."""

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._feed.activity.give_way()
            try:
                self._turn()
            except Exception as error:  # noqa: BLE001  # whatever it is, the source must not stand still for good
                if not isinstance(error, ClientError | BotoCoreError):
                    _log.exception("%s: trying again", self._thread.name)
                self._recover()
                self._stopping.wait(_UNREACHABLE_SECONDS)
