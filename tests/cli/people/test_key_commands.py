"""Keys from the command line, and the HTTP API of a running stack that they open."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nilometer.domain.store.times import rfc3339


def ask(stack: Any, method: str, path: str, key: str, body: Any = None) -> tuple[int, Any]:
    origin = stack.about["webhook_url"].removesuffix("/webhooks/stripe")
    head = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    content = json.dumps(body).encode()
    request = urllib.request.Request(origin + path, content, head, method=method)  # noqa: S310  # our own stack
    try:
        with urllib.request.urlopen(request, timeout=120) as answered:  # noqa: S310  # our own stack
            return answered.status, json.load(answered)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture
def workspace(nilometer: Any, stack: Any) -> str:
    name = f"ws-{uuid.uuid4().hex[:8]}"
    assert nilometer("workspace", "create", name, "--admin", "ada").code == 0
    return name


def test_a_key_opens_what_its_scopes_say_until_it_is_revoked(nilometer: Any, stack: Any, workspace: str) -> None:
    """Created, rotated, listed without a secret, revoked; the API follows at once."""
    made = nilometer("key", "create", "web", "--workspace", workspace, "--scope", "member.view", "--json").json
    turned = nilometer("key", "rotate", made["id"], "--workspace", workspace, "--json").json
    members = f"/v1/workspaces/{workspace}/members"

    assert [ask(stack, "GET", members, one["token"])[0] for one in (made, turned)] == [200, 200]
    assert ask(stack, "GET", f"/v1/workspaces/{workspace}/usage", made["token"])[0] == 403
    assert ask(stack, "GET", "/v1/workspaces/other/members", made["token"])[0] == 403
    listed = nilometer("key", "list", "--workspace", workspace, "--json")
    assert [one["id"] for one in listed.lines] == [made["id"]]
    assert made["token"].split("_", 3)[3] not in listed.out
    assert nilometer("key", "revoke", made["id"], "--workspace", workspace, "--yes").code == 0
    assert [ask(stack, "GET", members, one["token"])[0] for one in (made, turned)] == [401, 401]


def test_events_over_http_are_counted(nilometer: Any, stack: Any, workspace: str) -> None:
    """Once, also when the request is sent again; and the first example of the documentation runs."""
    key = nilometer("key", "create", "web", "--workspace", workspace, "--scope", "*", "--json").json["token"]
    sent = [
        {
            "specversion": "1.0",
            "id": f"e{number}",
            "source": f"/workspaces/{workspace}/web",
            "type": "usage.recorded.v1",
            "subject": workspace,
            "time": rfc3339(datetime.now(UTC)),
            "data": {"meter": "api_calls", "quantity": "2", "unit": "call"},
        }
        for number in range(5)
    ]
    answers = [ask(stack, "POST", "/v1/events", key, sent) for _ in range(2)]
    assert [(status, found["accepted"]) for status, found in answers] == [(200, 5), (200, 5)]
    assert nilometer("wait").code == 0
    _, used = ask(stack, "GET", f"/v1/workspaces/{workspace}/usage", key)
    assert [(one["meter"], float(one["used"])) for one in used["items"]] == [("api_calls", 10.0)]

    page = (Path(__file__).parents[3] / "docs/api.md").read_text()
    example, *_ = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    origin = stack.about["webhook_url"].removesuffix("/webhooks/stripe")
    exec(example.replace("acme", workspace), {"URL": origin, "KEY": key})  # noqa: S102  # our own page
