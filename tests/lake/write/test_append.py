"""Each key is in its table once, whatever comes, in whatever order, how often, and from whomever."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from tests.support.lake.build import DAY, START, append, ask, change, stripe_event, usage, version

from nilometer.domain.lake.tables import AUDIT, STRIPE_EVENTS, TABLES, USAGE
from nilometer.domain.lake.tables import DeltaTable as Declared
from nilometer.errors import Rejected, Unavailable
from nilometer.lake.tables import kept
from nilometer.lake.write import append as append_module
from nilometer.lake.write.append import Lake


def test_a_batch_is_one_commit(lake: Lake) -> None:
    """Several days and many rows: one version after the creation."""
    append(lake, USAGE, *(usage(f"e{n}", created=START - n % 5 * DAY) for n in range(1000)))

    assert version(lake, USAGE) == 1
    assert ask(lake, "select count(*), count(distinct event_date) from usage") == [(1000, 5)]


def test_a_repeated_batch_commits_nothing(lake: Lake) -> None:
    rows = [usage(f"e{n}") for n in range(3)]
    append(lake, USAGE, *rows)

    again = append(lake, USAGE, *rows)

    assert not again.new
    assert version(lake, USAGE) == 1


def test_of_a_mixed_batch_only_the_new_rows_land(lake: Lake) -> None:
    append(lake, USAGE, usage("old"))

    appended = append(lake, USAGE, usage("old"), usage("new", quantity="7"), usage("new", quantity="8"))

    assert appended.new == [1]
    assert ask(lake, "select event_id, quantity::int from usage order by 1") == [("new", 7), ("old", 2)]


def test_a_key_is_all_of_its_columns(lake: Lake) -> None:
    """Two producers may use the same id."""
    append(lake, USAGE, usage("e1", source="/a"), usage("e1", source="/b"))

    assert ask(lake, "select count(*) from usage") == [(2,)]


def test_ids_may_hold_any_character(lake: Lake) -> None:
    """The keys never become SQL."""
    ids = ["it's", 'quo"te', "back\\slash", "nul\x00", "ünïcode\U0001f600", "'); DROP", "-- x", "%s"]
    append(lake, USAGE, *map(usage, ids))

    again = append(lake, USAGE, *map(usage, ids))

    assert not again.new
    assert ask(lake, "select count(*) from usage") == [(len(ids),)]


def test_more_days_than_one_commit_takes_are_several(lake: Lake) -> None:
    """A replay of a quarter lands all the same."""
    append(lake, USAGE, *(usage(f"e{n}", created=START - n * DAY) for n in range(70)))

    assert version(lake, USAGE) == 3
    assert ask(lake, "select count(*) from usage") == [(70,)]


def test_a_commit_whose_answer_was_lost_is_found(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first commit lands and raises; the next attempt sees its rows and commits nothing."""
    commits = 0
    commit = append_module._commit

    def landed_but_unanswered(*arguments: Any) -> None:
        nonlocal commits
        commits += 1
        commit(*arguments)
        raise OSError("connection reset")

    monkeypatch.setattr(append_module, "_commit", landed_but_unanswered)

    appended = append(lake, USAGE, usage("e1"))

    assert (commits, appended.attempts) == (1, 2)
    assert ask(lake, "select count(*) from usage") == [(1,)]


def test_a_slow_twin_is_refused(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between our reading of the keys and our commit somebody else appends the same day."""
    append(lake, USAGE, usage("e0"))
    commit = append_module._commit
    twin_came = False

    def overtaken(*arguments: Any) -> int:
        nonlocal twin_came
        if not twin_came:
            twin_came = True
            append(lake, USAGE, usage("e1"))
        return commit(*arguments)

    monkeypatch.setattr(append_module, "_commit", overtaken)

    appended = append(lake, USAGE, usage("e1"), usage("e2"))

    assert (appended.attempts, appended.new) == (2, [1])
    assert ask(lake, "select count(*), count(distinct event_id) from usage") == [(3, 3)]


def test_a_neighbour_on_another_day_is_not_in_the_way(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits of different days pass each other without a new attempt."""
    append(lake, USAGE, usage("e0"))
    commit = append_module._commit
    neighbour_came = False

    def overtaken(*arguments: Any) -> int:
        nonlocal neighbour_came
        if not neighbour_came:
            neighbour_came = True
            append(lake, USAGE, usage("yesterday", created=START - DAY))
        return commit(*arguments)

    monkeypatch.setattr(append_module, "_commit", overtaken)

    assert append(lake, USAGE, usage("today")).attempts == 1
    assert ask(lake, "select count(*) from usage") == [(3,)]


def test_of_two_creators_both_succeed(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loser of version 0 opens what the winner made."""
    create = kept.open_or_create

    def late(*arguments: Any) -> DeltaTable:
        monkeypatch.setattr(kept, "open_or_create", create)
        append(lake, USAGE, usage("winner"))
        from nilometer.lake.tables.tables import _create, table_uri

        return _create(table_uri(arguments[0], arguments[1].name), arguments[1], arguments[2])

    monkeypatch.setattr(kept, "open_or_create", late)

    appended = append(lake, USAGE, usage("loser"))

    assert appended.attempts == 2
    assert ask(lake, "select count(*) from usage") == [(2,)]


def test_out_of_time_is_said(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the store unreachable the caller gets an error at the deadline, and can try again later."""

    def away(*_: Any) -> None:
        raise OSError("away")

    monkeypatch.setattr(append_module, "_commit", away)

    started = time.monotonic()
    with pytest.raises(Unavailable, match="usage: not appended in time: away"):
        append(lake, USAGE, usage("e1"), seconds=0.3)
    assert time.monotonic() - started < 30


def test_a_date_that_does_not_exist_stores_nothing(lake: Lake) -> None:
    with pytest.raises(Rejected, match="time"):
        append(lake, USAGE, usage("good"), usage("bad", time="2026-02-30T00:00:00Z"))

    assert ask(lake, "select count(*) from usage") == [(0,)]


@pytest.mark.parametrize(("table", "row"), [(STRIPE_EVENTS, stripe_event), (USAGE, usage), (AUDIT, change)])
def test_every_table_takes_its_rows(lake: Lake, table: Declared, row: Any) -> None:
    """All columns come back with the declared types, JSON as it came."""
    append(lake, table, row("x1"))

    stored = DeltaTable(f"{lake.uri}/{table.name}")
    [answer] = ask(lake, f"from {table.name}")
    assert [field.name for field in stored.schema().fields] == [column.name for column in table.columns]
    assert len(answer) == len(table.columns)
    assert stored.protocol().min_reader_version == 1
    assert stored.metadata().partition_columns == ["event_date"]
    assert stored.metadata().configuration["delta.appendOnly"] == "true"


def test_values_survive_exactly(lake: Lake) -> None:
    """Microseconds, the smallest and the largest quantity, and text of any kind."""
    quantities = ["0.000000001", "-999999999999999.999999999", "999999999999999.999999999"]
    append(
        lake, USAGE, *(usage(f"e{n}", quantity=q, time="2026-11-23T04:14:05.123456Z") for n, q in enumerate(quantities))
    )

    rows = ask(lake, "select quantity, epoch_us(time) % 1000000 from usage order by event_id")

    assert [(format(q, "f"), us) for q, us in rows] == [(q, 123456) for q in quantities]


def test_the_lambda_loads_neither_pyarrow_nor_pandas(project: Path) -> None:
    """Together with deltalake they exceed what Lambda unpacks."""
    code = (
        "import sys, nilometer.lambdas.lake, nilometer.lambdas.maintenance, nilometer.lambdas.changes;"
        "import nilometer.lambdas.datasets;"
        "print(sorted({'pyarrow', 'pandas', 'duckdb', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=project)

    assert done.stdout.strip() == "[]"


def test_every_table_has_an_id_to_count() -> None:
    """Scripts run `count(distinct event_id)`."""
    names = {table.name: {column.name for column in table.columns} for table in TABLES.values()}

    assert "event_id" in names["stripe_events"] & names["usage"]
    assert "change_id" in names["audit"]
