"""A DuckDB file of the lake of a small company, as dbt gets it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.flows.billing_play import OBJECTS
from tests.support.lake.books import Books
from tests.support.lake.known_company import KnownCompany
from tests.support.lake.known_stripe import Delivery
from tests.support.stores.memory import MemoryStore

from nilometer.lake.warehouse.export import export


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read by its tests, written by none: who builds in it takes a copy."""
    folder = tmp_path_factory.mktemp("warehouse")
    books = Books(MemoryStore(), OBJECTS, folder / "lake")
    Delivery(KnownCompany(1, customers=3), books, 1).run()
    export(str(folder / "lake"), folder / "lake.duckdb")
    return folder / "lake.duckdb"
