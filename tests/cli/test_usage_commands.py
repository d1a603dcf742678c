"""Usage goes in by the bus and comes back counted."""

from __future__ import annotations

import uuid
from typing import Any

import pytest


@pytest.fixture
def workspace(nilometer: Any, stack: Any) -> str:
    """A new one, known already."""
    name = f"ws_{uuid.uuid4().hex[:8]}"
    assert nilometer("workspace", "create", name).code == 0
    return name


def used(nilometer: Any, workspace: str) -> dict[str, str]:
    assert nilometer("wait").code == 0
    return {meter["meter"]: meter["used"] for meter in nilometer("usage", "show", workspace, "--json").json["meters"]}


def test_the_same_id_counts_once(nilometer: Any, workspace: str) -> None:
    """Sent again by hand, as a producer would after a lost answer."""
    sent = ("usage", "send", "--workspace", workspace, "--meter", "api_calls", "--time", "2026-11-20T10:00:00Z")
    for _ in range(3):
        assert nilometer(*sent, "--quantity", "12", "--id", "fact-1").code == 0
    assert nilometer(*sent, "--quantity", "0.5").code == 0

    assert used(nilometer, workspace) == {"api_calls": "12.5"}


def test_a_meter_of_levels_keeps_the_greatest(nilometer: Any, workspace: str) -> None:
    """The unit and the kind of event come from the meter."""
    for level in ("3", "7", "5"):
        sent = nilometer("usage", "send", "--workspace", workspace, "--meter", "seats", "--quantity", level, "--json")
        assert (sent.json["type"], sent.json["data"]["unit"]) == ("usage.snapshot.v1", "seat")

    assert used(nilometer, workspace) == {"seats": "7"}


def test_usage_of_an_unknown_workspace_waits(nilometer: Any, stack: Any) -> None:
    """Nothing is lost: it counts when the workspace is known."""
    stranger = f"ws_{uuid.uuid4().hex[:8]}"
    nilometer("usage", "send", "--workspace", stranger, "--meter", "api_calls", "--quantity", "4")
    nilometer("wait")
    before = nilometer("usage", "show", stranger, "--json").json

    nilometer("workspace", "create", stranger)

    assert (before["known"], before["waiting"], before["meters"]) == (False, 1, [])
    assert used(nilometer, stranger) == {"api_calls": "4"}


def test_usage_for_people(nilometer: Any, workspace: str) -> None:
    """A table, not JSON."""
    nilometer("usage", "send", "--workspace", workspace, "--meter", "api_calls", "--quantity", "1234")
    nilometer("wait")

    assert "1,234" in nilometer("usage", "show", workspace).out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--meter", "camels", "--quantity", "1"], 1, "nilometer meter create camels"),
        (["--meter", "api_calls", "--quantity", "-1"], 1, "quantity"),
        (["--meter", "api_calls", "--quantity", "1", "--time", "yesterday"], 1, "RFC 3339"),
        (["--meter", "api_calls", "--quantity", "1", "--dimension", "model"], 2, "K=V"),
        (["--meter", "api_calls"], 2, "--quantity"),
    ],
)
def test_wrong_usage_is_refused_in_a_sentence(
    nilometer: Any, stack: Any, arguments: list[str], code: int, says: str
) -> None:
    """Before anything is sent, without a traceback."""
    answer = nilometer("usage", "send", "--workspace", "acme", *arguments)

    assert answer.code == code
    assert says in answer.err
    assert "Traceback" not in answer.err


def test_creating_twice_changes_nothing(nilometer: Any, workspace: str) -> None:
    """And says so; a meter that differs is refused."""
    slug = f"m_{uuid.uuid4().hex[:8]}"
    create = ("meter", "create", slug, "--aggregation", "sum", "--unit")

    assert nilometer("workspace", "create", workspace, "--json").json["created"] is False
    assert nilometer(*create, "token", "--json").json["created"] is True
    assert nilometer(*create, "token", "--json").json["created"] is False
    assert nilometer(*create, "byte").code == 1
