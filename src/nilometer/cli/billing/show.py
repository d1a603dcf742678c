"""`nilometer billing show`: what one workspace has, until when, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import json_option, note, out, print_json, table
from nilometer.domain.store.times import from_epoch
from nilometer.flows.billing.reading import show_billing


@click.command()
@click.argument("workspace", metavar="W")
@stack_options
@json_option
def show(connection: Connection, workspace: str, as_json: bool) -> int:
    """What workspace W has, until when, and why: plan, access, seats, limits, period, payments, features.

    --json prints the whole record. Exit code 1 when Stripe told nothing of W.

    \b
    Example:
      nilometer billing show acme --json | jq '{plan, access, limits}'
    """
    found = show_billing(connection.store(), workspace, now=connection.now)
    if found is None:
        note(f"Stripe told nothing of {workspace}; `nilometer billing list` names customers without a workspace")
        return 1
    if as_json:
        print_json(found)
        return 0
    out().print(table(["", f"~{workspace}"], ((name, text) for name, text in lines(found) if text)))
    if found["limit_rules"]:
        out().print(table(["meter", ">included", "~rule"], _limits(found["limit_rules"])))
    return 0


def lines(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Label and text, the most asked first; an empty text has nothing to say."""
    yield "plan", found["plan"] or "none"
    yield "access", f"{found['access']}: the subscription is {found['status']}"
    yield "seats", _plain(found["seats"])
    yield "period", _span(found["current_period_start"], found["current_period_end"])
    yield "trial", _span(found["trial_start"], found["trial_end"])
    yield "ends", _end(found)
    yield "paused", _fields(found["pause"])
    yield "then", _change(found["scheduled_change"])
    yield "unpaid", ", ".join(str(invoice["id"]) for invoice in found["open_invoices"] or ())
    yield "dunning", _fields(found["dunning"])
    yield "pays by", _fields(found["payment_method"])
    yield "risk", _fields(found.get("risk"))
    yield "features", ", ".join(found["features"] or ())
    yield "customers", ", ".join(found["customers"])
    yield from _doubts(found)
    yield "because of", _because(found)


def _doubts(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What may be wrong, and what to do."""
    conflicts = [one["customer"] for one in found.get("conflicts", ())]
    yield "test mode", "nothing of this is paid with real money" if found["mode"] == "test" else ""
    yield "add-ons", _listed(found.get("add_ons"), "their limits and seats are added to the base's")
    yield "payers", _listed(found.get("payers"), "all count; `nilometer billing link` moves one elsewhere")
    yield "conflicts", _listed(conflicts, "they do not count; see `nilometer billing conflicts`")
    yield "in doubt", _listed(found.get("in_doubt"), "Stripe will be asked; at once: `nilometer reconcile`")
    yield "incomplete", _listed(found.get("incomplete"), "an event shows no more; `nilometer reconcile` lists the rest")
    unread = [f"{name} ({', '.join(fields)})" for name, fields in found.get("unreadable", {}).items()]
    yield "unreadable", _listed(unread, "these fields count as absent; correct them at Stripe")
    yield "limits?", _listed(found.get("unreadable_limits"), "cannot be read; correct the metadata at Stripe")


def _listed(names: Iterable[str] | None, advice: str) -> str:
    """Nothing when there are no names."""
    return f"{', '.join(names)}: {advice}" if names else ""


def _because(found: Mapping[str, Any]) -> str:
    subscription = found["subscription"]
    return f"{subscription or 'no subscription'}, last changed by {found['cause']} at {found['updated_at']}"


def _end(found: Mapping[str, Any]) -> str:
    if found["ended_at"]:
        return f"ended on {_day(found['ended_at'])}"
    if not found["cancel_at"]:
        return ""
    return f"on {_day(found['cancel_at'])}" + (", the period's end" if found["cancel_at_period_end"] else "")


def _change(change: Mapping[str, Any] | None) -> str:
    if not change:
        return ""
    items = ", ".join(f"{_plain(item.get('quantity'))} of {item.get('price')}" for item in change.get("items", ()))
    return f"from {_day(change['start'])}: {items}"


def _limits(rules: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for meter, rule in rules.items():
        included = rule.get("included")
        others = {name: value for name, value in rule.items() if name not in {"included", "version"} and value}
        yield meter, "unlimited" if included is None else f"{included:,}", _fields(others)


def _fields(value: Mapping[str, Any] | None) -> str:
    told = {name: one for name, one in (value or {}).items() if one not in (None, "", [], {})}
    return ", ".join(f"{name} {_moment(name, one)}" for name, one in told.items())


def _moment(name: str, value: Any) -> str:
    dated = name in {"since", "next_attempt", "resumes_at"}
    return _day(value) if dated else str(value)


def _span(start: Any, end: Any) -> str:
    return f"{_day(start)} to {_day(end)}" if start and end else ""


def _day(seconds: Any) -> str:
    return f"{from_epoch(int(seconds)):%Y-%m-%d}"


def _plain(value: Any) -> str:
    return "" if value is None else str(value)
