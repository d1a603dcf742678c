"""A register as an item of `records` and back: one kilobyte in most cases, because a write is billed by the kilobyte.

The evidence is one compressed JSON document; beside it stands, readable, what it comes to.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nilometer.domain.store import keys
from nilometer.domain.store.times import from_epoch, rfc3339
from nilometer.domain.store.writes import Item, Key, new_item
from nilometer.domain.stripe import payload
from nilometer.domain.stripe.event import Scope
from nilometer.domain.stripe.fetchable import fetchable
from nilometer.domain.stripe.registers.register import Element, Register, Seen
from nilometer.domain.stripe.registers.resolve import Resolution, resolve

REFETCH_INDEX = "REFETCH"  # gsi1pk of the registers in doubt; gsi1sk is when to fetch
REFETCH_DELAY = 2  # seconds past the doubtful second: what is still on its way may settle it


def pack(register: Register) -> bytes:
    """Equal registers give equal bytes. Older seconds are flat rows, the newest has its ids, types and states."""
    full = [element for element in register.elements if element.state is not None]
    document = {
        "e": [[e.second, e.key, e.rank, int(e.terminal), e.post, e.pre] for e in register.elements],
        "i": [[e.id, e.type] for e in full],
        "s": {element.post: element.state for element in full},
        "p": [[start, seen.second, seen.end] for start, seen in sorted(register.periods.items())],
    }
    return payload.pack(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())


def unpack(evidence: bytes) -> Register:
    """The inverse of `pack`. Only elements of the newest second have an id, a type and a state."""
    return unpacked(json.loads(payload.unpack(evidence)))


def unpacked(document: Mapping[str, Any]) -> Register:
    """A register from the document that its evidence is, also from one that is redacted."""
    newest = _newest_seconds(document["e"])
    named = iter(document["i"])
    elements = []
    for second, key, rank, terminal, post, pre in document["e"]:
        id_, type_, state = "", "", None
        if second == newest[terminal]:
            (id_, type_), state = next(named), document["s"][post]
        elements.append(
            Element(
                key=key,
                second=second,
                rank=rank,
                terminal=bool(terminal),
                post=post,
                pre=pre,
                id=id_,
                type=type_,
                state=state,
            )
        )
    periods = {start: Seen(second, end) for start, second, end in document["p"]}
    return Register(tuple(elements), dict(sorted(periods.items(), reverse=True)))


def _newest_seconds(rows: Iterable[Sequence[Any]]) -> dict[int, int]:
    """Of live (0) and terminal (1) elements; rows come newest first."""
    newest: dict[int, int] = {}
    for second, _, _, terminal, *_ in rows:
        newest.setdefault(terminal, second)
    return newest


def register_of(item: Item | None) -> Register:
    """An empty register when nothing is stored."""
    return unpack(item["evidence"]) if item else Register()


def register_item(
    key: Key,
    register: Register,
    resolution: Resolution,
    *,
    scope: Scope,
    version: int,
    cause: str,
    updated_at: str,
) -> Item:
    """`resolution` is what `register` comes to: it stands, readable, beside the evidence."""
    return new_item(
        key,
        "register",
        version,
        updated_at=updated_at,
        cause=cause,
        account=scope.account,
        livemode=scope.livemode,
        **_summary(resolution),
        evidence=pack(register),
        **_due(resolution),
    )


def object_of(item: Item) -> dict[str, Any]:
    """The Stripe object as known: for `billing objects`."""
    resolution = resolve(register_of(item))
    state: Mapping[str, Any] = resolution.state if resolution else {}
    known = {"id": state.get("customer"), "customer": None, "status": None, **state}  # a summary has no id
    return {
        **known,
        "deleted": bool(state.get("deleted")),
        "account": item["account"],
        "livemode": item["livemode"],
        "ambiguous": bool(resolution and resolution.ambiguous),
        "as_of": resolution.second if resolution else None,
        "version": item["version"],
    }


def register_key(scope: Scope, object_type: str, object_id: str, customer_id: str | None) -> Key:
    """With its customer only when the object can never have another one, so that its key never changes."""
    owner = customer_id if object_type in OWNED else None
    return keys.register(scope.account, scope.livemode, object_type, object_id, owner)


OWNED = frozenset(
    {
        "customer",
        "subscription",
        "invoice",
        "subscription_schedule",
        "entitlements.active_entitlement_summary",
        "payment_method",
        "billing.credit_grant",
        "credit_note",
    }
)


def _summary(resolution: Resolution) -> dict[str, Any]:
    state = resolution.state
    summary = {
        "object_type": state["object"],
        "object_id": state.get("id"),
        "customer_id": state.get("customer"),
        "status": state.get("status"),
        "deleted": True if resolution.deleted else None,
        "ambiguous": True if resolution.ambiguous else None,
    }
    return {name: value for name, value in summary.items() if value is not None}


def _due(resolution: Resolution) -> dict[str, str]:
    """Coalesced by nature: one object, one place in the index, gone when nothing is in doubt or left out."""
    if not (resolution.ambiguous or resolution.state.get("has_more")) or not fetchable(
        str(resolution.state.get("object"))
    ):
        return {}
    return {"gsi1pk": REFETCH_INDEX, "gsi1sk": rfc3339(from_epoch(resolution.second + REFETCH_DELAY))}
