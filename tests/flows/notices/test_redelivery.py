"""Webhooks once more: what the audit gives again is what the bus had, to the letter."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from docs.samples import NOW, changes
from tests.support.people import workspace

from nilometer import CreateWebhook, perform, service
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.lake.change import audit_row
from nilometer.domain.lake.tables import AUDIT
from nilometer.domain.notices.webhook import WEBHOOK_TYPES, Webhook
from nilometer.domain.recovery.history import Step
from nilometer.domain.store.writes import Table
from nilometer.flows.lake.announcing import text
from nilometer.flows.lake.kinds import announced
from nilometer.flows.notices.redelivery import TOLD_BY, redeliveries
from nilometer.flows.recovery.history import show
from nilometer.lake.read.ledger import Ledger
from nilometer.lake.write.append import Lake
from nilometer.lake.write.rows import decode


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """The audit of all changes that are documented by a sample."""
    told = (replace(change, change_id=f"{number:032}") for number, change in enumerate(changes()))
    rows = [audit_row(change) for change in told if change.table is Table.RECORDS]
    lake = Lake(uri=str(tmp_path), storage_options={})
    lake.append(AUDIT, decode(AUDIT, text(rows)), recorded_at=NOW, deadline=time.monotonic() + 9)
    return Ledger(lake_uri=str(tmp_path), storage_options={})


def hook(store: Store, **more: Any) -> Webhook:
    workspace(store, "ws_acme")
    return perform(store, service("ws_acme", "tests"), CreateWebhook(url="https://hooks.example.com/", **more), now=NOW)


def steps(ledger: Ledger, objects: Objects, **span: Any) -> Iterator[Step]:
    return chain.from_iterable(show(kind, "ws_acme", ledger=ledger, objects=objects, **span) for kind in TOLD_BY)


def test_each_event_is_as_it_was_announced(store: Store, objects: Objects, ledger: Ledger) -> None:
    """Every type that a workspace may know, with its id, time and data; what is the operator's alone is not sent."""
    told = [entry for change in changes() for entry in announced(change) if entry.detail_type in WEBHOOK_TYPES]
    found = [json.loads(one.body) for one in redeliveries(hook(store), steps(ledger, objects))]

    wanted = {one.detail: one.detail_type for one in told}
    assert {text(one["detail"]).decode(): one["detail-type"] for one in found} == wanted
    assert set(wanted.values()) == set(WEBHOOK_TYPES)
    assert TOLD_BY == ("alert", "billing", "limits")


def test_only_what_was_asked_for_and_is_wanted(store: Store, objects: Objects, ledger: Ledger) -> None:
    """By type, by id, by time, and never what another workspace was told."""
    one = hook(store, types=["limit.blocked.v1", "billing.plan_changed.v1"])
    found = list(redeliveries(one, steps(ledger, objects)))
    again = redeliveries(one, steps(ledger, objects), [found[0].event_id, "another"])

    assert {each.type for each in found} == {"limit.blocked.v1", "billing.plan_changed.v1"}
    assert list(again) == found[:1]
    assert list(redeliveries(one, steps(ledger, objects, since=NOW + timedelta(days=1)))) == []
    assert len(list(redeliveries(one, steps(ledger, objects, since=NOW - timedelta(days=1))))) == len(found)
    assert list(redeliveries(replace(one, workspace_id="ws_other"), steps(ledger, objects))) == []
