"""What a shell may complete beyond names of commands and options: workspaces, event types, recipes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

import click

from nilometer.cli.terminal.connection import on_this_machine

_Complete = Callable[[click.Context, click.Parameter, str], list[str]]
MOST = 200  # values: more help nobody to choose


def among(values: Callable[[], Iterable[str]]) -> _Complete:
    """Completes to those of `values` that begin with what was typed; to none when they cannot be read."""

    def complete(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
        with contextlib.suppress(Exception):  # a shell shows no error while it completes
            return [value for value in values() if value.startswith(typed)][:MOST]
        return []

    return complete


def _workspaces() -> Iterable[str]:
    """Of the local stack: completing must not ask an account on AWS."""
    found = on_this_machine(None, None).store().every("workspace")
    return sorted(str(item["workspace_id"]) for item in found)


workspace_ids = among(_workspaces)
