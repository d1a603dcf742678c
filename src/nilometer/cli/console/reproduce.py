"""`nilometer reproduce`: one event of a stack again, in an empty stack on this machine."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from nilometer.aws.dynamodb import Store
from nilometer.aws.eventbridge import Bus
from nilometer.cli.recovery.trace import sources
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import err, json_option, note, out, print_json, styled, table
from nilometer.cli.terminal.signals import signals_interrupt
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Key, Table
from nilometer.errors import Rejected, Unavailable

if TYPE_CHECKING:
    from nilometer.flows.publish.usage import Event
    from nilometer.flows.recovery.reproduce import ReproducedRecord, Scene
    from nilometer.local.stack.stack import Stack

DIFFERENT = 3
IDLE_SECONDS = 120
FACT_SECONDS = 10
FEW = 50  # events for which to start a second worker of the webhook takes longer than to post them one by one
ON_THE_WAY = {"stripe_event": ("WebhookFunction", "BillingFunction"), "usage_event": ("UsageFunction",)}
"""Functions between an event and the records that are compared, by its kind."""


@click.command()
@click.argument("event", metavar="EVENT_ID")
@click.option("--account", metavar="ACCT", help="The connected account at Stripe; your own unless given.")
@click.option("--hold", is_flag=True, help="Keep the local stack running until Ctrl-C.")
@stack_options
@json_option
def reproduce(connection: Connection, event: str, account: str | None, hold: bool, as_json: bool) -> int:
    """Deliver an event of a stack again in an empty local stack, and compare the changes.

    The stack that is asked is only read. A usage event meets the records as the audit had them before its batch; a
    Stripe event comes after all events of its customer and of the catalog that were stored before it. Then each
    record that the audit names is compared, but for versions, times, causes and what is redacted. Exit code 3 when one
    differs.

    \b
    Examples:
      nilometer reproduce evt_1SWfA2KZ9dQ --stack nilometer-prod
      nilometer reproduce "/services/inference#req_42" --stack nilometer-prod --hold
    """
    began = time.monotonic()
    with signals_interrupt(), err().status("reading ...") as told, _starting() as empty:
        from nilometer.flows.recovery.reproduce import effects, scene

        asked = sources(connection)
        known, changed = effects(event, asked, account=account)
        empty.functions.set_result(ON_THE_WAY[known.identity.kind])
        found = scene(known, changed, asked)
        told.update("starting an empty stack ...")
        running = empty.stack.result()
        told.update("delivering ...")
        records = delivered(found, running)
        told.stop()
        _show(found, records, time.monotonic() - began, as_json=as_json)
        if hold:
            _hold(running)
    return 0 if all(one.ok for one in records) else DIFFERENT


@dataclass(frozen=True, slots=True)
class EmptyStack:
    """One that starts in another thread: as soon as `functions` says which run, it is deployed."""

    stack: Future[Stack]
    functions: Future[Collection[str]]


@contextmanager
def _starting() -> Iterator[EmptyStack]:
    """While the other stack is read. Ended before the functions are known it has cost an idle process, and stops."""
    from nilometer.local.stack.stack import Options, beside

    functions: Future[Collection[str]] = Future()
    with ExitStack() as parts, ThreadPoolExecutor(1) as thread:
        options = Options(port=0, aws_port=0)
        starting = thread.submit(parts.enter_context, beside(options, first=functions.result))
        try:
            yield EmptyStack(starting, functions)
        finally:
            functions.cancel()
            wait([starting])


def delivered(found: Scene, running: Stack) -> Sequence[ReproducedRecord]:
    """What came of the event in a stack whose tables are emptied first: where nothing agrees, by the likeliest order.

    An event's fact and what it changes are one transaction: with the facts of all that was delivered the records are
    there, but for what follows later. So until then only the functions on the event's way need run, and what differs at
    the end waits until every function has run and the whole stack is idle.
    """
    from nilometer.flows.recovery.reproduce import compared
    from nilometer.local.stack.idle import await_idle

    first: Sequence[ReproducedRecord] = ()
    for steps in found.orders:
        await_idle(running.status, timeout=IDLE_SECONDS)
        store = _set(found, running)
        for number, bodies in enumerate(steps):
            _post(bodies, running)
            facts = [*_facts(bodies), *(_used(one) for one in found.usage if not number)]
            _await_facts(facts, store, running)
            records = list(compared(found, store))
            if not all(one.ok for one in records) and bodies is steps[-1]:
                running.widen()
                await_idle(running.status, timeout=IDLE_SECONDS)
                records = list(compared(found, store))
            if all(one.ok for one in records):
                return records
        first = first or records
    return first


def _await_facts(facts: Sequence[Key], store: Store, running: Stack) -> None:
    """Or until nothing is on its way: what was refused has none. A few seconds, where something is tried again."""
    deadline = time.monotonic() + FACT_SECONDS
    while len(store.batch_get(Table.EVENTS, facts, consistent=True)) < len(facts) and time.monotonic() < deadline:
        if running.status()["idle"]:
            return
        time.sleep(0.02)


def _facts(bodies: Iterable[bytes]) -> Iterator[Key]:
    """Of what `_post` posts. What is refused today has none."""
    from nilometer.flows.billing.batch import fact_key

    for body in bodies:
        with suppress(Rejected):
            yield fact_key(body)


def _used(event: Event) -> Key:
    return keys.usage_event(event["source"], event["id"])


def _set(found: Scene, running: Stack) -> Store:
    """The tables as they were before the event, and on its way what the bus has of it."""
    from nilometer.flows.publish.usage import publish

    about = running.description
    store = Store(running.client("dynamodb"), records=about.records_table, events=about.events_table)
    for one in Table:
        store.delete_all(one, [Key(str(item["pk"]), str(item["sk"])) for item in store.scan(one)])
    store.put_all(Table.RECORDS, found.items)
    if found.usage:
        publish(Bus(running.client("events"), name=about.bus), found.usage)
    return store


def _post(bodies: Sequence[bytes], running: Stack) -> None:
    from nilometer.local.demo.delivery import CONNECTIONS, WebhookClient

    about = running.description
    webhook = WebhookClient(about.webhook_url, secret=str(about.stripe_secret))
    for delivery in webhook.deliver_all(enumerate(bodies), connections=1 if len(bodies) <= FEW else CONNECTIONS):
        if not delivery.taken:
            raise Unavailable(f"the local webhook answered {delivery.status or 'nothing'}: {delivery.reason}")


def _show(found: Scene, records: Sequence[ReproducedRecord], seconds: float, *, as_json: bool) -> None:
    from nilometer.flows.recovery.reproduce import as_json as plain

    equal = all(one.ok for one in records)
    if as_json:
        print_json({"equal": equal, "seconds": round(seconds, 1), "records": [plain(one) for one in records]})
        return
    out().print(table(["", "kind", "~record", "~differs: audit, here"], map(_row, records)))
    events = len(found.bodies) + len(found.catalog) + len(found.usage)
    note(f"{'equal' if equal else 'different'}: {len(records)} records, {events} events, {seconds:.0f} s")


def _row(one: ReproducedRecord) -> tuple[Any, ...]:
    mark = styled("✓", "green") if one.ok else styled("✗", "red")
    differs = ", ".join(f"{name}: {theirs}, {mine}" for name, (theirs, mine) in one.differs.items())
    return mark, one.kind, f"{one.key.pk} {one.key.sk}", differs


def _hold(running: Stack) -> None:
    running.widen()
    note(f"the stack stays at {running.description.origin} until Ctrl-C; a second terminal can ask it with --port")
    try:
        while not running.failed:
            time.sleep(0.2)
    except KeyboardInterrupt:
        return
