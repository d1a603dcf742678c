"""The Lambda of one machine: runs the functions of a deployed stack and feeds them as AWS would.

It lives beside the engine (`local.engine`), which has the tables, streams, bus, queues and bucket.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from botocore.config import Config

from nilometer.local.plane.deployed import Deployment, Function, logical, read
from nilometer.local.plane.engine import session
from nilometer.local.sources.checkpoints import Checkpoints
from nilometer.local.sources.engine_api import EngineApi
from nilometer.local.sources.ingress import Control, Ingress, Request, Response
from nilometer.local.sources.queues import QueuePoller, concurrency
from nilometer.local.sources.schedules import Clock
from nilometer.local.sources.source import Feed, Poller, Source
from nilometer.local.sources.streams import ShardPoller, shards
from nilometer.local.stack.status import Observer, Status
from nilometer.local.workers.activity import Activity
from nilometer.local.workers.bell import Bell
from nilometer.local.workers.chaos import Chaos, Dice
from nilometer.local.workers.forking import launcher
from nilometer.local.workers.pool import Pool
from nilometer.local.workers.runtime import InvocationResult
from nilometer.local.workers.workers import environment_of

HTTP = "http"  # what invokes a function that answers it
HTTP_CONCURRENCY = 4  # workers of a function that answers HTTP
HTTP_SECONDS = 30  # API Gateway's longest wait
GRACE_SECONDS = 3  # for what runs when the runner stops
STATUS_PATH = "GET /_nilometer/status"

_Poller = TypeVar("_Poller", bound=Poller)


class Runner:
    """Everything between `start` and `stop`; a stopped runner does not start again.

    `environment` holds the AWS variables of the functions (`Engine.environment`), `extra_environment`
    more that win over what is deployed. Below `data` go the logs of the functions (`logs/NAME.log`) and the
    checkpoints of the streams (`checkpoints.json`): with the same `data` and the engine's state, the next
    runner goes on where this one was, however it ended. Port 0 picks a free one.
    """

    def __init__(
        self,
        *,
        endpoint_url: str,
        environment: Mapping[str, str],
        stack_name: str,
        port: int,
        data: Path,
        chaos: Chaos | None = None,
        extra_environment: Mapping[str, str] = {},
        retry_seconds: float | None = None,
    ) -> None:
        self._endpoint_url = endpoint_url
        self._environment = environment
        self._extra_environment = extra_environment
        self._region = environment["AWS_REGION"]
        self._data = data
        self._chaos = chaos
        self._retry_seconds = retry_seconds
        self._activity = Activity()
        self._bell = Bell(endpoint_url)
        self._launcher = launcher()
        self._started = False
        self._session = session()
        self._clients: dict[str, Any] = {}
        self._api = EngineApi(endpoint_url, region=self._region, access_key=environment["AWS_ACCESS_KEY_ID"])
        self.logs = (data / "logs").absolute()
        self.logs.mkdir(parents=True, exist_ok=True)
        self.deployment: Deployment = read(self._client, stack_name=stack_name)
        self._pools = {name: self._pool(function) for name, function in self.deployment.functions.items()}
        self._checkpoints = Checkpoints(data / "checkpoints.json")
        self._queues = self._queue_pollers()
        self._shards = self._shard_pollers()
        self._clock = Clock(
            self.deployment.schedules,
            pools=self._pools.__getitem__,
            activity=self._activity,
            now=partial(datetime.now, UTC),
        )
        self._running: list[Source] = []
        self._observer = self._observing(None)
        self._http_dice = Dice(chaos if chaos and chaos.http else None, "http")
        self._ingress = Ingress(port=port, routes=self.deployment.routes, invoke=self._invoke_http)
        self.register(STATUS_PATH, lambda _: Response.json(200, self.status().json()))
        for name, pool in self._pools.items():
            self.register(f"POST /2015-03-31/functions/{name}/invocations", partial(_invoked, pool))

    @property
    def port(self) -> int:
        """On which HTTP listens."""
        return self._ingress.port

    @property
    def warnings(self) -> tuple[str, ...]:
        """What somebody should know who started it."""
        damaged = self._checkpoints.damaged
        if damaged is None:
            return ()
        return (
            f"checkpoints.json was damaged and is {damaged.name} now: streams are read again, and nothing counts twice",
        )

    def register(self, route: str, control: Control) -> None:
        """Lets a callable answer an exact `METHOD /path`, before any route of the stack."""
        self._ingress.controls[route] = control

    def invoke(self, function: str, event: bytes = b"{}") -> InvocationResult:
        """By the name of the template, as a schedule does."""
        [pool] = [pool for name, pool in self._pools.items() if logical(name) == function]
        return pool.invoke(event, source="invoke")

    def start(self, first: Collection[str] | None = None) -> None:
        """Returns when HTTP listens; the workers are coming up.

        With `first`, names of the template, only these functions get events until `widen`, and `status` is of them
        alone. HTTP reaches every function.
        """
        self._started = True
        self._ingress.start()
        self._bell.start()
        self._begin(first)

    def widen(self) -> None:
        """Every function gets events from now on, also those that waited for it."""
        self._begin(None)

    def reload(self) -> None:
        """Every function runs from the sources as they are now; what is being decided is decided by the old ones."""
        self._launcher.renew()
        for pool in self._pools.values():
            pool.renew()

    def status(self) -> Status:
        """Asks the engine about all queues at once, and about each shard that is read."""
        return self._observer.status()

    def stop(self, grace: float = GRACE_SECONDS) -> None:
        """Takes a few seconds: what runs may finish within `grace`; what does not is delivered again.

        No process and no thread is left. Also of use before `start`: it lets go of the port.
        """
        if not self._started:
            self._ingress.stop()
            return
        self._bell.stop()
        for source in self._running:
            source.stop()
        deadline = time.monotonic() + grace
        while self._activity.invocations and time.monotonic() < deadline:
            time.sleep(0.02)
        self._ingress.stop()
        for pool in self._pools.values():
            pool.close()
        self._launcher.close()
        for source in self._running:
            source.join()
        self._api.close()

    def _begin(self, names: Collection[str] | None) -> None:
        """Of these functions, None for all, what does not run yet."""
        self._observer = self._observing(names)
        wanted: list[Source] = [*self._fed(self._queues, names), *self._fed(self._shards, names)]
        for source in wanted if names is not None else (*wanted, self._clock):
            if source not in self._running:
                self._running.append(source)
                source.start()
        pools = [pool for name, pool in self._pools.items() if names is None or logical(name) in names]
        threading.Thread(target=_warm, args=(pools,), name="warm", daemon=True).start()

    def _observing(self, names: Collection[str] | None) -> Observer:
        queues = self._fed(self._queues, names)
        watched = self.deployment
        if names is not None:
            watched = replace(watched, queues=tuple(poller.queue for poller in queues))
        return Observer(
            watched,
            api=self._api,
            pools=self._pools,
            queues=queues,
            shards=self._fed(self._shards, names),
            activity=self._activity,
        )

    @staticmethod
    def _fed(pollers: Sequence[_Poller], names: Collection[str] | None) -> list[_Poller]:
        return [one for one in pollers if names is None or logical(one.function) in names]

    def _client(self, service: str) -> Any:
        """Of the engine alone: nothing of the user's AWS configuration counts."""
        if service not in self._clients:
            self._clients[service] = self._session.client(  # type: ignore[call-overload]  # a name, not a literal
                service,
                endpoint_url=self._endpoint_url,
                region_name=self._region,
                aws_access_key_id=self._environment["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=self._environment["AWS_SECRET_ACCESS_KEY"],
                config=Config(
                    retries={"mode": "standard", "max_attempts": 3}, max_pool_connections=50, user_agent="nilometer"
                ),
            )
        return self._clients[service]

    def _pool(self, function: Function) -> Pool:
        environment = environment_of(function, aws=self._environment, extra=self._extra_environment)
        return Pool(
            function,
            environment=environment,
            log=self.logs / f"{function.name}.log",
            size=self._size(function.name),
            activity=self._activity,
            launcher=self._launcher,
        )

    def _size(self, function: str) -> int:
        """As many workers as its sources can keep busy at once."""
        found = self.deployment
        queues = sum(concurrency(mapping) for mapping in found.queue_mappings if mapping.function == function)
        streams = sum(mapping.function == function for mapping in found.stream_mappings)
        schedules = sum(schedule.function == function for schedule in found.schedules)
        http = HTTP_CONCURRENCY if any(route.function == function for route in found.routes) else 0
        return queues + streams + schedules + http or 1

    def _queue_pollers(self) -> list[QueuePoller]:
        return [
            QueuePoller(mapping, self._feed(mapping.function, mapping.queue.name))
            for mapping in self.deployment.queue_mappings
        ]

    def _shard_pollers(self) -> list[ShardPoller]:
        return [
            ShardPoller(mapping, shard, self._feed(mapping.function, f"{mapping.table}/{shard}"))
            for mapping in self.deployment.stream_mappings
            for shard in shards(self._client("dynamodbstreams"), mapping.stream_arn)
        ]

    def _feed(self, function: str, source: str) -> Feed:
        return Feed(
            client=self._client,
            api=self._api,
            region=self._region,
            pool=self._pools[function],
            checkpoints=self._checkpoints,
            activity=self._activity,
            bell=self._bell,
            dice=Dice(self._chaos, source),
            retry_seconds=self._retry_seconds,
        )

    def _invoke_http(self, function: str, event: bytes) -> InvocationResult:
        pool = self._pools[function]
        with self._activity.answering():
            return pool.invoke(event, source=HTTP, sabotage=self._http_dice.sabotage(), patience=HTTP_SECONDS)


def _warm(pools: Iterable[Pool]) -> None:
    for pool in pools:
        pool.warm()


def _invoked(pool: Pool, request: Request) -> Response:
    """Lambda's own API, for a command that invokes a function. Source: Lambda API Reference, "Invoke"."""
    answer = pool.invoke(request.body, source="invoke")
    failed = [("x-amz-function-error", "Unhandled")] if answer.error else []
    return Response(200, [("content-type", "application/json"), *failed], answer.payload or b"null")
