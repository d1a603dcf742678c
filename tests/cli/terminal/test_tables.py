"""What a table does where the terminal is narrow: columns wrap, and where that is not enough a row becomes lines."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from nilometer.cli.terminal.output import lines, table

COLUMNS = ("queue", "id", ">receives", "~reason")
ROWS = [
    (
        "BillingDeadLetters",
        "01M844DZG0ZP4ZJFW39KERYDV6",
        6,
        "the price price_1 of the subscription sub_1 is not a number",
    ),
    ("UsageDeadLetters", "01M844DZG0ZP4ZJFW39KERYDV7", 11, None),
]
WORDS = st.text("abcdefghij", min_size=1, max_size=60)


def printed(
    width: int, columns: tuple[str, ...], rows: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(table(columns, rows))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_column_is_lost(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """The reason of a dead letter is there at every width, whole, and no line is wider than the terminal."""
    shown = printed(width, COLUMNS, ROWS, monkeypatch)

    assert {"queue", "id", "receives", "reason"} <= set(shown.split())
    assert "…" not in shown
    assert "thepricepriceofthesubscription"[:8] in re.sub(r"\s", "", shown)
    assert max(map(len, shown.splitlines())) <= width


def test_a_wide_terminal_has_a_line_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Header, rule, rows."""
    lines = [line for line in printed(200, COLUMNS, ROWS, monkeypatch).splitlines() if line.strip()]

    assert len(lines) == 2 + len(ROWS)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=4), width=st.integers(40, 200))
def test_every_value_is_shown_whole(rows: list[tuple[str, str, str]], width: int) -> None:
    """Whatever the width and the values; wrapped values are joined again."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        shown = printed(width, ("one", "~two", "~three"), list(rows), monkeypatch)

    letters = sorted(re.sub(r"[^a-j]", "", shown))
    assert all(letters.count(one) >= sum("".join(row).count(one) for row in rows) for one in "abcdefghij")


def test_only_our_own_lines_are_lines() -> None:
    """A value from outside shows its line breaks as signs."""
    assert lines(["role: Viewer", "name: one\ntwo"]).plain == "role: Viewer\nname: one␊two"
