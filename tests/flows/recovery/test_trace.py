"""What a trace says between the tables and the lake."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from tests.support.flows.operations import NOW
from tests.support.flows.usage import cloud, handle
from tests.support.lake.told import ToldWorld, record

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.limits.limit import Limit, alert
from nilometer.domain.recovery.trace import TraceStage
from nilometer.domain.store.times import from_epoch
from nilometer.flows.recovery.trace import Sources, trace
from nilometer.lake.read.ledger import Ledger

NAME = f"{cloud('u1')['source']}#u1"


@pytest.fixture
def sources(ready: Store, objects: Objects, tmp_path: Path) -> Sources:
    """With an empty lake, a moment after NOW."""
    ledger = Ledger(lake_uri=str(tmp_path / "lake"), storage_options={})
    return Sources(store=ready, ledger=ledger, objects=objects, dead=lambda _: (), now=NOW + timedelta(seconds=9))


@pytest.mark.parametrize(("after", "meaning"), [(1, "pending: the relay"), (6, "overdue: see nilometer status")])
def test_a_fact_that_is_not_in_the_lake_is_on_its_way(
    ready: Store, objects: Objects, sources: Sources, after: int, meaning: str
) -> None:
    """For some minutes; then somebody should look."""
    handle(ready, objects, cloud("u1"))

    found = trace(NAME, later(sources, minutes=after))

    assert [hop.place for hop in found.hops] == [TraceStage.HAPPENED, TraceStage.ARRIVED, TraceStage.STORED]
    assert found.gaps[0].place is TraceStage.IN_LAKE
    assert found.gaps[0].meaning.startswith(meaning)


def test_an_expired_fact_is_none(ready: Store, objects: Objects, sources: Sources) -> None:
    """Also while DynamoDB has not removed it yet."""
    handle(ready, objects, cloud("u1"))

    assert not trace(NAME, later(sources, minutes=41 * 24 * 60)).known


def test_who_was_told_is_named_also_when_the_lake_was_behind(sources: Sources, tmp_path: Path) -> None:
    """Both rows came into the lake hours after the alert was made, which is no copy of a restore for that."""
    world, then = ToldWorld(sources.store, sources.objects, tmp_path / "lake"), 1_795_420_000
    limit = Limit(included=Decimal(1), soft=None, hard=None)
    month = ("2026-11-01T00:00:00.000Z", "2026-12-01T00:00:00.000Z")
    put = alert("ws_1", "api_calls", "80", limit, used=Decimal(1), period=month, now=from_epoch(then), cause="u1")
    world.change(put.item, at=then)
    notice = {"topic": "usage.threshold_reached", "user_id": "ann", "cause": " ".join(put.key)}
    world.change(record("USER#ann", sk="NOTICE#1", kind="notification", workspace_id="ws_1", **notice), at=then + 9)

    found = trace(NAME, sources)

    assert [hop.what for hop in found.hops if hop.place is TraceStage.TOLD] == ["usage.threshold_reached to ann"]


def later(sources: Sources, *, minutes: int) -> Sources:
    return replace(sources, now=NOW + timedelta(minutes=minutes))
