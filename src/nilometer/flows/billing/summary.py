"""What one workspace has, in sentences for people: for `nilometer billing show` and the console."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nilometer.domain.store.times import from_epoch


def lines(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Label and text, the most asked first; an empty text has nothing to say."""
    yield "plan", found["plan"] or "none"
    yield "access", f"{found['access']}: the subscription is {found['status']}"
    yield "seats", _plain(found["seats"])
    yield "period", _span(found["current_period_start"], found["current_period_end"])
    yield "trial", _span(found["trial_start"], found["trial_end"])
    yield "ends", _end(found)
    yield "paused", fields_text(found["pause"])
    yield "then", _change(found["scheduled_change"])
    yield "unpaid", ", ".join(str(invoice["id"]) for invoice in found["open_invoices"] or ())
    yield "dunning", fields_text(found["dunning"])
    yield "pays by", _method(found["payment_method"])
    yield "risk", fields_text(found.get("risk"))
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
    yield "in doubt", _listed(found.get("in_doubt"), "Stripe is asked soon; `nilometer reconcile` does it now")
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


def _method(found: Mapping[str, Any] | None) -> str:
    """`card pm_1, expires 8/2030`."""
    known = found or {}
    month, year = known.get("exp_month"), known.get("exp_year")
    named = " ".join(str(known[name]) for name in ("type", "id") if known.get(name))
    rest = fields_text(
        {name: one for name, one in known.items() if name not in {"type", "id", "exp_month", "exp_year"}}
    )
    return ", ".join(filter(None, [named, f"expires {month}/{year}" if month and year else "", rest]))


def fields_text(value: Mapping[str, Any] | None) -> str:
    """Name and value of all that is known, with days for times."""
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
