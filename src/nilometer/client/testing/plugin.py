"""Fixtures for pytest: `pytest_plugins = ["nilometer.client.testing.plugin"]`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from nilometer.client.testing.fake import FakeStack

if TYPE_CHECKING:
    from nilometer.local.stack.stack import Stack


@pytest.fixture
def nilometer_fake() -> FakeStack:
    """A stack in memory for one test."""
    return FakeStack()


@pytest.fixture(scope="session")
def nilometer_stack() -> Iterator[Stack]:
    """A whole stack on this machine for the session, on free ports; `Client()` finds it. Needs `nilometer[local]`."""
    from nilometer.local.stack.stack import Options, stack  # noqa: PLC0415  # the fake needs none of it

    with stack(Options(port=0, aws_port=0)) as running:
        yield running
