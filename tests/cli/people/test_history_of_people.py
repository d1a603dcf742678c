"""`nilometer history` shows what happened to each kind of record, and none of its secrets."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from nilometer.domain.access.lockout import FAILURES
from nilometer.local.plane.engine import REGION

ADDRESS_HASH = hashlib.sha256(b"192.0.2.7").hexdigest()
BROWSER = "Mozilla/5.0 (X11; Linux x86_64)"
LOGO = b"a picture of Grace"
TITLE = "Your export of grace@example.com is ready"


@dataclass(frozen=True)
class Lived:
    """A workspace in which a record of each kind was changed; and the secrets that no answer may contain."""

    workspace: str
    user: str
    flag: str
    meter: str
    customer: str
    secrets: list[str]


@pytest.fixture(scope="module")
def lived(nilometer: Any, stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Lived:
    suffix = uuid.uuid4().hex[:8]
    ws, user, flag, meter, customer = f"ws-{suffix}", f"vic-{suffix}", f"f_{suffix}", f"m_{suffix}", f"cus_{suffix}"

    def run(*arguments: str) -> Any:
        answer = nilometer(*arguments)
        assert answer.code == 0, answer.err
        return answer

    run("workspace", "create", ws, "--slug", ws, "--admin", "ada")
    run("member", "add", ws, user, "--role", "Viewer")
    run("member", "role", ws, user, "Analyst", "--as", "ada")
    invited = run("invite", "create", ws, "grace@example.com", "--role", "Viewer", "--as", "ada", "--json").json
    again = run("invite", "resend", ws, invited["id"], "--as", "ada", "--json").json
    session = run("session", "open", ws, user, "--json").json
    run("flag", "set", flag, "--description", "For a test")
    run("flag", "override", ws, flag, "on", "--as", "ada")
    run("limit", "override", ws, meter, "--included", "5")
    run("notification", "send", ws, user, "--topic", "exports.ready", "--title", TITLE)
    run("notification", "read", ws, user, "--all", "--as", user)
    run("notification", "prefer", ws, user, "exports.ready", "--no-in-app", "--as", user)
    reset = run("token", "issue", ws, user, "--purpose", "password_reset", "--json").json
    run("onboarding", "advance", ws, user, "first_invoice", "meter_created")
    run("meter", "create", meter, "--unit", "call", "--aggregation", "sum")
    folder = tmp_path_factory.mktemp("texts")
    (folder / "logo.png").write_bytes(LOGO)
    run("attachment", "add", ws, str(folder / "logo.png"), "--purpose", "avatar", "--type", "image/png")
    accept(run, stack, ws, user, folder / "terms.html")
    for _ in range(FAILURES):
        announce(stack, ws, "security.event_recorded.v1", action="login_failed", user_id=user, reason="wrong_password")
    announce(stack, ws, "billing.linked.v1", customer=customer, livemode=False)
    run("wait")
    tokens = [invited["token"], again["token"], session["token"], reset["token"]]
    hashes = [hashlib.sha256(one.encode()).hexdigest() for one in tokens]
    private = ["grace@", "192.0.2.7", ADDRESS_HASH, BROWSER, TITLE, LOGO.decode()]
    return Lived(ws, user, flag, meter, customer, [*tokens, *hashes, *private])


def accept(run: Any, stack: Any, workspace: str, user: str, text: Path) -> None:
    """A published version, and its acceptance as the console announces it."""
    text.write_text(uuid.uuid4().hex)
    publish = ("policy", "publish", "terms", "--url", "https://example.com/t", "--file", str(text), "--yes", "--json")
    version = run(*publish).json["policy_version"]
    told = {"policy": "terms", "version": version, "ip_hash": ADDRESS_HASH, "user_agent": BROWSER}
    announce(stack, workspace, "policy.accepted.v1", user_id=user, **told)


def announce(stack: Any, workspace: str, event_type: str, **data: Any) -> None:
    """What the console says on the bus."""
    detail = {
        "specversion": "1.0",
        "id": uuid.uuid4().hex,
        "source": "/services/console",
        "type": event_type,
        "subject": workspace,
        "time": datetime.now(UTC).isoformat(),
        "data": data,
    }
    events: Any = boto3.client(
        "events",
        endpoint_url=stack.about["aws_endpoint_url"],
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    entry = {
        "EventBusName": stack.about["bus"],
        "Source": "services.console",
        "DetailType": detail["type"],
        "Detail": json.dumps(detail),
    }
    assert events.put_events(Entries=[entry])["FailedEntryCount"] == 0


@pytest.mark.parametrize(
    ("kind", "of", "actions", "changed"),
    [
        ("membership", "user", {"INSERT", "MODIFY"}, "role"),
        ("invitation", "workspace", {"INSERT", "MODIFY"}, "expires_at"),
        ("session", "workspace", {"INSERT"}, "session_id"),
        ("security", "workspace", {"INSERT"}, "action"),
        ("flag", "flag", {"INSERT"}, "enabled"),
        ("flag_override", "workspace", {"INSERT"}, "enabled"),
        ("limits", "workspace", {"INSERT"}, "own_limits"),
        ("acceptance", "user", {"INSERT"}, "user_id"),
        ("notification", "user", {"INSERT", "MODIFY"}, "read_at"),
        ("preference", "user", {"INSERT"}, "channels_off"),
        ("slug", "workspace", {"INSERT"}, "slug"),
        ("workspace", "workspace", {"INSERT"}, "name"),
        ("token", "workspace", {"INSERT"}, "purpose"),
        ("lockout", "workspace", {"INSERT", "MODIFY"}, "locked_until"),
        ("onboarding", "workspace", {"INSERT"}, "steps"),
        ("attachment", "workspace", {"INSERT"}, "content_type"),
        ("unread", "user", {"INSERT", "MODIFY"}, "unread"),
        ("meter", "meter", {"INSERT"}, "unit"),
        ("link", "workspace", {"INSERT"}, "workspace_id"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_history_shows_a_record_of_every_kind(
    nilometer: Any, lived: Lived, kind: str, of: str, actions: set[str], changed: str
) -> None:
    """What was done to it, by whom, and what changed; as JSON, with each change, and as it is now."""
    key = getattr(lived, of)
    shown = nilometer("history", "show", kind, key, "--json")
    now = datetime.now(UTC).isoformat()
    told = [shown, nilometer("history", "show", kind, key, "--diff")]
    told.append(nilometer("history", "show", kind, key, "--as-of", now))

    assert {one["action"] for one in shown.lines} == actions, shown.err
    assert any(changed in one["changed"] for one in shown.lines)
    assert all(
        one["actor"] in {"ada", lived.user, "nilometer cli", "/services/console", "nilometer.notices"}
        for one in shown.lines
    )
    output = "".join(one.out for one in told)
    assert [secret for secret in lived.secrets if secret in output] == []
