"""The whole stack on one machine: engine, deployment and runner, for as long as a `with` lasts.

State below the data folder survives every end, also a kill -9 of all processes at once: what was acknowledged is in
the engine's journal. A journal that is damaged or cannot be written stops the start, and the message says what to do.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from nilometer.aws.dynamodb import Store
from nilometer.errors import Misconfigured, NilometerError
from nilometer.local.plane import deploy, discovery, journal
from nilometer.local.plane.counting import CountingProxy
from nilometer.local.plane.engine import REGION, Engine, engine, session
from nilometer.local.stack.idle import await_idle
from nilometer.local.stack.runner import GRACE_SECONDS, Runner
from nilometer.local.stack.service_key import giving_a_key
from nilometer.local.workers.chaos import Chaos

DRAIN_SECONDS = 5
LOCK_SECONDS = 25  # a little longer than the guard lets a stopping engine save its state


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `nilometer local`. Port 0 is a free one; without `data` the state is deleted at the end.

    By `name` commands find it (`--stack`); two of one name are refused. `counted` puts a proxy before the engine that
    counts every request (`Stack.counter`). `parameters` are those of template.yaml beside the stage.
    """

    port: int = 8787
    aws_port: int = 4566
    name: str | None = None
    data: Path | None = None
    stripe_secrets: tuple[str, ...] = (deploy.STRIPE_SECRET,)
    chaos: Chaos | None = None
    counted: bool = False
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A running stack."""

    description: discovery.StackDescription
    engine: Engine
    runner: Runner
    warnings: tuple[str, ...] = field(default=())
    counter: CountingProxy | None = None

    def client(self, service: str) -> Any:
        """A boto3 client of this engine, whatever the environment says."""
        return clients(self.engine)(service)

    def status(self) -> Mapping[str, Any]:
        """As `GET /_nilometer/status` answers."""
        return self.runner.status().json()

    def widen(self) -> None:
        """Every function runs from now on, where only some did (`beside`)."""
        self.runner.widen()

    @property
    def failed(self) -> bool:
        """Its engine has ended, and nothing works any more."""
        return self.engine.process.poll() is not None


@contextlib.contextmanager
def stack(options: Options) -> Iterator[Stack]:
    """Starts everything, announces it to the other commands, and stops it cleanly at the end.

    `Misconfigured` when a port is taken, another stack uses the data folder, or the template cannot be deployed.
    """
    with _without_profile(), beside(options) as running:
        yield running


def _all() -> None:
    """Every function runs."""


@contextlib.contextmanager
def beside(options: Options, *, first: Callable[[], Collection[str] | None] = _all) -> Iterator[Stack]:
    """As `stack`, for who asks another one meanwhile: the environment stays as it is.

    `first` is called when the engine has started and nothing is deployed. It says which functions, by their names in
    the template, get events until `Stack.widen`, None for all. What it raises ends the start.
    """
    with contextlib.ExitStack() as parts:
        if options.name and discovery.named(options.name):
            raise Misconfigured(f"a local stack named {options.name} runs already; choose another name")
        data = parts.enter_context(_data_folder(options.data))
        lock = parts.enter_context(_exclusive(data))
        warnings = _lake_without_journal(data) if not journal.check(data) else ()
        running_engine = parts.enter_context(
            engine(
                port=options.aws_port,
                data=data,
                log=data / "engine.log",
                keep_open=(lock,),
                saved=options.data is not None,
            )
        )
        functions = first()
        counter = parts.enter_context(CountingProxy(running_engine.endpoint_url)) if options.counted else None
        if counter:
            running_engine = replace(running_engine, endpoint_url=counter.url)
        outputs = deploy.deploy(
            clients(running_engine), stripe_secrets=options.stripe_secrets, parameters=options.parameters
        )
        runner = parts.enter_context(_runner(running_engine, options, data, functions))
        warnings += runner.warnings
        description = _describe(outputs, running_engine, runner, options)
        secret = options.stripe_secrets[0]
        runner.register(f"POST {discovery.KEY_PATH}", giving_a_key(lambda: _store(running_engine, outputs), secret))
        parts.enter_context(discovery.announced(description))
        yield Stack(description=description, engine=running_engine, runner=runner, warnings=warnings, counter=counter)


@contextlib.contextmanager
def _without_profile() -> Iterator[None]:
    """The engine takes any credentials; boto3 refuses to make a client when a profile of the user cannot be read."""
    taken = {name: os.environ.pop(name) for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE") if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(taken)


@contextlib.contextmanager
def _data_folder(data: Path | None) -> Iterator[Path]:
    if data is not None:
        try:
            data.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Misconfigured(f"{data} cannot be the data folder: {error.strerror}") from error
        yield data.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="nilometer-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextlib.contextmanager
def _exclusive(data: Path) -> Iterator[int]:
    """The lock on the data folder. The engine's guard holds it too, until the engine has saved its state."""
    with (data / "lock").open("a+") as file:
        _lock(file, data)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file.fileno()


def _lock(file: IO[str], data: Path) -> None:
    """A killed owner's engine may still be saving: that is waited for, a living owner is not."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip()
            if _lives(owner) or time.monotonic() > deadline:
                raise Misconfigured(
                    f"another nilometer (process {owner or 'unknown'}) uses {data}; stop it or choose another folder"
                ) from None
            time.sleep(0.1)


def _lives(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def _lake_without_journal(data: Path) -> tuple[str, ...]:
    """The lake is there and what the tables held is not: the journal was moved away, or an older version was killed."""
    if any((data / "state").glob("*.json")) or not any((data / "s3").rglob("_delta_log")):
        return ()
    return ("the tables of this folder are gone, its lake is not: `nilometer rebuild` brings the records back",)


def clients(running: Engine) -> deploy.Client:
    """Builds boto3 clients of this engine. As ours are (`nilometer.aws.clients`), with boto3's own patience."""
    own, config = session(), Config(parameter_validation=False, user_agent="nilometer")

    def client(service: str) -> Any:
        return own.client(service, endpoint_url=running.endpoint_url, config=config)  # type: ignore[call-overload]  # a name

    return client


@contextlib.contextmanager
def _runner(running: Engine, options: Options, data: Path, functions: Collection[str] | None) -> Iterator[Runner]:
    runner = Runner(
        endpoint_url=running.endpoint_url,
        environment=running.environment,
        stack_name=deploy.STACK_NAME,
        port=options.port,
        data=data,
        chaos=options.chaos,
    )
    try:
        runner.start(functions)
        yield runner
        if options.data:
            _drain(runner)
    finally:
        runner.stop(GRACE_SECONDS if options.data else 0)


def _drain(runner: Runner) -> None:
    """Gives events in flight a few seconds; the rest stays in queues and streams until the next start."""
    with contextlib.suppress(NilometerError, BotoCoreError, ClientError):
        await_idle(lambda: runner.status().json(), timeout=DRAIN_SECONDS, pause=0.05)


def _store(running: Engine, outputs: Mapping[str, str]) -> Store:
    return Store(clients(running)("dynamodb"), records=outputs["RecordsTable"], events=outputs["EventsTable"])


def _describe(
    outputs: Mapping[str, str], running: Engine, runner: Runner, options: Options
) -> discovery.StackDescription:
    return discovery.describe(
        outputs,
        webhook_url=f"http://127.0.0.1:{runner.port}/webhooks/stripe",
        aws_endpoint_url=running.endpoint_url,
        region=REGION,
        stack_name=deploy.STACK_NAME,
        stripe_secret=options.stripe_secrets[0],
        name=options.name,
        pid=os.getpid(),
        data=str(options.data.resolve()) if options.data else None,
        logs=str(runner.logs),
    )
