"""`nilometer usage outbox`: usage that Stripe's meters have not got yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import click

from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import json_option, note, print_rows
from nilometer.flows.usage import metering


@click.command()
@click.option("--sent", metavar="IDENTIFIER", help="You checked: Stripe has it.")
@click.option("--send-again", metavar="IDENTIFIER", help="You checked: Stripe does not have it.")
@stack_options
@json_option
def outbox(connection: Connection, sent: str | None, send_again: str | None, as_json: bool) -> None:
    """Usage that is not reported to Stripe's meters in full yet; the hourly run sends it.

    A delta that could not be sent for 23 hours waits until a person has searched for its identifier at Stripe. So does
    one that Stripe accepted but could not count, by its report of meter errors: `refused` is Stripe's code. Remove the
    cause, then send it again: it is part of the next delta of its counter, once.

    \b
    Examples:
      nilometer usage outbox --json | jq -r 'select(.pending) | [.identifier, .since] | @tsv'
      nilometer usage outbox --json | jq -r 'select(.refused) | [.identifier, .refused] | @tsv'
      nilometer usage outbox --send-again 2fd4e1c67a2d28fced849ee1bb76e7391b93eb12
    """
    store = connection.store()
    if sent and send_again:
        raise click.UsageError("--sent or --send-again, not both")
    if identifier := sent or send_again:
        metering.decide(store, identifier, is_at_stripe=sent is not None, now=connection.now)
        note(f"{identifier} {'is sent' if sent else 'is sent again by the next run'}")
        return
    columns = ("workspace", "meter", "period_start", ">sent", ">pending", "identifier", "since", "refused")
    rows = [row for item in metering.outbox(store) for row in _rows(item)]
    print_rows(columns, rows, as_json=as_json, empty="Stripe's meters have it all")


def _rows(item: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The counter with the delta that is pending, then each delta that Stripe refused."""
    named = {name: item[name] for name in ("meter", "period_start")}
    of = {"workspace": item["workspace_id"], **named, "sent": _plain(item["sent"])}
    pending, refused = item.get("pending"), item.get("refused", {})
    if pending or item["changed"] or not refused:
        amount, identifier = (_plain(pending["value"]), pending["identifier"]) if pending else (None, None)
        yield {**of, "pending": amount, "identifier": identifier, "since": item.get("pending_since"), "refused": None}
    for identifier, one in sorted(refused.items()):
        amount = _plain(one["value"])
        yield {**of, "pending": amount, "identifier": identifier, "since": one["at"], "refused": one["code"]}


def _plain(amount: Any) -> str:
    """A decimal string: no reader rounds it."""
    return format(Decimal(amount).normalize(), "f")
