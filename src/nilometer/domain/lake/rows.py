"""Facts as rows of the lake: every column but those that the writer stamps."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from nilometer.domain.lake import redaction
from nilometer.domain.store import keys
from nilometer.domain.store.times import rfc3339_of
from nilometer.domain.store.writes import Item

_STRIPE_TEXTS = ("object_type", "object_id", "customer_id", "workspace_id", "request_id", "api_version")

_QUOTED = re.compile(r"""(['"]).*(?:['"]|(?=…\Z))""", re.DOTALL)  # to the last quote, or to where it was cut off
_ID = re.compile(r"[!-?A-~]*\Z")  # one word of ASCII without an @


def stripe_event_row(fact: Item) -> dict[str, Any]:
    """Without `payload` and `payload_ref`, which the flow adds. `KeyError` when the fact is none."""
    created = int(fact["created"])
    return {
        "event_id": fact["event_id"],
        "type": fact["type"],
        "account": fact.get("account") or "self",
        "livemode": bool(fact["livemode"]),
        "created": created,
        "created_at": rfc3339_of(created),
        **{name: fact.get(name) for name in _STRIPE_TEXTS},
        "source": fact["source"],
        "received_at": fact["received_at"],
    }


def usage_row(fact: Item) -> dict[str, Any]:
    """`KeyError` when the fact is none."""
    return {
        "event_id": fact["event_id"],
        "source": fact["source"],
        "type": fact["type"],
        "workspace_id": fact["workspace_id"],
        "meter": fact["meter"],
        "quantity": _decimal(fact["quantity"]),
        "unit": fact.get("unit"),
        "dimensions": _dimensions(fact.get("dimensions")),
        "time": fact["time"],
        "created": int(fact["created"]),
        "period_start": fact.get("period_start"),
        "voids_source": fact.get("voids_source"),
        "voids_id": fact.get("voids_id"),
        "received_at": fact["received_at"],
    }


def reject_announcement(reject: Item) -> dict[str, Any]:
    """What subscribers may know of a reject: never its payload, which may hold anything, also not what the message
    quotes of it but ids; of what the sender chose no address."""
    given = {name: reject.get(name) for name in ("flow", "reason", "received_at")}
    chosen = {name: _chosen(reject.get(name)) for name in ("event_id", "source", "workspace_id")}
    return {"reject_id": reject["sk"], "message": _announced(reject), **given, **chosen}


def reject_image(reject: Item) -> dict[str, Any]:
    """What the lake keeps of a reject, longer than the 40 days of the reject itself."""
    known = {"kind": "reject", "cause": reject.get("event_id"), **reject_announcement(reject)}
    return {name: value for name, value in known.items() if value is not None}


def _announced(reject: Item) -> str:
    """The message without texts of the payload that are no ids, and without anything between its first and its last
    quotation mark, for what is quoted may hold some itself. A payload in the bucket is not read: nothing is said."""
    payload = reject.get("payload")
    if not isinstance(payload, str):
        return redaction.REDACTED
    message = str(reject.get("message", ""))
    try:
        parsed = json.loads(payload, object_pairs_hook=list, parse_int=str, parse_float=str)
        texts = {one for one in _texts(parsed) if not _ID.match(one) and any(map(str.isalnum, one))}
    except (ValueError, RecursionError):
        texts = set()  # no JSON: nothing was read in it that could be quoted
    for one in sorted(texts | set(map(keys.part, texts)), key=len, reverse=True):
        message = message.replace(one, "…")
    return redaction.text(_QUOTED.sub(r"\1…\1", message))


def _texts(value: Any) -> Iterator[str]:
    """Names and values, of an object as pairs."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)


def _chosen(name: str | None) -> str | None:
    return None if name is None else redaction.id_text(name)


def _decimal(quantity: int | Decimal) -> str:
    return format(Decimal(quantity), "f")


def _dimensions(dimensions: Mapping[str, str] | None) -> dict[str, str] | None:
    return dict(sorted(dimensions.items())) if dimensions else None
