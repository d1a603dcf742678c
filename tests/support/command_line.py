"""`nilometer ...` as a user types it, and a running local stack."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import click
import pytest
from click.testing import CliRunner

from nilometer.aws import clients
from nilometer.cli import run
from nilometer.cli.program import cli
from nilometer.local.plane import deploy

WITH_SIGNALS = {("local",), ("demo",)}
STOP_SECONDS = 90
_WORKERS = "nilometer.local.workers."


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one line of a command that prints one object."""
        [line] = self.out.splitlines()
        return json.loads(line)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class KeptDemo:
    """What `nilometer demo --keep --json` answered, and the folder that it kept."""

    answer: Answer
    data: Path


@dataclass(frozen=True)
class CommandLine:
    """`nilometer ...` in this process, finding only the stacks of one runtime directory.

    Output, exit code and environment are the command's own. `in_process` false, and what takes signals, starts Python.
    `wait` waits three minutes where a user's waits one: other tests run beside it.
    """

    runtime: Path
    in_process: bool = True

    def __call__(self, *arguments: str, text: str | None = None, env: Mapping[str, str] = {}) -> Answer:
        environment = {**self.environment, **env}
        if arguments[:1] == ("wait",) and "--timeout" not in arguments:
            arguments = (*arguments, "--timeout", "180")
        if self.in_process and arguments[:1] not in WITH_SIGNALS:
            return _here(arguments, text, environment)
        done = subprocess.run(
            [sys.executable, "-m", "nilometer", *arguments],
            input=text,
            capture_output=True,
            text=True,
            env=environment,
            timeout=600,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def local(self, *arguments: str) -> Local:
        """Starts `nilometer local --json` on free ports and waits until it is ready."""
        process = subprocess.Popen(
            [sys.executable, "-m", "nilometer", "local", "--port", "0", "--aws-port", "0", "--json", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )
        assert process.stdout
        assert process.stderr
        line = process.stdout.readline()
        if not line:
            raise AssertionError(process.stderr.read())
        return Local(process, json.loads(line))

    @property
    def environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "NILOMETER_"))}
        return {**own, "NILOMETER_RUNTIME_DIR": str(self.runtime), "COLUMNS": "160"}


def leaves(group: click.Group | None = None, *path: str) -> Iterator[tuple[str, ...]]:
    """The words of every command that does something: ("usage", "send")."""
    group = group or cli
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, *path, name)
        else:
            yield (*path, name)


def _here(arguments: Sequence[str], text: str | None, environment: Mapping[str, str]) -> Answer:
    """A traceback goes to stderr with exit code 1, as Python itself does it."""
    with _environment(environment), CliRunner().isolation(input=text) as (out, err, _):
        try:
            code = run(arguments)
        except Exception:  # noqa: BLE001  # shown to the test
            traceback.print_exc()
            code = 1
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        return Answer(code, out.getvalue().decode(), err.getvalue().decode())


@contextlib.contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """All of `os.environ` while a command runs. Its AWS clients are those of its endpoint, region and keys, as in a
    process of its own; they are made once for all commands, because that takes longer than most commands.
    """
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(wanted)
    clients.client.cache_clear()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(clients, "_session", _session_of_environment)
            yield
    finally:
        clients.client.cache_clear()
        os.environ.clear()
        os.environ.update(before)


def _session_of_environment() -> _SessionOfCommands:
    return _session_of(tuple(sorted((name, os.environ[name]) for name in os.environ if name.startswith("AWS_"))))


@functools.lru_cache(maxsize=8)
def _session_of(environment: tuple[tuple[str, str], ...]) -> _SessionOfCommands:
    return _SessionOfCommands(boto3.session.Session(region_name=dict(environment).get("AWS_REGION")))


class _SessionOfCommands:
    """Makes a client once for each service and place."""

    def __init__(self, session: boto3.session.Session) -> None:
        self._session = session
        self._made: dict[tuple[str, ...], Any] = {}

    def client(self, service: str, **given: Any) -> Any:
        key = (service, *(f"{name}={value}" for name, value in given.items() if name != "config"))
        if key not in self._made:
            self._made[key] = self._session.client(service, **given)  # type: ignore[call-overload]  # a name, no literal
        return self._made[key]


@dataclass(frozen=True)
class Local:
    """A running `nilometer local`, what it announced, and since when, on the monotonic clock."""

    process: subprocess.Popen[str]
    about: Mapping[str, Any]
    ready_at: float = field(default_factory=time.monotonic)

    def family(self) -> list[int]:
        """The process and all its descendants."""
        return [self.process.pid, *_descendants(self.process.pid)]

    def commands(self) -> list[list[str]]:
        """The words of each of them; of one that has just ended none."""
        return [_command(pid) for pid in self.family()]

    def workers(self, function: str) -> list[int]:
        """The processes that run the handler of `function` now: forked ones have the name alone, no words."""
        own = [pid for pid in self.family() if any(word.startswith(_WORKERS) for word in _command(pid))]
        return [pid for pid in own if _read(Path(f"/proc/{pid}/comm")) == f"{function}\n"]

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Exit code and what it said meanwhile."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=STOP_SECONDS)
        return self.process.returncode, said

    @staticmethod
    def gone(pids: list[int], *, within: float = STOP_SECONDS) -> bool:
        """Whether none of the processes is left before the time is over."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if not any(Path(f"/proc/{pid}").exists() and _command(pid) for pid in pids):
                return True
            time.sleep(0.1)
        return False


def _descendants(pid: int) -> list[int]:
    try:
        threads = list(Path(f"/proc/{pid}/task").glob("*/children"))
    except OSError:  # it ended just now
        return []
    found = [int(child) for thread in threads for child in _read(thread).split()]
    return found + [grandchild for child in found for grandchild in _descendants(child)]


def _command(pid: int) -> list[str]:
    return _read(Path(f"/proc/{pid}/cmdline")).split("\0")[:-1]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


@dataclass(frozen=True)
class Deployed:
    """A stack in an engine, as on AWS: no runner beside it."""

    name: str
    outputs: Mapping[str, str]
    client: deploy.Client
    environment: Mapping[str, str]

    def queue(self, logical: str) -> str:
        found = self.client("cloudformation").list_stack_resources(StackName=self.name)["StackResourceSummaries"]
        [url] = [one["PhysicalResourceId"] for one in found if one["LogicalResourceId"] == logical]
        return str(url)

    @property
    def signing_secrets(self) -> str:
        arn = self.outputs["StripeSecretArn"]
        return str(self.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"])

    def store(self, output: str, text: str) -> None:
        self.client("secretsmanager").put_secret_value(SecretId=self.outputs[output], SecretString=text)
