"""Why an object is in the state that it is in: the evidence, the walk, the rule. For `billing explain`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nilometer.domain.store.writes import Item
from nilometer.domain.stripe.registers.register import Element, Register, register_of
from nilometer.domain.stripe.registers.resolve import Resolution, resolve

_SAYS = {
    "single": "the newest second has one state",
    "walk": "the changes of the newest second lead to it",
    "cycle": "the changes of the newest second lead back to where they began",
    "rank": "no change connects the states of the newest second; this one is furthest in life",
    "doubt": "the events leave a doubt; it will be fetched from Stripe",
}


def explain(register: Register) -> dict[str, Any]:
    """`rule`, `because`, `ambiguous`, `state`, and `evidence`: one row an event, newest second first.

    A row names the digests of the state `before` and `after`; `decides` marks the rows of the state. Ids and types
    are known of the newest second alone.
    """
    resolution = resolve(register)
    if resolution is None:
        return {"rule": None, "because": "nothing is known", "ambiguous": False, "state": {}, "evidence": []}
    return {
        "rule": str(resolution.rule),
        "because": _SAYS[resolution.rule] + (", terminal" if _terminal(register, resolution) else ""),
        "ambiguous": resolution.ambiguous,
        "state": dict(resolution.state),
        "evidence": [_row(element, resolution) for element in register.elements],
    }


def _terminal(register: Register, resolution: Resolution) -> bool:
    return any(e.terminal for e in register.elements if e.post == resolution.digest)


def _row(element: Element, resolution: Resolution) -> dict[str, Any]:
    return {
        "second": element.second,
        "event_id": element.id or None,
        "type": element.type or None,
        "before": element.pre,
        "after": element.post,
        "terminal": element.terminal,
        "fetched": element.fetched,
        "decides": element.second == resolution.second and element.post == resolution.digest,
    }


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
