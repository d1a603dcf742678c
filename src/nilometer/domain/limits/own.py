"""A workspace's own limits: overrides of what its plan says, and grants that add to it.

    plan ──▶ override, field by field ──▶ + grants ──▶ limit

Each may end by itself. Whoever reads a limit lays them over the plan's at that moment, so an end needs no job.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from nilometer.domain.acts.act import checked_id
from nilometer.domain.acts.origin import Origin, check_workspace, field_times, newer, put
from nilometer.domain.limits.plan import OTHERS, Limit, versioned
from nilometer.domain.store import keys
from nilometer.domain.store.times import parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Item, Key, Put
from nilometer.domain.usage.event import parse_quantity
from nilometer.domain.usage.meter import SLUG
from nilometer.errors import Rejected

ENTRIES = 200  # of one workspace, those taken back included: they are read with every check
KIND = "limits"
_AMOUNTS = ("included", "soft", "hard")
_ENDS = ("ends_at", "ends")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnLimit:
    """An override of the meter's rule or, under a `grant`'s id, an amount on top of it.

    `content` is what it says; `None` takes it back. It holds until `ends_at`.
    """

    workspace_id: str
    meter: str
    grant: str | None
    content: Mapping[str, Any] | None
    ends_at: datetime | None = None

    @property
    def key(self) -> Key:
        return keys.limits(self.workspace_id)

    @property
    def name(self) -> str:
        """In the workspace's own limits."""
        return f"{self.meter}/{self.grant}" if self.grant else self.meter


def new_override(
    workspace_id: str, meter: str, rule: Mapping[str, Any] | None, *, ends_at: datetime | None = None
) -> OwnLimit:
    """`rule` has the fields of a limit in the catalog that differ here. `Rejected` says which cannot be."""
    _check(workspace_id, meter)
    content = None if rule is None else _rule(rule)
    return OwnLimit(workspace_id=workspace_id, meter=meter, grant=None, content=content, ends_at=ends_at)


def new_grant(
    workspace_id: str, meter: str, grant: str, amount: str | int | None, *, ends_at: datetime | None = None
) -> OwnLimit:
    """`amount` more than the plan or its override gives; `None` takes the grant back."""
    _check(workspace_id, meter)
    checked_id(grant)
    content = None if amount is None else {"amount": parse_quantity(amount)}
    return OwnLimit(workspace_id=workspace_id, meter=meter, grant=grant, content=content, ends_at=ends_at)


def change(stored: Item | None, said: OwnLimit, *, origin: Origin, now: datetime) -> Put | None:
    """The workspace's own limits with what was said, unless something later was said of the same.

    An override keeps the fields that it does not name, with their ends; each field keeps the stamp of what set it.
    What is taken back leaves its stamp, so that an older event that comes late does not revive it.
    """
    if not newer(stored, {said.name: said.content}, origin):
        return None
    fields, names = _merged(stored, said, origin)
    if not names:
        return None
    times = field_times(stored, names, origin)
    if len({name.partition(".")[0] for name in times}) > ENTRIES:
        raise Rejected("too_large", f"{said.workspace_id} has {ENTRIES} own limits; use the same grants again")
    others = {name: entry for name, entry in (stored or {}).get("own_limits", {}).items() if name != said.name}
    entries = {**others, **({said.name: _entry(fields)} if fields else {})}
    attributes = {"workspace_id": said.workspace_id, "own_limits": entries, "field_times": times}
    return put(said.key, KIND, attributes, stored=stored, origin=origin, now=now)


def _merged(stored: Item | None, said: OwnLimit, origin: Origin) -> tuple[_Fields, list[str]]:
    """The fields that hold after what was said, and the names of the stamps that it leaves."""
    end = rfc3339(said.ends_at) if said.ends_at else None
    given = {field: (value, end) for field, value in (said.content or {}).items()}
    if said.grant:
        return given, [said.name]
    known = _fields((stored or {}).get("own_limits", {}).get(said.name, {}))
    if said.content is None:
        times: Mapping[str, str] = (stored or {}).get("field_times", {})
        later = {field for field in known if times.get(f"{said.name}.{field}", "") > origin.stamp}
        return {field: known[field] for field in later if not origin.insists}, [said.name]
    fresh = newer(stored, {f"{said.name}.{field}": value for field, value in given.items()}, origin)
    return {**known, **{name.partition(".")[2]: value for name, value in fresh.items()}}, list(fresh)


_Fields = dict[str, tuple[Any, str | None]]
"""Value and end of each field of an own limit."""


def _fields(entry: Mapping[str, Any]) -> _Fields:
    ends, end = entry.get("ends", {}), entry.get("ends_at")
    return {field: (value, ends.get(field, end)) for field, value in entry.items() if field not in _ENDS}


def _entry(fields: _Fields) -> dict[str, Any]:
    """One end as `ends_at`; `ends` by field where they differ."""
    values = {field: value for field, (value, _) in fields.items()}
    ends = {field: end for field, (_, end) in fields.items() if end}
    if len(set(ends.values())) == 1 and ends.keys() == values.keys():
        return {**values, "ends_at": next(iter(ends.values()))}
    return {**values, **({"ends": ends} if ends else {})}


def rules(plan: Mapping[str, Limit] | None, own: Item | None, now: datetime) -> dict[str, Limit]:
    """`limit_rules` of a billing record with the workspace's own limits of this moment, by meter.

    A grant adds to what is limited; where nothing limits there is nothing to add to.
    """
    found = dict(plan or {})
    grants: dict[str, Decimal] = {}
    for meter, grant, entry in _entries(own):
        content = {field: value for field, (value, end) in _fields(entry).items() if not _is_over(end, now)}
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
        fields = _fields(entry)
        for end in sorted({end for _, end in fields.values()}, key=str):
            content = {field: value for field, (value, ends) in fields.items() if ends == end}
            yield {"meter": meter, "grant": grant or None, **content, "ends_at": end}


def _entries(own: Item | None) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(meter, grant, entry) each, an override with an empty grant before the grants of its meter."""
    for name, entry in sorted((own or {}).get("own_limits", {}).items()):
        meter, _, grant = name.partition("/")
        yield meter, grant, entry


def _granted(rule: Limit, amount: Decimal) -> Limit:
    raised = {name: rule[name] + amount for name in _AMOUNTS if rule.get(name) is not None}
    return versioned({**_bare(rule), **raised}, "grant") if raised else rule


def _bare(rule: Limit) -> dict[str, Any]:
    return {name: value for name, value in rule.items() if name not in {"source", "version"}}


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    if not rule or not rule.keys() <= {*_AMOUNTS, *OTHERS}:
        raise Rejected("invalid_schema", f"a limit has one or more of {', '.join([*_AMOUNTS, *OTHERS])}")
    for name, is_one in OTHERS.items():
        if name in rule and not is_one(rule[name]):
            raise Rejected("invalid_schema", f"{name} {rule[name]!r}; see Limits in docs/usage.md")
    amounts = {name: None if rule[name] is None else parse_quantity(rule[name]) for name in _AMOUNTS if name in rule}
    return {**amounts, **{name: rule[name] for name in OTHERS if name in rule}}


def _check(workspace_id: str, meter: str) -> None:
    check_workspace(workspace_id)
    if not SLUG.fullmatch(meter):
        raise Rejected("invalid_schema", f"{meter[:80]!r} is no meter's slug; see: nilometer meter list")
