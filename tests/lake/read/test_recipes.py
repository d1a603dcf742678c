"""Every recipe answers its question on a small company whose answers are known."""

from __future__ import annotations

import json
import subprocess
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlglot
from deltalake import DeltaTable, write_deltalake
from sqlglot import exp
from tests.support.lake.build import DAY, START, change, instant, stripe_event, usage
from tests.support.lake.reading import as_text

from nilometer.domain.lake.all_tables import ALL_TABLES
from nilometer.domain.lake.books import BOOKS
from nilometer.domain.lake.tables import AUDIT, STRIPE_EVENTS, USAGE
from nilometer.domain.lake.tables import DeltaTable as DeclaredTable
from nilometer.domain.limits.limit import limit_of
from nilometer.domain.limits.own import rules
from nilometer.domain.limits.plan import amount_of, versioned
from nilometer.lake.metrics.dialects import DIALECTS
from nilometer.lake.read.money_recipes import MONEY
from nilometer.lake.read.query import query
from nilometer.lake.read.recipes import RECIPES
from nilometer.lake.tables.tables import open_or_create
from nilometer.lake.write.append import Lake
from nilometer.lake.write.rows import decode, to_arrow

ROOT = Path(__file__).parents[3]
READERS = ROOT / ".venv/readers/bin/python"
SINCE = timedelta(days=31)
RECORDED = datetime.fromtimestamp(START + 100, UTC)
AS_OF = datetime.fromtimestamp(START + DAY, UTC)


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(START + seconds, UTC)


def subscription(event_id: str, sub: str, second: int, status: str, amount: int, **changed: Any) -> dict[str, Any]:
    price = {"unit_amount": amount, "currency": "eur", "recurring": {"interval": changed.pop("interval", "month")}}
    item = {"price": price, "quantity": changed.pop("quantity", 1)}
    details = {"reason": "cancellation_requested", "feedback": "too_expensive"}
    state = {"object": "subscription", "status": status, "items": {"data": [item]}, "cancellation_details": details}
    type_ = f"customer.subscription.{changed.pop('verb', 'updated')}"
    return stripe_event(
        event_id,
        created=START + second,
        type=type_,
        object_type="subscription",
        object_id=sub,
        customer_id=f"cus_{sub}",
        workspace_id=f"ws_{sub}",
        payload={"data": {"object": state}},
        livemode=True,
        **changed,
    )


def subscription_books(event: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Rows of `subscriptions_history` and of its items, as an event leaves them."""
    state = event["payload"]["data"]["object"]
    [item] = state["items"]["data"]
    known = {
        "change_id": event["event_id"],
        "cause": event["event_id"],
        "account": "self",
        "livemode": True,
        "deleted": event["type"].endswith("deleted"),
        "ambiguous": False,
        "valid_from": event["created_at"],
        "known_at": event["created_at"],
        "created": event["created"],
        "event_date": event["created_at"][:10],
        "origin": "event",
        "digest": event["event_id"],
        "rank": 0 if event["type"].endswith("created") else 1,
        "sequence_number": str(event["created"]).zfill(40),
    }
    whole = {"object_id": event["object_id"], "status": state["status"], "created_at": event["created_at"]}
    sold = {"unit_amount": item["price"]["unit_amount"], "currency": "eur", "quantity": item["quantity"]}
    return (
        known | whole | {name: event[name] for name in ("customer_id", "workspace_id")},
        known
        | sold
        | {"object_id": "si_1", "subscription_id": event["object_id"], "position": 0}
        | {"interval": item["price"]["recurring"]["interval"]},
    )


def invoice(event_id: str, number: str, second: int, type_: str) -> dict[str, Any]:
    state = {"object": "invoice", "currency": "eur", "amount_due": 4900, "amount_paid": 4900}
    payload = {"data": {"object": state}}
    known = {"object_id": number, "customer_id": "cus_a", "payload": payload, "livemode": True}
    return stripe_event(event_id, created=START + second, type=type_, **known)


def billing(change_id: str, second: int, plan: str, before: str | None, **changed: Any) -> dict[str, Any]:
    image = {"plan": plan, "status": "active", "seats": 3, "limits": {"api_calls": 10}}
    return change(
        change_id,
        created=START + second,
        action="MODIFY" if before else "INSERT",
        old_image=image | {"plan": before} if before else None,
        new_image=image,
        cause="evt_1",
        sequence_number=str(second).zfill(40),
        **changed,
    )


STRIPE = [
    subscription("s1", "a", 10, "active", 1000, verb="created"),
    subscription("s2", "a", 20, "active", 3000, quantity=2),
    subscription("s3", "b", 30, "active", 120_000, interval="year", verb="created"),
    subscription("s4", "b", 40, "canceled", 120_000, interval="year", verb="deleted"),
    subscription("s5", "c", 50, "incomplete", 500, verb="created"),
    # Both of one second, the later one delivered first.
    subscription("s7", "d", 55, "active", 700, received_at=instant(START + 56)),
    subscription("s6", "d", 55, "incomplete", 700, verb="created", received_at=instant(START + 57)),
    invoice("i1", "in_1", 60, "invoice.payment_failed"),
    invoice("i2", "in_1", 70, "invoice.payment_failed"),
    invoice("i3", "in_1", 160, "invoice.paid"),
    invoice("i4", "in_2", 80, "invoice.payment_failed"),
    subscription("z1", "a", 40 * DAY, "canceled", 0, verb="deleted"),
]
SUBSCRIPTIONS, ITEMS = map(
    list, zip(*(subscription_books(row) for row in STRIPE if row["object_type"] == "subscription"), strict=True)
)
USED = [
    usage("u1", quantity="4", received_at=instant(START + 1)),
    usage("u2", quantity="3", created=START + 60, dimensions={"model": "s", "region": "eu"}),
    usage("late", quantity="5", created=START + 60, received_at=instant(START + 60 + 7200), dimensions=None),
    usage(
        "void", quantity="-5", created=START + 120, voids_source="/services/inference", voids_id="late", dimensions=None
    ),
]
CHANGES = [
    billing("c1", 5, "free", None),
    billing("c2", 15, "team", "free", actor="user_1"),
    change("c3", created=START + 25, kind="session", action="EXPIRED", new_image=None, old_image={}, sk="SESSION",
           changed_fields=[], sequence_number="25".zfill(40)),
    change("c6", created=START + 35, kind="limits", action="INSERT", sk="LIMITS", sequence_number="35".zfill(40),
           changed_fields=["own_limits"], old_image=None, new_image={"own_limits": {
               "api_calls": {"included": 12}, "api_calls/a": {"amount": 2}, "seats": {"included": None},
               "api_calls/old": {"amount": 99, "ends_at": "2026-11-01T00:00:00.000Z"}}}),
    change("c5", created=START + 30, table_name="events", kind="reject", action="INSERT", workspace_id=None, cause="u9",
           new_image={"flow": "usage", "reason": "too_old", "source": "/s"}, old_image=None, sk="abc",
           sequence_number="30".zfill(40)),
    billing("c4", 2 * DAY, "later", "team"),
]  # fmt: skip


def book(
    change_id: str, number: str, second: int, status: str, remaining: int, origin: str = "event"
) -> dict[str, Any]:
    """A row of `invoices_history`."""
    return {
        "change_id": change_id,
        "object_id": number,
        "account": "self",
        "livemode": True,
        "customer_id": "cus_a",
        "created_at": instant(START + 1),
        "finalized_at": instant(START + 2),
        "due_date": instant(START + DAY),
        "status": status,
        "currency": "eur",
        "amount_due": 4900,
        "amount_paid": None,
        "amount_remaining": remaining,
        "deleted": False,
        "ambiguous": False,
        "valid_from": instant(START + second),
        "known_at": instant(START + second),
        "created": START + second,
        "event_date": instant(START + second)[:10],
        "origin": origin,
        "digest": change_id,
        "sequence_number": str(second).zfill(40),
    }


INVOICES = [
    book("b1", "in_3", 10, "draft", 4900),
    book("b2", "in_3", 20, "open", 4900),
    book("b3", "in_3", 2 * DAY, "paid", 0),
    book("b4", "in_4", 10, "open", 4900),
    book("b5", "in_4", 30, "void", 4900),
    book("b8", "in_5", 10, "open", 4900),
    book("b9", "in_5", 30, "uncollectible", 4900),
    book("b7", "in_1", 160, "paid", 0) | {"amount_paid": 4900, "paid_at": instant(START + 160)},
    *(
        book(event_id, number, second, "open", 4900, origin="snapshot") | {"cause": event_id}
        for event_id, number, second in (("i1", "in_1", 60), ("i2", "in_1", 70), ("i4", "in_2", 80))
    ),
    book("i3", "in_1", 160, "paid", 0, origin="snapshot") | {"cause": "i3", "amount_paid": 4900},
    # What one event said, that came late: no state of the books.
    book("b6", "in_4", 31, "open", 4900, origin="snapshot"),
]

NOVEMBER = date(2026, 11, 1)
TODAY = date(2026, 11, 23)
PERIOD = datetime(2026, 11, 1, tzinfo=UTC)
ANSWERS: dict[str, list[tuple[Any, ...]]] = {
    "usage-per-day": [("ws_1", "api_calls", "call", TODAY, Decimal(7), 4)],
    "usage-per-period": [("ws_1", "api_calls", PERIOD, Decimal(7), 4)],
    "usage-by-dimension": [
        ("api_calls", "model", "m", Decimal(4)),
        ("api_calls", "model", "s", Decimal(3)),
        ("api_calls", "region", "eu", Decimal(3)),
    ],
    "usage-against-limits": [
        ("ws_1", "team", "api_calls", PERIOD, Decimal(7), 14.0, 50.0),
        ("ws_1", None, "seats", None, Decimal(0), None, None),
    ],
    "late-usage": [("ws_1", "api_calls", "/services/inference", "late", at(60), at(7260), 7200)],
    "voided-usage": [("ws_1", "api_calls", "late", at(60), Decimal(5), "void", at(120))],
    "events-per-type": [
        ("customer.subscription.created", "webhook", 4, at(10), at(55)),
        ("invoice.payment_failed", "webhook", 3, at(60), at(80)),
        ("customer.subscription.updated", "webhook", 2, at(20), at(55)),
        ("customer.subscription.deleted", "webhook", 1, at(40), at(40)),
        ("invoice.paid", "webhook", 1, at(160), at(160)),
    ],
    "event-latency": [(TODAY, 11, 1.0, 1.9, 44.0, 88.0)],
    "subscriptions": [
        ("a", "cus_a", "ws_a", "active", at(20)),
        ("b", "cus_b", "ws_b", "canceled", at(40)),
        ("c", "cus_c", "ws_c", "incomplete", at(50)),
        ("d", "cus_d", "ws_d", "active", at(55)),
    ],
    "mrr": [("eur", 6700, 2)],
    "mrr-movement": [
        (NOVEMBER, "eur", "churn", -10_000, 1),
        (NOVEMBER, "eur", "expansion", 5000, 1),
        (NOVEMBER, "eur", "new", 11_700, 3),
    ],
    "mrr-events": [
        (at(10), NOVEMBER, "eur", "new", 1000, "a", "ws_a", "s1"),
        (at(20), NOVEMBER, "eur", "expansion", 5000, "a", "ws_a", "s2"),
        (at(30), NOVEMBER, "eur", "new", 10_000, "b", "ws_b", "s3"),
        (at(40), NOVEMBER, "eur", "churn", -10_000, "b", "ws_b", "s4"),
        (at(55), NOVEMBER, "eur", "new", 700, "d", "ws_d", "s7"),
    ],
    "churn": [(at(40), "b", "cus_b", "ws_b", "cancellation_requested", "too_expensive")],
    "failed-payments": [
        ("in_1", "cus_a", 4900, "eur", 2, at(60), at(160), True, 100),
        ("in_2", "cus_a", 4900, "eur", 1, at(80), None, False, None),
    ],
    "revenue": [(NOVEMBER, "eur", 4900, 1)],
    "revenue-events": [(at(160), NOVEMBER, "eur", 4900, "in_1", None, "i3")],
    "receivables": [(at(2), "in_3", "cus_a", "eur", at(DAY), 4900, 4900)],
    "billing-as-of": [("ws_1", "team", "active", 3, at(15))],
    "plan-changes": [(at(15), "ws_1", "free", "team", "active", "active", "evt_1")],
    "who-changed-what": [
        (at(5), "(system)", "INSERT", "billing", "ws_1", "WORKSPACE#ws_1", "BILLING", '["plan"]', "evt_1"),
        (at(15), "user_1", "MODIFY", "billing", "ws_1", "WORKSPACE#ws_1", "BILLING", '["plan"]', "evt_1"),
        (at(25), "(system)", "EXPIRED", "session", "ws_1", "WORKSPACE#ws_1", "SESSION", "[]", None),
        (at(35), "(system)", "INSERT", "limits", "ws_1", "WORKSPACE#ws_1", "LIMITS", '["own_limits"]', None),
    ],
    "changes-per-kind": [
        (TODAY, "billing", "INSERT", 1, 1),
        (TODAY, "billing", "MODIFY", 1, 1),
        (TODAY, "limits", "INSERT", 1, 1),
        (TODAY, "session", "EXPIRED", 1, 1),
    ],
    "rejected": [(TODAY, "usage", "too_old", "/s", None, 1, "u9")],
    "twice": [],
    "freshness": [
        ("audit", 6, at(2 * DAY), RECORDED),
        ("stripe_events", 12, at(40 * DAY), RECORDED),
        ("usage", 4, at(120), RECORDED),
    ],
}


OF_STRIPE = (
    (STRIPE_EVENTS, STRIPE),
    (BOOKS["invoices_history"], INVOICES),
    (BOOKS["subscriptions_history"], SUBSCRIPTIONS),
    (BOOKS["subscription_items_history"], ITEMS),
)


def filled(folder: Path, *told: tuple[DeclaredTable, list[dict[str, Any]]]) -> Lake:
    lake = Lake(uri=str(folder / "lake"), storage_options={})
    for table, rows in told:
        decoded = decode(table, json.dumps(rows).encode())
        lake.append(table, decoded, recorded_at=RECORDED, deadline=time.monotonic() + 20)
    return lake


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return filled(tmp_path_factory.mktemp("recipes"), *OF_STRIPE, (USAGE, USED), (AUDIT, CHANGES))


def of_scope(account: str, *, livemode: bool) -> list[tuple[DeclaredTable, list[dict[str, Any]]]]:
    """The same objects in another account or mode, by events of its own."""
    mode = "live" if livemode else "test"
    ids = ("event_id", "change_id", "cause", "digest")
    return [
        (
            table,
            [
                row
                | {"account": account, "livemode": livemode}
                | {name: f"{row[name]}/{account}/{mode}" for name in ids if name in row}
                for row in rows
            ],
        )
        for table, rows in OF_STRIPE
    ]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A platform's lake: with a connected account, and both in test mode too."""
    others = (of_scope("self", livemode=False), *(of_scope("acct_1", livemode=mode) for mode in (True, False)))
    return filled(tmp_path_factory.mktemp("shared"), *OF_STRIPE, *(one for scope in others for one in scope))


@pytest.mark.parametrize("name", ["churn", *MONEY])
def test_a_recipe_about_money_is_of_one_account(shared: Lake, name: str) -> None:
    """In live mode: the platform's own, unless another is named; one without events has no money."""
    asked = partial(query, RECIPES[name].sql, lake_uri=shared.uri, storage_options={}, as_of=AS_OF)
    there = [
        tuple(value.removesuffix("/acct_1/live") if isinstance(value, str) else value for value in row)
        for row in asked(account="acct_1").rows
    ]

    assert list(asked().rows) == ANSWERS[name]
    assert there == ANSWERS[name]
    assert list(asked(account="acct_2").rows) == []


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_answers_its_question(lake: Lake, name: str) -> None:
    """As of a time: what came later does not count."""
    found = list(query(RECIPES[name].sql, lake_uri=lake.uri, storage_options={}, as_of=AS_OF).rows)

    assert found == ANSWERS[name]


def test_what_is_twice_in_a_book_is_found(tmp_path: Path) -> None:
    """A row that was appended without a look at what is there."""
    lake = Lake(uri=str(tmp_path / "lake"), storage_options={})
    table = BOOKS["invoices_history"]
    rows = decode(table, json.dumps([book("b1", "in_1", 10, "draft", 4900)]).encode())
    lake.append(table, rows, recorded_at=RECORDED, deadline=time.monotonic() + 20)
    again = to_arrow(table, rows, recorded_at=RECORDED)
    write_deltalake(str(tmp_path / "lake/invoices_history"), again, mode="append")

    found = list(query(RECIPES["twice"].sql, lake_uri=lake.uri, storage_options={}).rows)

    assert found == [("invoices_history", "b1", "in_1", 2)]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_works_on_an_empty_lake(tmp_path: Path, name: str) -> None:
    rows = list(query(RECIPES[name].sql, lake_uri=str(tmp_path), storage_options={}).rows)

    assert rows == [] or name == "freshness"


@pytest.mark.parametrize("dialect", sorted(DIALECTS.keys() - {"duckdb"}))
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_read_by_other_engines(name: str, dialect: str) -> None:
    """As one statement over our tables, with its two times as literals, in words that the engine has."""
    text = RECIPES[name].portable(DIALECTS[dialect], since=at(0), as_of=AS_OF)
    statement = sqlglot.parse_one(text, dialect=dialect)

    own = {named.alias for named in statement.find_all(exp.CTE)} | {"keys"}
    assert {table.name for table in statement.find_all(exp.Table)} - own <= ALL_TABLES.keys()
    assert {one.name for one in statement.find_all(exp.Anonymous)} <= OF_ENGINES
    assert "::" not in text
    assert "getvariable" not in text
    assert "group by all" not in text


OF_ENGINES = {"unix_micros", "json_object_keys", "percentile", "from_iso8601_timestamp"}
"""Functions of the engines for which sqlglot has no name of its own."""


def test_spark_sql_gives_the_same_answers(lake: Lake, tmp_path: Path) -> None:
    """Each recipe in Spark's words, by Sail: row by row what DuckDB answers."""
    if not READERS.exists():
        pytest.skip("no .venv/readers: `make test` installs it")
    for table in ALL_TABLES.values():
        _without_comments(open_or_create(lake.uri, table, {}), tmp_path / table.name)
    asked = {name: one.portable(DIALECTS["spark"], since=AS_OF - SINCE, as_of=AS_OF) for name, one in RECIPES.items()}
    script = str(ROOT / "tests/support/lake/reading.py")
    command = [READERS, script, "ask", str(tmp_path), *ALL_TABLES]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == {name: _plain(rows) for name, rows in ANSWERS.items()}


def _without_comments(table: DeltaTable, folder: Path) -> None:
    """Sail takes the comments of two columns in a union for a difference of their types."""
    rows = table.to_pyarrow_table()
    write_deltalake(folder, rows.cast(pa.schema([pa.field(one.name, one.type) for one in rows.schema])))


def _plain(rows: list[tuple[Any, ...]]) -> list[list[str | None]]:
    return [[as_text(value) for value in row] for row in rows]


def test_there_are_enough() -> None:
    assert len(RECIPES) >= 12
    assert all(recipe.question.endswith(("?", ")")) for recipe in RECIPES.values())


AMOUNTS: tuple[dict[str, int | None], ...] = (
    {},
    {"included": 100},
    {"hard": 50},
    {"included": 100, "hard": 50},
    {"included": None},
)


def test_percents_are_of_what_binds(tmp_path: Path) -> None:
    """For each plan with each override and grant, as the domain lays them over each other; ended ones do not count."""
    rows, expected = [], {}
    for number, (plan, own, granted, ended) in enumerate(product(AMOUNTS, AMOUNTS, (0, 7), (False, True))):
        workspace = f"ws_{number}"
        rule = versioned(dict(plan), "plan") if plan else None
        ends = {"ends_at": "2026-01-01T00:00:00.000Z" if ended else None}
        entries = {"m": {**own, **ends}} | ({"m/g": {"amount": granted, "ends_at": None}} if granted else {})
        images = {
            "billing": {"limits": {"m": amount_of(rule)} if rule else {}, "limit_rules": {"m": rule} if rule else {}},
            "limits": {"own_limits": entries},
        }
        rows += [
            change(f"{kind}{number}", created=START + 5, kind=kind, workspace_id=workspace, new_image=image)
            for kind, image in images.items()
        ]
        limit = limit_of(rules({"m": rule} if rule else {}, images["limits"], AS_OF), "m")
        if limit:
            expected[workspace] = None if limit.binding is None else round(1000 / float(limit.binding), 1)
    used = [
        usage(f"u{n}", created=START, workspace_id=name, meter="m", quantity="10") for n, name in enumerate(expected)
    ]
    lake = Lake(uri=str(tmp_path / "lake"), storage_options={})
    for table, told in ((AUDIT, rows), (USAGE, used)):
        decoded = decode(table, json.dumps(told).encode())
        lake.append(table, decoded, recorded_at=RECORDED, deadline=time.monotonic() + 20)

    answered = query(RECIPES["usage-against-limits"].sql, lake_uri=lake.uri, storage_options={}, as_of=AS_OF).rows
    found = {row[0]: row[-1] for row in answered if row[-1] is not None}

    assert len(expected) > 50
    assert found == {name: percent for name, percent in expected.items() if percent is not None}


def test_what_is_used_is_counted_as_its_meter_counts(tmp_path: Path) -> None:
    """Events, amounts, levels or values; as `nilometer usage show` says, of what was not voided."""
    meters = {"calls": "count", "tokens": "sum", "peak": "max", "seats": "latest", "users": "unique"}
    audit = [
        change(f"m{meter}", kind="meter", pk=f"METER#{meter}", sk="METER", workspace_id=None,
               new_image={"meter": meter, "aggregation": aggregation, "dimensions": ["user", "region"]})
        for meter, aggregation in meters.items()
    ]  # fmt: skip
    limits = {"limits": dict.fromkeys(meters, 10), "limit_rules": {}}
    audit.append(change("b", kind="billing", new_image={"plan": "team", **limits}))
    told = [(0, "5", "ada"), (1, "7", "bob"), (2, "4", "ada"), (3, "9", "eve")]
    used = [
        usage(f"{meter}{second}", created=START + second, meter=meter, quantity=quantity, dimensions={"user": user})
        for meter in meters
        for second, quantity, user in told
    ]
    used += [
        usage(f"v{meter}", created=START + 9, meter=meter, quantity="-9", dimensions=None,
              voids_source="/services/inference", voids_id=f"{meter}3", type="usage.voided.v1")
        for meter in meters
    ]  # fmt: skip
    lake = Lake(uri=str(tmp_path / "lake"), storage_options={})
    for table, rows in ((AUDIT, audit), (USAGE, used)):
        decoded = decode(table, json.dumps(rows).encode())
        lake.append(table, decoded, recorded_at=RECORDED, deadline=time.monotonic() + 20)

    answered = query(RECIPES["usage-against-limits"].sql, lake_uri=lake.uri, storage_options={}, as_of=AS_OF).rows

    assert {row[2]: row[4] for row in answered} == {"calls": 3, "tokens": 16, "peak": 7, "seats": 4, "users": 3}


@pytest.mark.parametrize(
    ("begins", "ends", "renews", "used"),
    [
        (None, None, False, 5),  # the month
        (-20, 10, True, 0),  # what was used in the period before
        (-40, -10, True, 0),  # past its end, where the renewal is on its way
        (-40, -10, False, 0),  # what ended does not count on
        (-60, -40, False, 5),  # it ended before the month began
        (-22, 8, True, 5),
    ],
)
def test_what_was_used_in_an_earlier_period_is_no_matter(
    tmp_path: Path, begins: int | None, ends: int | None, renews: bool, used: int
) -> None:
    """Days from the 23rd of November 2026 on; the usage is of a period that began on the 1st."""
    day = START - START % DAY
    plan = {"limits": {"m": 10}, "limit_rules": {}, "renews": renews}
    if begins is not None and ends is not None:
        plan |= {"current_period_start": day + begins * DAY, "current_period_end": day + ends * DAY}
    lake = Lake(uri=str(tmp_path / "lake"), storage_options={})
    for table, rows in ((AUDIT, [change("b", new_image=plan)]), (USAGE, [usage("u", meter="m", quantity="5")])):
        decoded = decode(table, json.dumps(rows).encode())
        lake.append(table, decoded, recorded_at=RECORDED, deadline=time.monotonic() + 20)

    for_all = query(RECIPES["usage-against-limits"].sql, lake_uri=lake.uri, storage_options={}, as_of=AS_OF).rows

    assert [(row[4], row[6]) for row in for_all] == [(used, used * 10)]
