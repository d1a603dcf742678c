"""What was refused in any flow is listed, shown, sent again and marked by one group of commands."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any


def test_a_reject_is_listed_shown_sent_again_and_dismissed(nilometer: Any, stack: Any) -> None:
    """And `trace` finds it by its id; what is refused again is listed again."""
    workspace, event_id = f"ws_{uuid.uuid4().hex[:8]}", f"odd-{uuid.uuid4().hex[:8]}"
    assert nilometer("workspace", "create", workspace).code == 0
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": "/services/inference",
        "type": "usage.recorded.v1",
        "subject": workspace,
        "time": datetime.now(UTC).isoformat(),
        "data": {"meter": "api_calls", "quantity": "2", "unit": "camel"},
    }
    nilometer("usage", "send", "-", text=json.dumps(event))
    nilometer("wait")

    def listed(*options: str) -> list[Any]:
        found = nilometer("rejects", "list", "--since", "2026-11-01", *options, "--json").lines
        return [one for one in found if one["event_id"] == event_id]

    [one] = listed("--flow", "usage")
    assert (one["flow"], one["reason"], one["whose"]) == ("usage", "unit_mismatch", f"{workspace} {event_id}")
    assert one["advice"].startswith("send the message to its sender")
    assert one["id"][:12] in nilometer("rejects", "list").out
    shown = nilometer("rejects", "show", one["id"][:12], "--json").json
    assert "api_calls" in json.dumps(shown["payload"])
    assert json.loads(nilometer("rejects", "show", one["id"], "--raw").out)["data"]["unit"] == "camel"
    trace = nilometer("trace", f"/services/inference#{event_id}", "--json").json
    assert "rejected" in [hop["place"] for hop in trace["hops"]]

    assert nilometer("rejects", "dismiss", one["id"], "--yes", "--json").json["dismissed"] == 1
    assert listed() == []
    assert listed("--all")[0]["settled"].startswith("dismissed")
    assert nilometer("rejects", "resend", one["id"], "--yes").code == 0
    nilometer("wait")
    assert [again["id"] for again in listed()] == [one["id"]]
    assert nilometer("rejects", "show", "nothing").code == 1


def test_what_waits_is_listed_until_what_it_lacks_is_there(nilometer: Any, stack: Any) -> None:
    """Usage of a workspace that nobody created yet, for people and for machines."""
    workspace, meter = f"ws_{uuid.uuid4().hex[:8]}", f"m_{uuid.uuid4().hex[:8]}"
    assert nilometer("meter", "create", meter, "--unit", "call", "--aggregation", "sum").code == 0
    assert nilometer("usage", "send", "--workspace", workspace, "--meter", meter, "--quantity", "2").code == 0
    nilometer("wait")

    def waiting() -> list[Any]:
        return [one for one in nilometer("waiting", "--json").lines if one["workspace_id"] == workspace]

    [one] = waiting()
    assert (one["flow"], one["reason"], one["count"]) == ("usage", "unknown_workspace", 1)
    assert workspace in nilometer("waiting").out
    assert nilometer("workspace", "create", workspace).code == 0
    nilometer("wait")
    assert waiting() == []
