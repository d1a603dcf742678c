"""`nilometer usage`: publish usage, and see what was counted."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

import click

from nilometer.aws.eventbridge import BusEntry
from nilometer.cli.terminal.caller import SOURCE
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import json_option, note, out, print_json, styled, table
from nilometer.cli.terminal.rejects import rejects
from nilometer.cli.terminal.times import time_option
from nilometer.cli.usage.corrections import recount, void
from nilometer.cli.usage.lines import send_lines
from nilometer.cli.usage.meter import show_meters
from nilometer.cli.usage.outbox import outbox
from nilometer.domain.store import keys
from nilometer.domain.store.times import parse_rfc3339, rfc3339
from nilometer.domain.store.ulid import ulid
from nilometer.domain.store.writes import Table
from nilometer.domain.usage.event import RECORDED, SNAPSHOT, parse_quantity
from nilometer.domain.usage.meter import GAUGES, Meter, meter_of
from nilometer.errors import Rejected
from nilometer.flows.recovery.overview import MeterUsage, usage_of

if TYPE_CHECKING:
    from rich.text import Text

_STYLES = {"ok": "green", "warning": "yellow", "grace": "yellow"}


@click.group(cls=SectionedGroup)
def usage() -> None:
    """Publish usage events, see what was counted, correct it."""


for command in (void, rejects("usage", "Rejected usage"), recount, outbox):
    usage.add_command(command)


@usage.command()
@click.argument("file", required=False, type=click.File("rb"))
@click.option("--workspace", metavar="W")
@click.option("--meter", "slug", metavar="M")
@click.option("--quantity", help="A decimal number, exact.")
@click.option("--id", "event_id", help="The event's id: the same id counts once. A new one unless given.")
@click.option("--time", "at", help="When it happened, RFC 3339; now unless given.")
@click.option("--dimension", "dimensions", multiple=True, metavar="K=V", help="Declared by the meter; repeatable.")
@click.option("--unit", help="Of the quantity; the meter's unless given. With it, the meter is not looked up.")
@stack_options
@json_option
def send(
    connection: Connection,
    *,
    file: IO[bytes] | None,
    workspace: str | None,
    slug: str | None,
    quantity: str | None,
    event_id: str | None,
    at: str | None,
    dimensions: tuple[str, ...],
    unit: str | None,
    as_json: bool,
) -> int:
    """Publish one usage event on the bus, or those of FILE (- is stdin), one CloudEvent as JSON a line.

    A meter with aggregation max or latest gets a snapshot. A line that is not a valid event is reported by its number
    and skipped; the others are sent, and the exit code is 1. A file that is sent twice counts once.

    \b
    Examples:
      nilometer usage send --workspace acme --meter api_calls --quantity 12 --id req_42
      zcat usage.ndjson.gz | nilometer usage send -
    """
    given = {"--workspace": workspace, "--meter": slug, "--quantity": quantity}
    others = (event_id, at, unit, *dimensions)
    if file is not None:
        if any(one is not None for one in (*given.values(), *others)):
            raise click.UsageError("the lines of FILE say everything; leave the other options out")
        return send_lines(connection.bus(), file, as_json=as_json)
    if workspace is None or slug is None or quantity is None:
        missing = ", ".join(name for name, value in given.items() if value is None)
        raise click.UsageError(f"say {missing}, or a FILE of events")
    _send_one(
        connection,
        workspace,
        slug,
        quantity=quantity,
        event_id=event_id,
        at=at,
        dimensions=dimensions,
        unit=unit,
        as_json=as_json,
    )
    return 0


def _send_one(
    connection: Connection,
    workspace: str,
    slug: str,
    *,
    quantity: str,
    event_id: str | None,
    at: str | None,
    dimensions: tuple[str, ...],
    unit: str | None,
    as_json: bool,
) -> None:
    parse_quantity(quantity)
    meter = None if unit else _meter(connection, slug)
    event = {
        "specversion": "1.0",
        "id": event_id or ulid(connection.now, secrets.token_bytes(10)),
        "source": SOURCE,
        "type": SNAPSHOT if meter and _is_gauge(meter) else RECORDED,
        "subject": workspace,
        "time": rfc3339(_time(at)),
        "data": {
            "meter": slug,
            "quantity": quantity,
            "unit": meter.unit if meter else unit,
            "dimensions": dict(_pair(dimension) for dimension in dimensions),
        },
    }
    connection.bus().publish([BusEntry(source=SOURCE, detail_type=str(event["type"]), detail=json.dumps(event))])
    if as_json:
        print_json(event)
    else:
        note(f"{event['type']} {event['id']} published")


@usage.command()
@stack_options
@json_option
def meters(connection: Connection, as_json: bool) -> None:
    """Every meter; the same as `nilometer meter list`.

    \b
    Example:
      nilometer usage meters --json | jq -r '[.meter, .unit] | @tsv'
    """
    show_meters(connection, as_json=as_json)


@usage.command()
@click.argument("workspace", metavar="W")
@time_option("--at", help="In the billing period of this time; now unless given.")
@stack_options
@json_option
def show(connection: Connection, workspace: str, at: datetime | None, as_json: bool) -> None:
    """What workspace W has used in its current billing period, against its limits.

    A period is closed 72 hours after its end. Usage that arrives later still counts in it, and is its late_delta.

    \b
    Examples:
      nilometer usage show acme --json | jq '.meters[] | {meter, used, limit}'
      nilometer usage show acme --at 2026-10-31
    """
    now = connection.now
    found = usage_of(connection.store(), workspace, now=now, at=at)
    if as_json:
        meters = [as_plain(meter) for meter in found.meters]
        waiting = {"waiting": found.waiting, "waiting_for_meters": found.waiting_for_meters}
        print_json({"workspace": workspace, "known": found.known, **waiting, "meters": meters})
        return
    if found.meters:
        out().print(usage_table(((workspace, meter) for meter in found.meters), title=_title(found.meters[0], now)))
        for meter in found.meters:
            if meter.late_count or meter.late_delta:
                note(f"{meter.meter}: {_late(meter)} arrived after the period was closed")
            if meter.stale:
                note(f"{meter.meter}: usage was voided; to count it again: nilometer usage recount {workspace} --apply")
    for slug, count in found.waiting_for_meters.items():
        note(f"{count} events wait until meter {slug} exists, a day at most; nilometer meter create {slug} --unit ...")
    if found.waiting:
        note(f"{found.waiting} events wait until the workspace is known; nilometer workspace create {workspace}")
    elif not found.meters:
        note(f"nothing was counted for {workspace} in {'that' if at else 'the current'} period")


def as_plain(meter: MeterUsage) -> dict[str, Any]:
    """`used` and `limit` are decimal strings: no reader rounds them."""
    return {
        "meter": meter.meter,
        "used": format(meter.used, "f"),
        "unit": meter.unit,
        "count": meter.count,
        "limit": None if meter.limit is None else format(meter.limit, "f"),
        "hard": None if meter.hard is None else format(meter.hard, "f"),
        "state": meter.state,
        "period_start": meter.period_start,
        "period_end": meter.period_end,
        "closed": meter.closed,
        "late_delta": None if meter.late_delta is None else format(meter.late_delta, "f"),
        "late_count": meter.late_count,
        "stale": meter.stale,
    }


def usage_table(rows: Any, *, title: str | None = None) -> Any:
    """(workspace, MeterUsage) with a bar each."""
    lines = ((workspace, *_gauge(meter)) for workspace, meter in rows)
    return table(["workspace", "meter", ">used", ">limit", "of limit", "until"], lines, title=title)


def _gauge(meter: MeterUsage) -> tuple[object, ...]:
    limit = "" if meter.limit is None else format(meter.limit, ",f")
    if meter.hard is not None and meter.hard != meter.limit:
        limit = f"{limit} (hard {meter.hard:,f})"
    return meter.meter, format(meter.used, ",f"), limit, bar(meter), meter.period_end[:10]


def _title(meter: MeterUsage, now: datetime) -> str:
    """Period and reset, in UTC: a period may begin at any second."""
    start, end = (text[:19].replace("T", " ") for text in (meter.period_start, meter.period_end))
    if meter.closed:
        return f"{start} – {end} UTC, closed"
    return f"{start} – {end} UTC, {'resets' if meter.period_end > rfc3339(now) else 'was reset'} at {end} UTC"


def _late(meter: MeterUsage) -> str:
    events = f"{meter.late_count:,} events"
    return events if meter.late_delta is None else f"{meter.late_delta:,f} in {events}"


def bar(meter: MeterUsage, width: int = 12) -> Text:
    """How much of the binding limit is used, as a bar and in percent."""
    from rich.text import Text

    if not meter.binding:
        return styled("no limit", "dim") if meter.binding is None else styled("none included", "red")
    part = meter.used / meter.binding
    full = min(width, round(part * width))
    style = _STYLES.get(meter.state, "red")
    return Text.assemble(("━" * full, style), ("─" * (width - full), "dim"), f" {round(part * 100)} %")


def _meter(connection: Connection, slug: str) -> Meter:
    item = connection.store().get(Table.RECORDS, keys.meter(slug))
    if item is None:
        raise Rejected("unknown_meter", f"there is no meter {slug!r}; create it with `nilometer meter create {slug}`")
    return meter_of(item)


def _is_gauge(meter: Meter) -> bool:
    return meter.aggregation in GAUGES


def _time(text: str | None) -> datetime:
    return parse_rfc3339(text) if text else datetime.now(UTC)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.BadParameter(f"{text!r} is not K=V", param_hint="--dimension")
    return name, value
