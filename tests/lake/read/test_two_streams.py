"""After a restore a record goes on in another table, whose stream has smaller numbers: its newest row counts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.lake.build import START, append, ask, change, instant

import nilometer.lake
from nilometer.domain.lake.books import BOOKS
from nilometer.domain.lake.tables import AUDIT
from nilometer.lake.metrics.metrics import METRICS
from nilometer.lake.metrics.period import MetricPeriod
from nilometer.lake.read.ledger import Ledger
from nilometer.lake.read.query import query
from nilometer.lake.read.recipes import RECIPES
from nilometer.lake.warehouse.export import export
from nilometer.lake.write.append import Lake

PLANS = ["free", "team", "pro"]
"""Before the restore, once more when it was copied, and since."""
SECONDS = [0, 0, 3600, 7200]
NUMBERS = [8, 9, 1, 2]
"""Of the first two rows, of one second, in the old stream, and of the two in the new one."""
STATUSES = ["draft", "void", "void", "open"]
AS_OF = datetime.fromtimestamp(START, UTC) + timedelta(days=1)


def audited(kind: str, sk: str, plans: list[str]) -> list[dict[str, Any]]:
    """Four rows of one record; the third is its copy."""
    images = [{"kind": kind, "plan": plan, "status": "active", "seats": 1, "limits": {"calls": 5}} for plan in plans]
    images.insert(2, images[1])
    olds = [None, images[0], None, images[2]]
    return [
        change(f"{kind}{n}", created=START + second, kind=kind, sk=sk, action="MODIFY" if old else "INSERT")
        | {"old_image": old, "new_image": image, "sequence_number": str(number).zfill(40), "cause": "evt_1"}
        for n, (second, number, old, image) in enumerate(zip(SECONDS, NUMBERS, olds, images, strict=True))
    ]


def known(object_id: str) -> list[dict[str, Any]]:
    """Four rows of one object, in the same order."""
    return [
        {
            "change_id": f"{object_id}{n}",
            "object_id": object_id,
            "account": "self",
            "livemode": True,
            "customer_id": "cus_1",
            "status": status,
            "deleted": False,
            "ambiguous": False,
            "valid_from": instant(START),
            "known_at": instant(START + second),
            "created": START + second,
            "origin": "event",
            "digest": f"d{n}",
            "sequence_number": str(number).zfill(40),
        }
        for n, (status, second, number) in enumerate(zip(STATUSES, SECONDS, NUMBERS, strict=True))
    ]


@pytest.fixture
def told(lake: Lake) -> Lake:
    """A lake that got both streams, the new one first."""
    rows = audited("billing", "BILLING", PLANS)
    append(lake, AUDIT, *rows[2:], *rows[:2])
    owed = {"currency": "eur", "finalized_at": instant(START), "amount_due": 100}
    invoices = [row | owed | {"amount_remaining": 100 + n} for n, row in enumerate(known("in_1"))]
    append(lake, BOOKS["invoices_history"], *invoices[2:], *invoices[:2])
    append(lake, BOOKS["subscriptions_history"], *known("sub_1"))
    return lake


def plan_of(image: str) -> str:
    return str(json.loads(image)["plan"])


def test_the_ledger_tells_changes_as_they_happened(told: Lake) -> None:
    """Steps, history, the fold, as of a time too, and what a trace asks for."""
    ledger = Ledger(lake_uri=told.uri, storage_options={})
    plans = [*PLANS[:2], PLANS[1], PLANS[2]]
    near = {"since": AS_OF - timedelta(days=1), "until": AS_OF}

    [(_, _, image, _, at)] = ledger.latest_images()
    assert (plan_of(image), at) == ("pro", datetime.fromtimestamp(START + 7200, UTC))
    [(_, _, image, _, at)] = ledger.latest_images(as_of=datetime.fromtimestamp(START + 60, UTC))
    assert (plan_of(image), at) == ("team", datetime.fromtimestamp(START, UTC))
    assert [plan_of(row["new_image"]) for row in ledger.steps()] == plans
    assert [plan_of(row[8]) for row in ledger.changes("billing", "ws_1")] == plans
    for rows in (
        ledger.records_before("WORKSPACE#ws_1", kinds=["billing"], until=AS_OF),
        ledger.written("WORKSPACE#ws_1", ["BILL"], **near),
        ledger.caused(["evt_1"], since=near["since"]),
    ):
        assert [plan_of(row["new_image"]) for row in rows] == plans


def test_views_and_recipes_show_the_newest(told: Lake, tmp_path: Path) -> None:
    """In DuckDB, Polars, recipes, metrics, and in what dbt gets."""
    place = told.uri
    assert ask(told, "select status, amount_remaining from invoices") == [("open", 103)]
    frame = nilometer.lake.scan("invoices", place).select("status", "amount_remaining").collect()
    assert frame.rows() == [("open", 103)]

    def answer(name: str) -> list[tuple[Any, ...]]:
        return list(query(RECIPES[name].sql, lake_uri=place, storage_options={}, as_of=AS_OF).rows)

    assert [row[-1] for row in answer("receivables")] == [103]
    assert [row[1] for row in answer("billing-as-of")] == ["pro"]
    assert [row[1] for row in answer("usage-against-limits")] == ["pro"]
    assert [row[3] for row in answer("plan-changes")] == ["team", "pro"]

    period = MetricPeriod(first=AS_OF.date(), last=AS_OF.date(), known_at=AS_OF)
    [owed] = ask(told, METRICS["receivables"].sql(period))
    assert 103 in owed

    export(place, tmp_path / "lake.duckdb")
    with duckdb.connect(str(tmp_path / "lake.duckdb")) as file:
        active = file.sql("select status from stripe.subscription_history where _fivetran_active").fetchall()
    assert active == [("open",)]
