"""The commands `rejects` of `nilometer usage` and `nilometer datasets`: what a flow refused for good, and why."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import click

from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import json_option, print_rows
from nilometer.cli.terminal.times import time_option
from nilometer.domain.store.writes import Item
from nilometer.flows.inbox.rejects import listed

_COLUMNS = ("received_at", "reason", "source", "event_id", "workspace", "~message")
_HELP = """{what}, newest day first: kept for 40 days.

A corrected version may be sent with the same id.

\b
Example:
  nilometer {flow} rejects --since 2026-11-20 --json | jq -r '[.reason, .source, .event_id] | @tsv'
"""


def rejects(flow: str, what: str) -> click.Command:
    """The command `rejects` of the group `flow`."""

    @click.command(name="rejects", help=_HELP.format(what=what, flow=flow))
    @time_option("--since", help="From the UTC day of this time on; the last 7 days unless given.")
    @click.option("--payload", "with_payload", is_flag=True, help="Show the rejected payload as it arrived.")
    @stack_options
    @json_option
    def command(connection: Connection, since: datetime | None, with_payload: bool, as_json: bool) -> None:
        now = connection.now
        kept = listed(connection.store(), flow, since=since or now - timedelta(days=7), now=now)
        rows = [_shown(connection, item, with_payload) for item in kept]
        columns = (*_COLUMNS, *(["~payload"] if with_payload else []))
        print_rows(columns, rows, as_json=as_json, empty="nothing was refused")

    return command


def _shown(connection: Connection, item: Item, with_payload: bool) -> dict[str, Any]:
    names = {"workspace": "workspace_id"}
    shown = {name: item.get(names.get(name, name)) for name in (column.lstrip("~") for column in _COLUMNS)}
    if with_payload:
        claim = item.get("claim")
        shown["payload"] = connection.objects().get(claim).decode() if claim else item["payload"]
    return shown
