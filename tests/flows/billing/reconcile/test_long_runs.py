"""Commands that ask Stripe for hours: what they make late is news, and not what a restore copied."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from tests.support.flows.company import company

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.cli.billing.backfill import taken
from nilometer.domain.billing.link import Trust
from nilometer.domain.store import keys
from nilometer.domain.store.copies import is_copy
from nilometer.domain.store.times import parse_rfc3339
from nilometer.domain.store.writes import Item, Table
from nilometer.domain.stripe.event import Scope
from nilometer.flows.billing.reconcile import reconcile
from nilometer.local.stripe.server import serve
from nilometer.local.stripe.world import StripeWorld
from nilometer.stripe_api.client import StripeApi

BEGAN = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.fixture
def world() -> StripeWorld:
    world, _, price = company()
    world.subscribe(world.customer("ws"), [(price, 1)])
    return world


@dataclass
class Begun:
    """What a command uses of its connection, hours after it was called."""

    tables: Store
    bucket: Objects
    now: datetime = BEGAN
    trust: Trust = field(default_factory=Trust)

    def store(self) -> Store:
        return self.tables

    def objects(self) -> Objects:
        return self.bucket


def billing(store: Store) -> Item:
    found = store.get(Table.RECORDS, keys.billing("ws"))
    assert found
    return found


def api(url: str) -> StripeApi:
    return StripeApi("sk_test_fake", base_url=url, requests_per_second=500)


def test_a_comparison_dates_what_it_writes(store: Store, world: StripeWorld) -> None:
    """Each look at the clock is a minute later; the billing record is made a while after the begin."""
    minutes = count(0, 60)

    with serve(world) as (url, _):
        reconcile(store, api(url), scope=Scope(), now=BEGAN, monotonic=minutes.__next__)

    made = parse_rfc3339(billing(store)["updated_at"])
    assert BEGAN + timedelta(minutes=2) < made <= BEGAN + timedelta(seconds=next(minutes))


def test_a_backfill_dates_what_it_writes(store: Store, objects: Objects, world: StripeWorld) -> None:
    """A page is taken at its own time."""
    with serve(world) as (url, _):
        assert list(taken(Begun(store, objects), api(url), 0, None))  # type: ignore[arg-type]  # all that it uses

    assert not is_copy(billing(store), datetime.now(UTC))
