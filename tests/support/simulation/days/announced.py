"""What subscribers can rely on after a day: each change was announced once, and all together are the state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tests.support.simulation.scopes.usage.counting import law

from nilometer.domain.billing.record.changes import BILLING_EVENTS, INVOICE_FIELDS
from nilometer.domain.lake.exact import texts
from nilometer.domain.lake.redaction import image
from nilometer.domain.limits.reached import LIMIT_BLOCKED, THRESHOLD_REACHED
from nilometer.domain.store.writes import Item, Table

INVOICE = "billing.invoice_changed.v1"
WHOLE = BILLING_EVENTS.keys() - {INVOICE, "billing.payment_failed.v1", "billing.payment_recovered.v1"}
"""Types that tell of every change of their fields."""


def announcements_add_up(announced: Mapping[str, Any], store: Any) -> None:
    """By id; whatever was delivered twice, in another order or after a death."""
    alerts = list(store.scan(Table.RECORDS, kind="alert"))
    limits = [one for one in announced.values() if one["type"] in {THRESHOLD_REACHED, LIMIT_BLOCKED}]
    law(len(limits) == len(alerts), f"{len(alerts)} alerts, announced were {[one['id'] for one in limits]}")
    law(all(one["data"]["cause"] for one in limits), f"no cause in {limits}")
    records = {item["workspace_id"]: item for item in store.scan(Table.RECORDS, kind="billing")}
    chains = _chains(announced.values())
    for place in chains.keys() | set(_places(records)):
        workspace, type_, invoice = place
        told: dict[str, Any] = dict.fromkeys(BILLING_EVENTS[type_])
        for event in chains.get(place, ()):
            law(_same(event["data"]["before"], told), f"{type_} of {workspace}: {event} after {told}")
            told = event["data"]["after"]
        law(_same(told, _now(records[workspace], type_, invoice)), f"{type_} of {workspace}: told {told}")


def _places(records: Mapping[str, Item]) -> Iterator[tuple[str, str, str]]:
    """What each record has to tell of: every type, and every open invoice."""
    for workspace, record in records.items():
        if workspace:
            yield from ((workspace, type_, "") for type_ in WHOLE)
            yield from ((workspace, INVOICE, one["id"]) for one in record.get("open_invoices", ()))


def _chains(events: Iterable[Any]) -> dict[tuple[str, str, str], list[Any]]:
    """Of each workspace, type and invoice, by the record's version in the id."""
    found: dict[tuple[str, str, str], list[Any]] = defaultdict(list)
    for event in events:
        if event["type"] in WHOLE | {INVOICE} and not event["id"].startswith("own:"):
            invoice = event["id"].partition(f":{INVOICE}:")[2]
            found[event["subject"], event["type"], invoice].append(event)
    for chain in found.values():
        chain.sort(key=lambda event: int(event["id"].removeprefix(f"{event['subject']}:").partition(":")[0]))
    return found


def _now(record: Item, type_: str, invoice: str) -> Any:
    if type_ != INVOICE:
        return texts(image({name: record.get(name) for name in BILLING_EVENTS[type_]}))
    found = next((one for one in record.get("open_invoices", ()) if one["id"] == invoice), None)
    return {"invoice": found and {name: texts(found.get(name)) for name in INVOICE_FIELDS}}


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """A record that is not there yet has nothing: equal to an empty one. Of a card, what may be told."""
    return {name: _bare(value) for name, value in one.items()} == {name: _bare(value) for name, value in other.items()}


def _bare(value: Any) -> Any:
    if isinstance(value, dict) and "exp_month" in value:
        value = {name: value.get(name) for name in ("id", "type")}
    return None if value in ({}, [], "none", False) else value
