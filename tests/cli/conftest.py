"""One running `nilometer local` for a session, and the command line as a user types it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from tests.support.command_line import (
    Answer,
    CommandLine,
    Deployed,
    KeptDemo,
    Local,
)
from tests.support.project import made_once

from nilometer.local.plane import deploy
from nilometer.local.plane.engine import engine
from nilometer.local.stack.stack import clients


@pytest.fixture(scope="session")
def nilometer(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """The command line of a user whose only stack is `stack`."""
    return CommandLine(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def stack(nilometer: CommandLine) -> Iterator[Local]:
    running = nilometer.local()
    yield running
    assert running.stop()[0] == 0


@pytest.fixture(scope="session")
def kept_demo(tmp_path_factory: pytest.TempPathFactory) -> KeptDemo:
    """One run of the demo for all workers. Tests start stacks on copies of what it kept."""

    def make(folder: Path) -> None:
        (folder / "run").mkdir(parents=True)
        found = CommandLine(folder / "run")("demo", "--json", "--keep", str(folder / "state"))
        (folder / "answer.json").write_text(json.dumps(asdict(found)))

    folder = made_once(tmp_path_factory, "demo", make)
    return KeptDemo(Answer(**json.loads((folder / "answer.json").read_text())), folder / "state")


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """One of its own for a module, in an engine of its own."""
    data = tmp_path_factory.mktemp("deployed")
    with engine(port=0, data=data, log=data / "engine.log", saved=False) as running:
        name = f"deployed-{uuid.uuid4().hex[:8]}"
        outputs = deploy.deploy(clients(running), stripe_secrets=["unset"], stack_name=name)
        yield Deployed(name, outputs, clients(running), running.environment)


@pytest.fixture
def process(nilometer: CommandLine) -> CommandLine:
    """The same user's, in a process of its own each time."""
    return replace(nilometer, in_process=False)


@pytest.fixture
def alone(tmp_path: Path) -> CommandLine:
    """The command line of a user with no stack running."""
    (tmp_path / "run").mkdir()
    return CommandLine(tmp_path / "run")
