"""Text from outside cannot command a terminal, and JSON keeps every value."""

from __future__ import annotations

import json
import unicodedata

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nilometer.cli.program import _failed
from nilometer.cli.terminal.output import cell
from nilometer.cli.terminal.visible import visible, visible_json

HOSTILE = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\r\nOK\u202egnp.exe\x9b31m\u2066x\u200b\U000e0041"
TEXT = st.text(st.characters(blacklist_categories=("Cs",)))


@given(TEXT)
@example(HOSTILE)
def test_nothing_of_a_text_is_obeyed(text: str) -> None:
    """No control character, no mark of direction, no invisible tag is left, and the rest stays as it is."""
    shown = visible(text)

    assert not [one for one in shown if unicodedata.category(one) in {"Cc", "Zl", "Zp"}]
    assert not [
        one
        for one in shown
        if unicodedata.bidirectional(one) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    ]
    assert visible(shown) == shown
    if text.isprintable() and text.isascii():
        assert shown == text


@given(st.recursive(TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=5))
@example(HOSTILE)
def test_json_says_the_same_to_a_machine(value: object) -> None:
    """The escapes are JSON's own."""
    line = visible_json(json.dumps(value, ensure_ascii=False))

    assert json.loads(line) == value
    assert visible(line) == line


def test_a_cell_shows_what_would_have_been_done() -> None:
    """An escape sequence, a line break and an override, as symbols; markup of the table is text."""
    assert cell("a\x1b[31m\nb\u202e[red]") == "a␛[31m␊b‹U+202E›\\[red]"


def test_an_error_of_sql_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """The place that DuckDB points at stands below the SQL; any other error is one line, whatever it quotes."""
    message = 'Parser Error: near "wher"\n\nLINE 1: select\x1b wher\n               ^'

    for reason, wanted in (
        ("invalid_sql", 'Error: Parser Error: near "wher"\n  LINE 1: select␛ wher\n                 ^\n'),
        ("failed", 'Error: Parser Error: near "wher"␊␊LINE 1: select␛ wher␊               ^\n'),
    ):
        assert _failed(click.ClickException(message), False, reason) == 1
        assert capsys.readouterr().err == wanted
