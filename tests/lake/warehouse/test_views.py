"""The sources of Fivetran's Stripe connector are views of our tables, with every name and type that it has."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from nilometer.lake.warehouse.export import export
from nilometer.lake.warehouse.source_columns import SOURCES
from nilometer.lake.warehouse.views import TYPES, source_columns

FILLED = {
    "balance_transaction", "charge", "coupon", "credit_note", "customer", "discount", "dispute", "fee", "invoice",
    "invoice_line_item", "plan", "price", "product", "refund", "subscription", "subscription_discount",
    "subscription_history", "subscription_item",
}  # fmt: skip
"""What the small company has."""


@pytest.fixture(scope="module")
def file(exported: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(exported), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'; set schema = 'nilometer'")
        yield connection


def test_every_source_has_every_column_in_its_type(file: duckdb.DuckDBPyConnection) -> None:
    """By the list of what dbt_stripe asks for: 27 names, 601 columns, in its order."""
    listed = source_columns()

    for name, columns in listed.items():
        shown = [(column, kind.lower()) for column, kind, *_ in file.sql(f"describe stripe.{name}").fetchall()]
        assert shown == [(column, TYPES[kind]) for column, kind in columns.items()], name
    assert (len(listed), sum(map(len, listed.values()))) == (27, 601)


def test_no_column_is_mapped_that_the_package_does_not_know() -> None:
    """A name of ours with an error in it would be null for ever."""
    assert SOURCES.keys() == source_columns().keys()
    for name, source in SOURCES.items():
        assert source.columns.keys() <= source_columns()[name].keys(), name


def test_what_we_know_is_in_the_views(file: duckdb.DuckDBPyConnection) -> None:
    """Each that the company has anything of has rows, and each column that is mapped has a value where ours has one."""
    for name in SOURCES:
        [(rows,)] = file.table(f"stripe.{name}").count("*").fetchall()
        assert (rows > 0) == (name in FILLED), name
    for theirs, ours in {
        "sum(amount_paid) from stripe.invoice": "sum(amount_paid) from nilometer.invoices",
        "sum(amount) from stripe.invoice_line_item": "sum(amount) from nilometer.invoice_lines",
        "sum(amount) from stripe.fee": "sum(fee) from nilometer.balance_transactions",
        "count(distinct plan_id) from stripe.subscription_item": "count(distinct price_id) from subscription_items",
    }.items():
        assert file.sql(f"select {theirs}").fetchall() == file.sql(f"select {ours}").fetchall(), theirs


def test_a_subscription_has_one_active_state(file: duckdb.DuckDBPyConnection) -> None:
    """The newest; the others are its history."""
    [(active, of, all_)] = file.sql(
        "select count(*) filter (_fivetran_active), count(distinct id), count(*) from stripe.subscription_history"
    ).fetchall()

    assert active == of < all_


def test_a_charge_and_its_invoice_find_each_other(exported: Path, tmp_path: Path) -> None:
    """By the payment of the invoice: since 2025 a charge does not name its invoice."""
    shutil.copy(exported, tmp_path / "lake.duckdb")
    with duckdb.connect(str(tmp_path / "lake.duckdb")) as connection:
        [(charge,)] = connection.sql("select min(object_id) from nilometer.charges").fetchall()
        connection.execute(
            "update nilometer.charges_history set payment_intent_id = 'pi_1' where object_id = ?", [charge]
        )
        [(invoice, payment)] = connection.sql(
            "select invoice_id, object_id from nilometer.invoice_payments order by object_id limit 1"
        ).fetchall()
        connection.execute(
            "update nilometer.invoice_payments_history set payment_intent_id = 'pi_1' where object_id = ?", [payment]
        )

        found = connection.sql("select invoice_id from stripe.charge where invoice_id is not null").fetchall()
        paid = connection.sql("select id, charge_id from stripe.invoice where charge_id is not null").fetchall()

    assert found == [(invoice,)]
    assert paid == [(invoice, charge)]


def test_times_are_without_a_zone_in_utc(file: duckdb.DuckDBPyConnection) -> None:
    """As the connector writes them."""
    [(differ,)] = file.sql(
        "select count(*) from stripe.invoice join nilometer.invoices on id = object_id"
        " where epoch(invoice.created) is distinct from epoch(created_at)"
    ).fetchall()

    assert differ == 0


def test_an_empty_lake_has_the_sources_too(tmp_path: Path) -> None:
    """So that a package builds on the first day."""
    export(str(tmp_path / "lake"), tmp_path / "lake.duckdb")

    with duckdb.connect(str(tmp_path / "lake.duckdb"), read_only=True) as connection:
        for name in SOURCES:
            assert connection.table(f"stripe.{name}").count("*").fetchall() == [(0,)]
    assert [one.name for one in tmp_path.iterdir()] == ["lake.duckdb"]
