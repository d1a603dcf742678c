"""Dollars come from counts and prices alone."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from tests.support.stack.costs import charge, run

from nilometer.errors import Misconfigured
from nilometer.local.demo.cost import Cost, EventKind, costs
from nilometer.local.demo.prices import prices
from nilometer.local.plane.charges import DELIVERED, EMPTY
from nilometer.local.workers.pool import Used


def amounts(found: list[Cost], kind: EventKind) -> dict[str, float]:
    [cost] = [cost for cost in found if cost.kind == kind]
    return {name: float(amount) for name, amount in cost.amounts.items()}


def test_a_webhook_is_its_request_its_event_and_its_writes() -> None:
    """By the functions that asked, whoever else asked the same."""
    found = costs(
        run(
            (charge("events", "PutEvents", "invoice.paid", caller="WebhookFunction", items=10, billed=12), 10),
            (charge("dynamodb", "TransactWriteItems", caller="BillingFunction", billed=40), 1),
            (charge("dynamodb", "Scan", billed=500), 3),
            (charge("sqs", DELIVERED, "BillingQueue", items=10, billed=12), 1),
            (charge("sqs", EMPTY, "BillingQueue"), 60),
            (charge("s3", "PUT", "lake/stripe_events"), 2),
            (charge("s3", "DELETE", "lake/stripe_events"), 2),
            WebhookFunction={"http": Used(invocations=10, seconds=0.5)},
            log_bytes=1_000,
        )
    )

    assert amounts(found, EventKind.WEBHOOK) == {
        "bus_event": 12,
        "write_unit": 40,
        "queue_request": 12,
        "object_write": 2,
        "http_request": 10,
        "function_request": 10,
        "function_gb_second": 0.5,
        "log_gb": 1e-6,
    }


def test_the_relay_of_facts_is_shared_by_events() -> None:
    """The relay of changes is the changes' own, a schedule's invocation is nobody's."""
    relay = {"EventsTable": Used(invocations=4, seconds=8), "RecordsTable": Used(invocations=1, seconds=1)}
    found = costs(
        run(
            (charge("events", "PutEvents", "usage.recorded.v1", items=30, billed=30), 3),
            (charge("events", "PutEvents", "record.changed.v1", caller="ChangesFunction", items=5, billed=5), 1),
            WebhookFunction={"http": Used(invocations=10)},
            ChangesFunction=relay,
            LimitsFunction={"nilometer-LimitsSchedule-1A": Used(invocations=9, seconds=9)},
        )
    )

    assert amounts(found, EventKind.USAGE)["function_gb_second"] == 6
    assert amounts(found, EventKind.WEBHOOK)["function_gb_second"] == 2
    assert amounts(found, EventKind.CHANGE)["function_gb_second"] == 1


def test_the_lake_is_paid_by_whom_it_writes_for() -> None:
    """A batch of one table costs that table's events."""
    found = costs(
        run(
            (charge("events", "PutEvents", "usage.recorded.v1", items=30, billed=30), 3),
            LakeFunction={"LakeUsageQueue": Used(invocations=2, seconds=3)},
        )
    )

    assert amounts(found, EventKind.USAGE)["function_gb_second"] == 3
    assert found[0].lake_batches == 2


def test_dollars_are_of_a_million_events() -> None:
    """Four write units an event at 0.625 a million units."""
    cost = Cost(kind=EventKind.USAGE, events=10, amounts={"write_unit": Decimal(40)}, lake_batches=0)

    assert cost.per_million(prices()) == Decimal("2.5")
    assert cost.by_service(prices())["DynamoDB"] == Decimal("2.5")


def test_every_price_names_its_page() -> None:
    """And the table its region and day."""
    known = prices()

    assert all(price.source and price.usd > 0 and price.per > 0 for price in known.by_name.values())
    assert (known.region, known.dated) == ("us-east-1", "2026-11-26")


def test_a_file_overrides_a_part(tmp_path: Path) -> None:
    """What it does not name stays."""
    path = tmp_path / "mine.toml"
    path.write_text('region = "eu-central-1"\n[write_unit]\nusd = 0.762\n')

    mine = prices(path)

    assert mine.region == "eu-central-1"
    assert (mine["write_unit"].usd, mine["write_unit"].source) == (Decimal("0.762"), str(path))
    assert mine["read_unit"] == prices()["read_unit"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[write_units]\nusd = 1", "write_units is no price; there are http_request, "),
        ("[write_unit]\nusd = 'cheap'", "[write_unit] needs usd, per and source"),
        ("[write_unit]\neur = 1", "[write_unit] needs usd, per and source"),
        ("write_unit = 1", "[write_unit] needs usd, per and source"),
        ("write_unit", "is no TOML"),
    ],
)
def test_a_wrong_file_is_told_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    """Before anything is run."""
    path = tmp_path / "mine.toml"
    path.write_text(text)

    with pytest.raises(Misconfigured) as told:
        prices(path)

    assert said in str(told.value)
