"""Our dbt project is our metrics: built by dbt on DuckDB, the same to the last unit, in SQL that other engines read."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
import sqlglot
from tests.support.lake.known_company import END, START
from tests.support.lake.warehouse.dbt_build import DBT, build
from tests.support.project import ROOT

from nilometer.lake.metrics.metrics import METRICS
from nilometer.lake.metrics.period import MetricPeriod
from nilometer.lake.warehouse.project import project_files

LAST = (END - timedelta(days=1)).date()
EXPRESSION = re.compile(r"^    (\w+ as \(.*?)(?=^    \w|^\w)", re.MULTILINE | re.DOTALL)
KNOWN_AT = datetime(2028, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def built(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file in which dbt built the project."""
    if not DBT.exists():
        pytest.skip("no .venv/dbt: `make test` installs it")
    file = tmp_path_factory.mktemp("dbt") / "lake.duckdb"
    shutil.copy(exported, file)
    period = {"first": START.date().isoformat(), "last": LAST.isoformat(), "known_at": "2028-01-01 00:00:00"}
    assert build(ROOT / "dbt", file, **period) == 0
    return file


@pytest.mark.parametrize("name", METRICS)
def test_a_model_is_its_metric(built: Path, name: str) -> None:
    """Row by row, of two years; dbt's own tests of the project passed."""
    period = MetricPeriod(first=START.date(), last=LAST, known_at=KNOWN_AT)
    with duckdb.connect(str(built), read_only=True) as file:
        file.execute("set timezone = 'UTC'; set schema = 'nilometer'")
        asked = file.sql(METRICS[name].sql(period)).fetchall()
        shown = file.table(f"main.{name}").fetchall()

    assert asked
    assert sorted(map(str, shown)) == sorted(map(str, asked))


@pytest.mark.parametrize("dialect", ["athena", "spark", "trino"])
def test_what_dbt_compiled_is_read_by_other_engines(built: Path, dialect: str) -> None:
    """Models and tests, by sqlglot."""
    compiled = sorted((built.parent / "target/compiled/nilometer").rglob("*.sql"))

    assert len([path for path in compiled if path.stem in METRICS]) == len(METRICS)
    for path in compiled:
        assert sqlglot.parse_one(path.read_text(), dialect=dialect) is not None, path


def test_what_metrics_have_in_common_is_one_model() -> None:
    """No table expression is written twice, and each model of them is read."""
    files = project_files()
    sql = {name: text for name, text in files.items() if name.endswith(".sql")}
    parts = {Path(name).stem for name in sql if name.startswith("models/parts/")}
    written = Counter(found for text in sql.values() for found in EXPRESSION.findall(text))

    assert written
    assert max(written.values()) == 1
    assert parts == {found for text in sql.values() for found in re.findall(r"ref\('(\w+)'\)", text)}


def test_the_generated_files_of_the_project_are_current() -> None:
    """Run `python -m nilometer.lake.warehouse.project dbt` after a change of a metric or table."""
    stale = [name for name, text in project_files().items() if (ROOT / "dbt" / name).read_text() != text]

    assert stale == []
