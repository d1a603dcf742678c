"""`nilometer reproduce`: one event of a stack again, in an empty stack on this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from nilometer.cli.recovery.trace import sources
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import err, json_option, note, out, print_json, styled, table
from nilometer.cli.terminal.signals import signals_interrupt
from nilometer.errors import Unavailable

if TYPE_CHECKING:
    from nilometer.flows.recovery.reproduce import ReproducedRecord, Scene
    from nilometer.local.stack.stack import Stack

DIFFERENT = 3
IDLE_SECONDS = 120


@click.command()
@click.argument("event", metavar="EVENT_ID")
@click.option("--account", metavar="ACCT", help="Stripe's connected account; your own unless given.")
@click.option("--hold", is_flag=True, help="Keep the local stack until Ctrl-C, to look at it.")
@stack_options
@json_option
def reproduce(connection: Connection, event: str, account: str | None, hold: bool, as_json: bool) -> int:
    """Deliver an event of a stack again in an empty stack on this machine, and compare what it changes.

    The stack that is asked is only read. A usage event meets the records as the audit had them before its batch; a
    Stripe event comes after all events of its customer and of the catalog that were stored before it. Then each
    record that the audit names is compared, but for versions, times, causes and what is redacted. Exit code 3 when one
    differs.

    \b
    Examples:
      nilometer reproduce evt_1SWfA2KZ9dQ --stack nilometer-prod
      nilometer reproduce "/services/inference#req_42" --stack nilometer-prod --hold
    """
    from nilometer.flows.recovery.reproduce import scene
    from nilometer.local.stack.stack import Options, stack

    began = time.monotonic()
    with signals_interrupt(), err().status("reading ...") as told:
        found = scene(event, sources(connection), account=account)
        told.update("starting an empty stack ...")
        with stack(Options(port=0, aws_port=0)) as running:
            told.update("delivering ...")
            records = _delivered(found, running)
            told.stop()
            _show(found, records, time.monotonic() - began, as_json=as_json)
            if hold:
                _hold(running)
    return 0 if all(one.ok for one in records) else DIFFERENT


def _delivered(found: Scene, running: Stack) -> Sequence[ReproducedRecord]:
    """What came of it, once all has arrived."""
    from nilometer.aws.dynamodb import Store
    from nilometer.aws.eventbridge import Bus
    from nilometer.domain.store.writes import Table
    from nilometer.flows.publish.usage import publish
    from nilometer.flows.recovery.reproduce import compared
    from nilometer.local.demo.delivery import WebhookClient
    from nilometer.local.stack.idle import await_idle

    about = running.description
    store = Store(running.client("dynamodb"), records=about.records_table, events=about.events_table)
    store.put_all(Table.RECORDS, found.items)
    webhook = WebhookClient(about.webhook_url, secret=str(about.stripe_secret))
    for delivery in webhook.deliver_all(enumerate(found.bodies)):
        if not delivery.taken:
            raise Unavailable(f"the local webhook answered {delivery.status or 'nothing'}: {delivery.reason}")
    if found.usage:
        publish(Bus(running.client("events"), name=about.bus), found.usage)
    await_idle(running.status, timeout=IDLE_SECONDS)
    return list(compared(found, store))


def _show(found: Scene, records: Sequence[ReproducedRecord], seconds: float, *, as_json: bool) -> None:
    from nilometer.flows.recovery.reproduce import as_json as plain

    equal = all(one.ok for one in records)
    if as_json:
        print_json({"equal": equal, "seconds": round(seconds, 1), "records": [plain(one) for one in records]})
        return
    out().print(table(["", "kind", "~record", "~differs: audit, here"], map(_row, records)))
    delivered = len(found.bodies) + len(found.usage)
    note(f"{'equal' if equal else 'different'}: {len(records)} records, {delivered} events, {seconds:.0f} s")


def _row(one: ReproducedRecord) -> tuple[Any, ...]:
    mark = styled("✓", "green") if one.ok else styled("✗", "red")
    differs = ", ".join(f"{name}: {theirs}, {mine}" for name, (theirs, mine) in one.differs.items())
    return mark, one.kind, f"{one.key.pk} {one.key.sk}", differs


def _hold(running: Stack) -> None:
    note(f"the stack stays at {running.description.origin} until Ctrl-C; a second terminal can ask it with --port")
    try:
        while not running.failed:
            time.sleep(0.2)
    except KeyboardInterrupt:
        return
