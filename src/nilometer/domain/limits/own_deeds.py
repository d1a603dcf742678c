"""What is done to a workspace's own limits: a limit is overridden, more is granted, and either is taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from nilometer.domain.acts.act import Act, checked_id
from nilometer.domain.acts.deed import UNSAID, Actor, Bounds, Deed, Id, Slug, Stored, Unsaid, said
from nilometer.domain.acts.records import field_times, newer, record
from nilometer.domain.acts.roles import Permission
from nilometer.domain.limits.own import AMOUNTS, KIND, EntryFields, fields_of
from nilometer.domain.limits.plan import OTHERS
from nilometer.domain.store import keys
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Item, Key, Write
from nilometer.domain.usage.event import parse_quantity
from nilometer.domain.usage.meter import SLUG
from nilometer.errors import Rejected

ENTRIES = 200  # of one workspace, those taken back included: they are read with every check

Amount = Annotated[str, Bounds(pattern=r"^[0-9]{1,15}(\.[0-9]{1,9})?$", says="A decimal string")]
Grace = Annotated[str, Bounds(pattern="^[0-9]{1,6} ?[hd]?$")]
Threshold = Annotated[int, Bounds(least=1, says="Percent of the included quantity")]


@dataclass(frozen=True, kw_only=True)
class LimitRule:
    """A limit of a meter, or the fields of it that differ from the plan's; null is unlimited."""

    wire_name: ClassVar[str] = "Rule"

    included: Amount | Unsaid | None = UNSAID
    soft: Amount | Unsaid | None = UNSAID
    hard: Amount | Unsaid | None = UNSAID
    overage: Literal["allow", "block"] | Unsaid = UNSAID
    grace: Grace | Unsaid = UNSAID
    thresholds: Sequence[Threshold] | Unsaid = UNSAID

    @property
    def content(self) -> dict[str, Any]:
        """The fields that were given, amounts exact. `Rejected` says which cannot be."""
        given = said(**{name: getattr(self, name) for name in (*AMOUNTS, *OTHERS)})
        if not given:
            raise Rejected("invalid_schema", f"a limit has one or more of {', '.join([*AMOUNTS, *OTHERS])}")
        given |= {"thresholds": list(given["thresholds"])} if "thresholds" in given else {}
        for name, is_one in OTHERS.items():
            if name in given and not is_one(given[name]):
                raise Rejected("invalid_schema", f"{name} {given[name]!r}; see Limits in docs/usage.md")
        exact = {
            name: None if given[name] is None else parse_quantity(given[name]) for name in AMOUNTS if name in given
        }
        return given | exact


@dataclass(frozen=True, kw_only=True)
class OwnLimit(Deed[None]):
    """A deed that concerns one entry of a workspace's own limits.

    What is taken back leaves its stamp, so that an older event that comes late does not revive it.
    """

    permission = Permission.LIMIT_MANAGE
    actor = Actor.NAMED

    meter: Slug

    def __post_init__(self) -> None:
        if not SLUG.fullmatch(self.meter):
            raise Rejected("invalid_schema", f"{self.meter[:80]!r} is no meter's slug; see: nilometer meter list")
        _ = self.name, self.fields

    @property
    def name(self) -> str:
        """Of the entry."""
        return self.meter

    @property
    def fields(self) -> EntryFields | None:
        """What it says, each with its end; `None` takes the entry back."""
        raise NotImplementedError

    def merged(self, act: Act, stored: Item | None) -> tuple[EntryFields, list[str]]:
        """The fields that hold afterwards, and the names of the stamps that it leaves."""
        return self.fields or {}, [self.name]

    def reads(self, act: Act) -> list[Key]:
        return [keys.limits(act.workspace_id)]

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        key = keys.limits(act.workspace_id)
        known = stored.get(key)
        if not newer(act, known, {self.name: self.fields}):
            return []
        fields, names = self.merged(act, known)
        if not names:
            return []
        times = field_times(act, known, names)
        if len({name.partition(".")[0] for name in times}) > ENTRIES:
            raise Rejected("too_large", f"{act.workspace_id} has {ENTRIES} own limits; use the same grants again")
        others = {name: entry for name, entry in (known or {}).get("own_limits", {}).items() if name != self.name}
        entries = {**others, **({self.name: _entry(fields)} if fields else {})}
        return [record(act, key, KIND, known, own_limits=entries, field_times=times)]


@dataclass(frozen=True, kw_only=True)
class OverrideLimit(OwnLimit):
    """A meter's limit differs from the plan's in one workspace; `limit` null takes that back.

    It keeps the fields that it does not name, with their ends; each field keeps the stamp of what set it.
    """

    limit: LimitRule | None
    ends_at: datetime | None = None

    @property
    def fields(self) -> EntryFields | None:
        return None if self.limit is None else _ending(self.limit.content, self.ends_at)

    def merged(self, act: Act, stored: Item | None) -> tuple[EntryFields, list[str]]:
        known = fields_of((stored or {}).get("own_limits", {}).get(self.name, {}))
        if self.fields is None:
            times: Mapping[str, str] = (stored or {}).get("field_times", {})
            later = {field for field in known if times.get(f"{self.name}.{field}", "") > act.stamp}
            return {field: known[field] for field in later if act.is_event}, [self.name]
        fresh = newer(act, stored, {f"{self.name}.{field}": value for field, value in self.fields.items()})
        return {**known, **{name.partition(".")[2]: value for name, value in fresh.items()}}, list(fresh)


@dataclass(frozen=True, kw_only=True)
class GrantLimit(OwnLimit):
    """More of a meter than plan or override give, under the grant's own id; `amount` null takes it back."""

    grant: Id
    amount: Amount | None
    ends_at: datetime | None = None

    @property
    def name(self) -> str:
        return f"{self.meter}/{checked_id(self.grant)}"

    @property
    def fields(self) -> EntryFields | None:
        return None if self.amount is None else _ending({"amount": parse_quantity(self.amount)}, self.ends_at)


def _ending(content: Mapping[str, Any], ends_at: datetime | None) -> EntryFields:
    end = rfc3339(ends_at) if ends_at else None
    return {field: (value, end) for field, value in content.items()}


def _entry(fields: EntryFields) -> dict[str, Any]:
    """One end as `ends_at`; `ends` by field where they differ."""
    values = {field: value for field, (value, _) in fields.items()}
    ends = {field: end for field, (_, end) in fields.items() if end}
    if len(set(ends.values())) == 1 and ends.keys() == values.keys():
        return {**values, "ends_at": next(iter(ends.values()))}
    return {**values, **({"ends": ends} if ends else {})}
