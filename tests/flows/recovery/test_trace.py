"""What a trace says between the tables and the lake."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.flows.operations import NOW
from tests.support.flows.usage import cloud, handle

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.recovery.trace import TraceStage
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


def later(sources: Sources, *, minutes: int) -> Sources:
    return replace(sources, now=NOW + timedelta(minutes=minutes))
