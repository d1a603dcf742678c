"""The bill of a month: what the template makes is asked for, what is free is not, and events cost what they took."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from tests.support.project import ROOT
from tests.support.stack.costs import charge, run

from nilometer.errors import Misconfigured
from nilometer.local.demo.bill import BillLine, bill
from nilometer.local.demo.cost import BY_QUEUE, EventKind, Run, TableUse
from nilometer.local.demo.prices import prices
from nilometer.local.demo.stage import MINUTES, STAGES, calls, stage
from nilometer.local.plane.charges import DELIVERED
from nilometer.local.stack.runner import HTTP
from nilometer.local.stack.status import FunctionStatus
from nilometer.local.workers.pool import Used


@pytest.fixture(scope="module")
def month() -> Run:
    """Ten webhooks, ten usage events and ten changes; each kind has one commit of two writes, of a second and a GB."""
    published = [
        (charge("events", "PutEvents", "invoice.paid", caller="WebhookFunction", items=10, billed=10), 10),
        (charge("events", "PutEvents", "usage.recorded.v1", items=10, billed=10), 10),
        (charge("events", "PutEvents", "record.changed.v1", caller="ChangesFunction", items=10, billed=10), 10),
        (charge("sqs", DELIVERED, "UsageQueue", items=10, billed=10), 1),
    ]
    commits = [(charge("s3", "PUT", f"lake/{table}"), 2) for table in ("stripe_events", "usage", "audit")]
    one = Used(invocations=1, seconds=1.0)
    lake = {"LakeStripeEventsQueue": one, "LakeUsageQueue": one, "LakeAuditQueue": one}
    return run(*published, *commits, WebhookFunction={HTTP: Used(invocations=10, seconds=1.0)}, LakeFunction=lake)


def lines(month: Run, stripe: int = 0, usage: int = 0, **parameters: str) -> dict[tuple[str, bool], Decimal]:
    made = stage({"Stage": "prod", **parameters})
    found: list[BillLine] = bill(month, made, stripe=Decimal(stripe), usage=Decimal(usage), prices=prices())
    return {(line.what, line.fixed): line.usd for line in found}


def test_an_idle_stage_costs_what_its_template_makes(month: Run) -> None:
    """Alarms beyond the ten that are free, secrets, and polls of queues; no event costs anything."""
    made, found = stage({"Stage": "prod"}), lines(month)

    assert found["alarms", True] == Decimal("0.1") * (made.alarm_metrics - 10)
    assert found["dashboard", True] == 0
    assert found["secrets", True] > Decimal("0.4") * made.secrets
    assert found["polls of idle queues", True] > 1
    assert sum(usd for (_, fixed), usd in found.items() if not fixed) == 0


@pytest.mark.parametrize(("monitoring", "most"), [("full", Decimal(7)), ("lean", Decimal("1.6")), ("none", Decimal(0))])
def test_monitoring_has_three_prices(month: Run, monitoring: str, most: Decimal) -> None:
    """And a stage to play with has none of it."""
    assert lines(month, Monitoring=monitoring)["alarms", True] <= most


def test_a_lonely_event_pays_its_own_commit_of_the_lake(month: Run) -> None:
    """One webhook a month is one commit of two tables' two writes; a million in a month share them."""
    lonely, many = lines(month, stripe=1), lines(month, stripe=10_000_000)

    assert lonely["commits of the lake", False] == pytest.approx(Decimal("0.00002"), rel=Decimal("0.6"))
    assert many["commits of the lake", False] < lonely["commits of the lake", False] * 10_000_000 / 20


def test_few_webhooks_are_in_few_tables(month: Run) -> None:
    """A table of which a tenth of the webhooks have a row has a commit for a tenth of those that come alone."""
    commits = [(charge("s3", "PUT", f"lake/{table}"), 2) for table in ("stripe_events", "payouts_history")]
    used = {"lake/payouts_history": TableUse(commits=1, rows=1), "lake/stripe_events": TableUse(commits=1, rows=10)}
    webhooks = [one for one in month.counts.charges if not one[0].resource.startswith("lake/")]
    counts = replace(month.counts, charges=(*webhooks, *commits))

    found = lines(replace(month, counts=counts, tables=used), stripe=100)["commits of the lake", False]

    assert float(found) == pytest.approx((100 + 10) * 2 * 5 / 1e6, rel=0.05)


def test_a_window_writes_one_file_of_a_table(month: Run) -> None:
    """The run's month comes in one commit, a file a day; what comes alone pays for the commit and one file."""
    webhooks = [one for one in month.counts.charges if not one[0].resource.startswith("lake/")]
    counts = replace(month.counts, charges=(*webhooks, (charge("s3", "PUT", "lake/stripe_events"), 15)))
    used = {"lake/stripe_events": TableUse(commits=1, rows=10, files=14)}

    found = lines(replace(month, counts=counts, tables=used), stripe=100)["commits of the lake", False]

    assert float(found) == pytest.approx(100 * 2 * 5 / 1e6, rel=0.05)


PLAY = {"Stage": "dev", "Monitoring": "none", "ArchiveDays": "0", "LakeWindow": "60"}
SMALL = {"Upkeep": "daily", "LakeQueues": "one", "Datasets": "false"}


def test_an_idle_stage_to_play_with_costs_less_than_two_dollars(month: Run) -> None:
    """Three secrets, and the polls of four queues beyond the million requests that are free."""
    idle = lines(month, **STAGES["dev"])

    assert idle == lines(month, **PLAY, **SMALL)
    assert Decimal("1.2") < sum(idle.values()) <= 2
    assert sum(lines(month, **PLAY).values()) > 2


def test_a_small_production_costs_little_every_month(month: Run) -> None:
    """Twenty-two alarms, three secrets and four queues; the goal is five dollars with 1,000 events a day."""
    found = lines(month, **STAGES["small"])

    assert sum(usd for (_, fixed), usd in found.items() if fixed) <= Decimal("3.3")
    assert sum(found.values()) < sum(lines(month, **STAGES["prod"]).values()) / 3


def test_what_is_not_polled_is_not_paid(month: Run) -> None:
    """Fifteen requests a minute of each queue that Lambda reads, forty cents a million."""
    every, few = stage({"Stage": "prod"}), stage({"Stage": "prod", **SMALL})
    polls = [lines(month, **given)["polls of idle queues", True] for given in ({}, SMALL)]

    assert (every.queues, few.queues) == (7, 4)
    assert float(polls[0] - polls[1]) == pytest.approx(3 * 15 * MINUTES * 0.4 / 1e6, rel=0.02)


def test_storage_is_the_measured_size_times_its_price(month: Run) -> None:
    """A million facts of a kilobyte for 1.3 months, beyond what is free, twice: the tables and their recovery."""
    kept = replace(month, fact_bytes={EventKind.WEBHOOK: 1000.0, EventKind.USAGE: 1000.0}, bus_bytes={})
    many = lines(kept, usage=100_000_000, ArchiveDays="0")

    rows = Decimal(100_000_000) * 2 * 150 * 12 / 10**9 * Decimal("0.023")
    tables = Decimal(130) * Decimal("0.20") + Decimal(105) * Decimal("0.25")
    assert float(many["storage and archive", False]) == pytest.approx(float(tables + rows), rel=0.2)


def test_longer_windows_make_fewer_commits(month: Run) -> None:
    """Where an event comes every minute or two."""
    short, long = (lines(month, stripe=30_000, LakeWindow=window) for window in ("20", "300"))

    assert long["commits of the lake", False] < short["commits of the lake", False] / 2


def test_events_cost_what_they_took_in_the_run(month: Run) -> None:
    """A webhook is a request of the API and an event on the bus, 2 dollars a million; its function's time is free."""
    found = lines(month, stripe=1_000_000)

    assert found["Stripe webhooks", False] == pytest.approx(Decimal(2), rel=Decimal("0.05"))


def test_a_busy_machine_makes_no_dearer_bill(month: Run) -> None:
    """What a call waited for a processor is not billed: seconds on one, and the answers of AWS, are."""

    def waited(seconds: float) -> Run:
        lake = {queue: Used(invocations=1, seconds=seconds, cpu=0.5) for queue in BY_QUEUE if queue.startswith("Lake")}
        return replace(month, functions={**run(LakeFunction=lake).functions, **_but_the_lake(month)})

    assert lines(waited(1.0), usage=10_000_000) == lines(waited(20.0), usage=10_000_000)


def _but_the_lake(month: Run) -> dict[str, FunctionStatus]:
    return {name: one for name, one in month.functions.items() if "LakeFunction" not in name}


def test_the_templates_conditions_are_read() -> None:
    """What a stage has not is not asked for."""
    production, play = stage({"Stage": "prod"}), stage({"Stage": "dev", "Monitoring": "none", "ArchiveDays": "0"})

    assert production.alarm_metrics > 60
    assert (play.alarm_metrics, play.dashboard_metrics, play.archive_days) == (0, 0, 0)
    polled = (ROOT / "template.yaml").read_text().count("ScalingConfig:")
    assert stage({"Stage": "prod", "Webhooks": "true"}).queues == polled
    assert production.queues == play.queues == polled - 1


def test_a_parameter_that_does_not_exist_is_said() -> None:
    """A typing error would make a bill of another stage."""
    with pytest.raises(Misconfigured, match=r"Monitorin is no parameter of template\.yaml; one of AlarmEmail"):
        stage({"Monitorin": "none"})


@pytest.mark.parametrize(
    ("expression", "each"),
    [("rate(1 minute)", 1), ("rate(5 minutes)", 5), ("cron(20 * * * ? *)", 60), ("cron(40 2 * * ? *)", 1440)],
)
def test_schedules_call_so_often(expression: str, each: int) -> None:
    """A month in minutes, over the minutes between two calls."""
    assert calls(expression) == MINUTES // each
