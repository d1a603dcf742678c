"""A workspace's own limits: overrides of what its plan says, and grants that add to it.

    plan ──▶ override, field by field ──▶ + grants ──▶ limit

Each may end by itself. Whoever reads a limit lays them over the plan's at that moment, so an end needs no job.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from nilometer.domain.limits.plan import Limit, versioned
from nilometer.domain.store.times import parse_rfc3339
from nilometer.domain.store.writes import Item

KIND = "limits"
AMOUNTS = ("included", "soft", "hard")
_ENDS = ("ends_at", "ends")

EntryFields = dict[str, tuple[Any, str | None]]
"""Value and end of each field of an own limit."""


def fields_of(entry: Mapping[str, Any]) -> EntryFields:
    """Of an entry as it is stored."""
    ends, end = entry.get("ends", {}), entry.get("ends_at")
    return {field: (value, ends.get(field, end)) for field, value in entry.items() if field not in _ENDS}


def rules(plan: Mapping[str, Limit] | None, own: Item | None, now: datetime) -> dict[str, Limit]:
    """`limit_rules` of a billing record with the workspace's own limits of this moment, by meter.

    A grant adds to what is limited; where nothing limits there is nothing to add to.
    """
    found = dict(plan or {})
    grants: dict[str, Decimal] = {}
    for meter, grant, entry in _entries(own):
        content = {field: value for field, (value, end) in fields_of(entry).items() if not _is_over(end, now)}
        if grant:
            grants[meter] = grants.get(meter, Decimal(0)) + content.get("amount", 0)
        elif content:
            found[meter] = versioned({**_bare(found.get(meter, {})), **content}, "override")
    for meter in grants.keys() & found.keys():
        if grants[meter]:
            found[meter] = _granted(found[meter], grants[meter])
    return found


def _is_over(end: str | None, now: datetime) -> bool:
    return end is not None and now >= parse_rfc3339(end)


def shown(own: Item | None) -> Iterator[dict[str, Any]]:
    """Every override and grant, also those that have ended; fields that end at another time than others are apart."""
    for meter, grant, entry in _entries(own):
        fields = fields_of(entry)
        for end in sorted({end for _, end in fields.values()}, key=str):
            content = {field: value for field, (value, ends) in fields.items() if ends == end}
            yield {"meter": meter, "grant": grant or None, **content, "ends_at": end}


def _entries(own: Item | None) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(meter, grant, entry) each, an override with an empty grant before the grants of its meter."""
    for name, entry in sorted((own or {}).get("own_limits", {}).items()):
        meter, _, grant = name.partition("/")
        yield meter, grant, entry


def _granted(rule: Limit, amount: Decimal) -> Limit:
    raised = {name: rule[name] + amount for name in AMOUNTS if rule.get(name) is not None}
    return versioned({**_bare(rule), **raised}, "grant") if raised else rule


def _bare(rule: Limit) -> dict[str, Any]:
    return {name: value for name, value in rule.items() if name not in {"source", "version"}}
