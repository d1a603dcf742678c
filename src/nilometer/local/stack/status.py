"""How much work is where, and whether everything is done."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from nilometer.errors import Unavailable
from nilometer.local.plane.deployed import Deployment
from nilometer.local.sources.queues import QueuePoller
from nilometer.local.sources.streams import ShardPoller
from nilometer.local.workers.activity import Activity
from nilometer.local.workers.pool import Pool, Used

SECOND_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus:
    """Messages: `in_flight` are delivered and not deleted yet, or wait for their next attempt."""

    visible: int
    in_flight: int
    delayed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionStatus:
    """Since the start: invocations that failed, workers that ended by themselves or were killed, what was used.

    `used` is by what invoked: a queue, a table, a schedule, or HTTP.
    """

    errors: int
    restarts: int
    used: Mapping[str, Used]
    log_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """`idle`: no work anywhere but in dead-letter queues. `streams` and `discarded` count records by table."""

    idle: bool
    queues: Mapping[str, QueueStatus]
    dead_letters: Mapping[str, int]
    streams: Mapping[str, int]
    discarded: Mapping[str, int]
    invocations: int
    functions: Mapping[str, FunctionStatus]

    def json(self) -> dict[str, Any]:
        """With the names of the fields as keys."""
        return dict(msgspec.to_builtins(self))


class Depths(Protocol):
    """What is asked about queues (`EngineApi`)."""

    def depths(self, queue_urls: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """By the address of a queue its attributes that count messages, as SQS names them."""


class Observer:
    """Looks at the engine and at the runner.

    One look is not enough to say idle. It visits the places one after the other, and an event may hop
    behind its back: out of a stream that it visits later, into a queue that it has already seen empty.
    But every hop is made by this runner: a receive, a read, an invocation, an HTTP request; and each
    changes the activity count before the event leaves its place and again after it has arrived in the
    next (the function's own writes lie between the two counts of its invocation, and the engine puts
    an event of the bus into its queues before it answers). So a look over which the count stayed the
    same saw all places at one moment:

        count ─┬─ queue A: 0 ── queue B: 0 ── stream: 0 ─┬─ count        same: nothing moved, all is done
               └──────── an invocation here changes it ──┘

    What comes from outside (a client that publishes or writes) may arrive between two looks: `idle`
    promises only what was sent before the first of two looks, which both must see the same.
    """

    def __init__(
        self,
        deployment: Deployment,
        *,
        api: Depths,
        pools: Mapping[str, Pool],
        queues: Sequence[QueuePoller],
        shards: Sequence[ShardPoller],
        activity: Activity,
    ) -> None:
        self._deployment = deployment
        self._api = api
        self._pools = pools
        self._queues = queues
        self._shards = shards
        self._activity = activity

    def status(self) -> Status:
        """Idle means: seen so twice, with no activity from before the first look to after the second.

        `Unavailable` when the engine does not answer.
        """
        try:
            return self._status()
        except (ClientError, BotoCoreError) as error:
            raise Unavailable(f"the local engine does not answer: {error}") from error

    def _status(self) -> Status:
        before = self._activity.count
        status = self._look()
        if not _quiet(status) or self._held():
            return replace(status, idle=False)
        time.sleep(SECOND_LOOK_SECONDS)
        second = self._look()
        unmoved = self._activity.count == before and not self._held()
        return replace(second, idle=unmoved and _quiet(second))

    def _held(self) -> int:
        return sum(poller.held for poller in self._queues)

    def _look(self) -> Status:
        depths = self._depths()
        dead = self._deployment.dead_letters
        return Status(
            idle=False,
            queues={name: depth for name, depth in depths.items() if name not in dead},
            dead_letters={name: depth.visible for name, depth in depths.items() if name in dead},
            streams=_by_table(self._shards, [poller.lag() for poller in self._shards]),
            discarded=_by_table(self._shards, [poller.discarded for poller in self._shards]),
            invocations=self._activity.invocations,
            functions={name: _function(pool) for name, pool in self._pools.items()},
        )

    def _depths(self) -> dict[str, QueueStatus]:
        """By the name of a queue."""
        found = self._api.depths([queue.url for queue in self._deployment.queues])
        return {queue.name: _depth(found[queue.url]) for queue in self._deployment.queues}


def _depth(attributes: Mapping[str, str]) -> QueueStatus:
    return QueueStatus(
        visible=int(attributes["ApproximateNumberOfMessages"]),
        in_flight=int(attributes["ApproximateNumberOfMessagesNotVisible"]),
        delayed=int(attributes["ApproximateNumberOfMessagesDelayed"]),
    )


def _function(pool: Pool) -> FunctionStatus:
    return FunctionStatus(errors=pool.errors, restarts=pool.restarts, used=dict(pool.used), log_bytes=pool.log_bytes)


def _quiet(status: Status) -> bool:
    waiting = sum(queue.visible + queue.in_flight + queue.delayed for queue in status.queues.values())
    return not waiting and not any(status.streams.values()) and not status.invocations


def _by_table(shards: Sequence[ShardPoller], counts: Sequence[int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for shard, count in zip(shards, counts, strict=True):
        found[shard.mapping.table] = found.get(shard.mapping.table, 0) + count
    return found
