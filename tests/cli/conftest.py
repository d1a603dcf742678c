"""One running `nilometer local` for a session, and the command line as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nilometer.local.plane import deploy
from nilometer.local.plane.engine import Engine
from nilometer.local.stack.stack import clients

READY_SECONDS = 60
STOP_SECONDS = 40


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
class CommandLine:
    """`nilometer ...` in a process of its own, finding only the stacks of one runtime directory."""

    runtime: Path

    def __call__(self, *arguments: str, text: str | None = None, env: Mapping[str, str] = {}) -> Answer:
        done = subprocess.run(
            [sys.executable, "-m", "nilometer", *arguments],
            input=text,
            capture_output=True,
            text=True,
            env={**self.environment, **env},
            timeout=300,
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


@dataclass(frozen=True)
class Local:
    """A running `nilometer local` and what it announced."""

    process: subprocess.Popen[str]
    about: Mapping[str, Any]

    def family(self) -> list[int]:
        """The process and all its descendants."""
        return [self.process.pid, *_descendants(self.process.pid)]

    def workers(self, function: str) -> list[int]:
        """The processes that run the handler of `function` now; their guards are not among them."""
        handler = f"nilometer.lambdas.{function}.handler"
        commands = {pid: _command(pid) for pid in self.family()}
        return [
            pid for pid, words in commands.items() if handler in words and "nilometer.local.plane.guard" not in words
        ]

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
    children = Path(f"/proc/{pid}/task/{pid}/children")
    threads = Path(f"/proc/{pid}/task").glob("*/children") if children.exists() else ()
    found = [int(child) for thread in threads for child in _read(thread).split()]
    return found + [grandchild for child in found for grandchild in _descendants(child)]


def _command(pid: int) -> list[str]:
    return _read(Path(f"/proc/{pid}/cmdline")).split("\0")[:-1]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


@pytest.fixture(scope="session")
def nilometer(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """The command line of a user whose only stack is `stack`."""
    return CommandLine(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def stack(nilometer: CommandLine) -> Iterator[Local]:
    running = nilometer.local()
    yield running
    assert running.stop()[0] == 0


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


@pytest.fixture(scope="module")
def deployed(aws: Engine) -> Deployed:
    """One of its own for a module."""
    name = f"deployed-{uuid.uuid4().hex[:8]}"
    outputs = deploy.deploy(clients(aws), stripe_secrets=["unset"], stack_name=name)
    return Deployed(name, outputs, clients(aws), aws.environment)


@pytest.fixture
def alone(tmp_path: Path) -> CommandLine:
    """The command line of a user with no stack running."""
    (tmp_path / "run").mkdir()
    return CommandLine(tmp_path / "run")
