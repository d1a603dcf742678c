"""One running `nilometer local` for a session, and the command line as a user types it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.command_line import (
    CommandLine,
    Deployed,
    Local,
)

from nilometer.local.plane import deploy
from nilometer.local.plane.engine import Engine
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


@pytest.fixture(scope="module")
def deployed(aws: Engine) -> Deployed:
    """One of its own for a module."""
    name = f"deployed-{uuid.uuid4().hex[:8]}"
    outputs = deploy.deploy(clients(aws), stripe_secrets=["unset"], stack_name=name)
    return Deployed(name, outputs, clients(aws), aws.environment)


@pytest.fixture
def process(nilometer: CommandLine) -> CommandLine:
    """The same user's, in a process of its own each time."""
    return replace(nilometer, in_process=False)


@pytest.fixture
def alone(tmp_path: Path) -> CommandLine:
    """The command line of a user with no stack running."""
    (tmp_path / "run").mkdir()
    return CommandLine(tmp_path / "run")
