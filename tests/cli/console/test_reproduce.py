"""An event of one stack again in an empty one: what it changes there is what the audit says of the first time."""

from __future__ import annotations

from typing import Any

import pytest

USAGE = "select source || '#' || event_id as name from usage where workspace_id = 'memphis' order by event_id limit 1"
STRIPE = """select cause as name from audit where kind = 'billing' and action = 'MODIFY' and workspace_id = 'memphis'
            order by sequence_number desc limit 1"""


@pytest.mark.parametrize("sql", [USAGE, STRIPE], ids=["usage", "stripe"])
def test_an_event_changes_the_same_again(ask: Any, sql: str) -> None:
    """Every record that the audit names, within half a minute; the stack that was asked stays as it was."""
    ask("wait")
    [row] = ask("query", sql, "--json").lines
    before = ask("verify", "records", "counters", "--json").lines

    answer = ask("reproduce", row["name"], "--json")

    assert answer.code == 0, answer.out + answer.err
    assert answer.json["equal"]
    assert {one["kind"] for one in answer.json["records"]} & {"billing", "register", "counter"}
    assert ask("verify", "records", "counters", "--json").lines == before


def test_what_cannot_be_done_again_is_refused(ask: Any) -> None:
    """An event that nobody knows, and one that changed nothing that could be compared."""
    unknown = ask("reproduce", "evt_nobody", "--json")
    changed_nothing = ask("reproduce", "/services/gateway#stray")

    assert unknown.code == 1
    assert "nothing is known of evt_nobody" in unknown.err
    assert changed_nothing.code == 1
    assert "nothing to compare" in changed_nothing.err
