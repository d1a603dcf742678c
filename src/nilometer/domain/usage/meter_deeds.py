"""What is done to a meter: it is declared, and changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nilometer.domain.acts.act import Act
from nilometer.domain.acts.deed import UNSAID, Decided, Deed, Reach, Stored, Unsaid, said
from nilometer.domain.acts.fields import Fielded, check_same, merged
from nilometer.domain.acts.roles import Permission
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Key, Write
from nilometer.domain.usage.meter import new_meter


def meter_attributes(fields: Mapping[str, Any]) -> Item:
    """The record's own attributes, from all that is known of it."""
    given = dict(fields)
    meter = new_meter(given.pop("meter"), dimensions=tuple(given.pop("dimensions", ())), **given)
    return {
        "meter": meter.slug,
        "unit": meter.unit,
        "aggregation": str(meter.aggregation),
        "dimensions": list(meter.dimensions),
        "active": meter.active,
        "stripe_event_name": meter.stripe_event_name,
        "fail_open": meter.fail_open,
    }


RECORD = Fielded(
    kind="meter",
    names=("meter", "unit", "aggregation", "dimensions", "active", "stripe_event_name", "fail_open"),
    attributes=meter_attributes,
    fixed=("unit", "aggregation"),
)


@dataclass(frozen=True, kw_only=True)
class CreateMeter(Deed[Item]):
    """A meter exists from now on.

    Of the library doing it again changes nothing, and it is `Refused` when it exists and differs. The answer is its
    record.
    """

    reach = Reach.EVERYBODY
    permission = Permission.METER_MANAGE

    meter: str
    unit: str
    aggregation: str
    dimensions: Sequence[str] = ()
    stripe_event_name: str | None = None
    fail_open: bool = True

    def reads(self, act: Act) -> list[Key]:
        return [keys.meter(self.meter)]

    def given(self, act: Act) -> dict[str, Any]:
        """An event says nothing of what has its default."""
        return {
            "meter": self.meter,
            "unit": self.unit,
            "aggregation": self.aggregation,
            **({"dimensions": tuple(self.dimensions)} if self.dimensions or not act.is_event else {}),
            **({"stripe_event_name": self.stripe_event_name} if self.stripe_event_name is not None else {}),
            **({} if self.fail_open else {"fail_open": False}),
        }

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        key, given = keys.meter(self.meter), self.given(act)
        if key in stored and not act.is_event:
            check_same(RECORD, stored[key], given)
            return []
        put = merged(act, RECORD, key, stored.get(key), given, creates=True)
        return [put] if put else []

    def answer(self, act: Act, decided: Decided) -> Item:
        return decided.after(keys.meter(self.meter)) or {}


@dataclass(frozen=True, kw_only=True)
class UpdateMeter(Deed[Item]):
    """What is said is so now; what is left out stays.

    The answer is the meter's record.
    """

    reach = Reach.EVERYBODY
    permission = Permission.METER_MANAGE

    meter: str
    active: bool | Unsaid = UNSAID
    dimensions: Sequence[str] | Unsaid = UNSAID
    stripe_event_name: str | Unsaid | None = UNSAID
    fail_open: bool | Unsaid = UNSAID

    def reads(self, act: Act) -> list[Key]:
        return [keys.meter(self.meter)]

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        key = keys.meter(self.meter)
        given = said(
            meter=self.meter,
            active=self.active,
            dimensions=self.dimensions,
            stripe_event_name=self.stripe_event_name,
            fail_open=self.fail_open,
        )
        put = merged(act, RECORD, key, stored.get(key), given, creates=False)
        return [put] if put else []

    def answer(self, act: Act, decided: Decided) -> Item:
        return decided.after(keys.meter(self.meter)) or {}
