"""Notifications, policies and feature flags from the command line."""

from __future__ import annotations

import hashlib
import json
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def workspace(nilometer: Any, stack: Any) -> str:
    """A new one with `ada` as its Admin and `vic` as a Viewer."""
    name = f"ws-{uuid.uuid4().hex[:8]}"
    assert nilometer("workspace", "create", name, "--admin", "ada").code == 0
    assert nilometer("member", "add", name, "vic", "--role", "Viewer").code == 0
    return name


@pytest.fixture
def flag(nilometer: Any, stack: Any) -> str:
    """A new one, off."""
    name = f"f_{uuid.uuid4().hex[:8]}"
    assert nilometer("flag", "set", name, "--description", "For a test").code == 0
    return name


def send(nilometer: Any, workspace: str, user: str = "vic", *more: str) -> Any:
    return nilometer(
        "notification", "send", workspace, user, "--topic", "exports.ready", "--title", "Done", "--json", *more
    )


def unread(nilometer: Any, workspace: str, user: str = "vic") -> int:
    return int(nilometer("notification", "count", workspace, user).out)


def test_a_notification_is_sent_shown_counted_and_read(nilometer: Any, workspace: str) -> None:
    """By its id, or all of them."""
    first = send(nilometer, workspace).json["id"]
    send(nilometer, workspace)
    shown = nilometer("notification", "list", workspace, "vic", "--json").lines

    assert ([one["title"] for one in shown], unread(nilometer, workspace)) == (["Done", "Done"], 2)
    assert first in nilometer("notification", "list", workspace, "vic").out
    assert nilometer("notification", "read", workspace, "vic", first).err == "1 marked as read\n"
    assert [one["id"] == first for one in nilometer("notification", "list", workspace, "vic", "--json").lines] == [
        not one["unread"] for one in nilometer("notification", "list", workspace, "vic", "--json").lines
    ]
    assert nilometer("notification", "read", workspace, "vic", "--all").code == 0
    assert nilometer("notification", "count", workspace, "vic", "--json").json["unread"] == 0


def test_notifications_are_put_away_and_listed_in_pages(nilometer: Any, workspace: str) -> None:
    """The end of a page names the option that goes on."""
    for _ in range(3):
        send(nilometer, workspace)
    page = nilometer("notification", "list", workspace, "vic", "--limit", "2", "--json")
    last = page.lines[-1]["id"]
    assert (len(page.lines), page.err) == (2, f"more: --after {last}\n")
    rest = nilometer("notification", "list", workspace, "vic", "--after", last, "--json").lines
    assert [one["id"] in {line["id"] for line in page.lines} for one in rest] == [False]

    assert nilometer("notification", "archive", workspace, "vic", last).err == "1 archived\n"
    assert [one["id"] for one in nilometer("notification", "list", workspace, "vic", "--archived", "--json").lines] == [
        last
    ]
    assert unread(nilometer, workspace) == 2
    assert nilometer("notification", "archive", workspace, "vic", "--all").err == "0 archived\n"
    assert nilometer("notification", "archive", workspace, "vic").code == 2


def test_an_attachment_is_kept_had_and_removed(nilometer: Any, workspace: str, tmp_path: Path) -> None:
    """By the machine itself, and by signed addresses."""
    file = tmp_path / "logo.png"
    file.write_bytes(b"\x89PNG")
    typed = (workspace, str(file), "--purpose", "avatar", "--type", "image/png")
    sha256 = hashlib.sha256(b"\x89PNG").hexdigest()

    assert nilometer("attachment", "uploaded", *typed).code == 1
    signed = nilometer("attachment", "upload-url", *typed, "--json").json
    request = urllib.request.Request(signed["url"], data=b"\x89PNG", method="PUT", headers=signed["headers"])  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        assert answer.status == 200
    assert nilometer("attachment", "uploaded", *typed).out == f"{sha256}\n"
    assert nilometer("attachment", "add", *typed).out == f"{sha256}\n"
    where = nilometer("attachment", "url", workspace, sha256, "--purpose", "avatar").out.strip()
    with urllib.request.urlopen(where, timeout=60) as answer:  # noqa: S310
        assert answer.read() == b"\x89PNG"
    assert "curl --upload-file" in nilometer("attachment", "upload-url", *typed).out
    assert nilometer("attachment", "remove", workspace, sha256, "--purpose", "avatar").code == 0
    assert nilometer("attachment", "list", workspace, "--purpose", "avatar", "--json").lines == []
    assert nilometer("attachment", "sweep", "--dry-run", "--json").code == 0  # it is younger than a day


def test_a_member_sees_only_his_own(nilometer: Any, workspace: str) -> None:
    """Whoever he says he acts as."""
    send(nilometer, workspace)

    own = nilometer("notification", "list", workspace, "vic", "--as", "vic", "--json")
    others = nilometer("notification", "list", workspace, "vic", "--as", "ada")
    stranger = nilometer("notification", "list", workspace, "vic", "--as", "eve")
    assert (len(own.lines), others.code, stranger.code) == (1, 1, 1)
    assert send(nilometer, workspace, "ada", "--as", "vic").code == 1


def test_a_preference_mutes_and_explains(nilometer: Any, workspace: str) -> None:
    """And is forgotten."""
    mute = ("notification", "prefer", workspace, "vic", "exports.ready")
    assert nilometer(*mute, "--no-in-app").code == 0

    why = nilometer("notification", "explain", workspace, "vic", "exports.ready", "--json").lines
    assert why[0] == {"channel": "in_app", "on": False, "because": f"exports.ready in {workspace}"}
    shown = ("notification", "preferences", workspace, "vic")
    [said] = nilometer(*shown, "--json").lines
    assert said == {"workspace": workspace, "topic": "exports.ready", "on": [], "off": ["in_app"]}
    assert "in_app" in nilometer(*shown).out
    assert send(nilometer, workspace).json["told"] is False
    assert nilometer(*mute, "--forget").code == 0
    assert send(nilometer, workspace).json["told"] is True
    assert nilometer(*mute).code == 2


def test_a_tutorial_advances_and_is_shown(nilometer: Any, workspace: str) -> None:
    """To its person and an operator; a member cannot act for another."""
    advance = ("onboarding", "advance", workspace, "vic", "first_invoice")
    assert nilometer(*advance, "meter_created", "--as", "vic").code == 0
    assert nilometer(*advance, "--mark", "completed").code == 0
    assert nilometer(*advance).code == 2
    assert nilometer(*advance, "forged", "--as", "ada").code == 1

    [shown] = nilometer("onboarding", "show", workspace, "vic", "--as", "vic", "--json").lines
    assert shown == {"tutorial": "first_invoice", "steps": ["meter_created"], "status": "completed"}
    assert "meter_created" in nilometer("onboarding", "show", workspace, "vic").out


def test_what_the_system_notices_is_told_once(nilometer: Any, workspace: str) -> None:
    """From the record's change through the stream and the bus to its person, and nobody else."""
    assert nilometer("member", "role", workspace, "vic", "Analyst").code == 0
    assert nilometer("wait").code == 0

    [told] = nilometer("notification", "list", workspace, "vic", "--json").lines
    assert (told["topic"], told["title"]) == ("member.role_changed", "Your role is now Analyst")
    assert nilometer("notification", "list", workspace, "ada", "--json").lines == []


def test_a_flag_is_set_overridden_and_explained(nilometer: Any, workspace: str, flag: str) -> None:
    """For everybody, for a share, for one workspace."""
    off = nilometer("flag", "explain", workspace, flag, "--json").json
    nilometer("flag", "set", flag, "--rollout", "100")
    share = nilometer("flag", "explain", workspace, flag, "--json").json
    own = nilometer("flag", "override", workspace, flag, "off", "--json").json

    assert [(one["on"], one["reason"]) for one in (off, share, own)] == [
        (False, "off"),
        (True, "rollout"),
        (False, "override"),
    ]
    [override] = nilometer("flag", "overrides", flag, "--json").lines
    assert (override["workspace"], override["enabled"]) == (workspace, False)
    assert nilometer("flag", "override", workspace, flag, "default").err == f"{flag} is on in {workspace} (rollout)\n"
    assert flag in nilometer("flag", "list").out


def test_archiving_asks_and_can_be_undone(nilometer: Any, workspace: str, flag: str) -> None:
    """It switches off in every workspace."""
    nilometer("flag", "set", flag, "--on")
    unsaid = nilometer("flag", "archive", flag, text="")
    done = nilometer("flag", "archive", flag, "--yes")
    answer = nilometer("flag", "explain", workspace, flag, "--json").json

    assert (unsaid.code, done.code, answer["reason"]) == (2, 0, "archived")
    assert nilometer("flag", "restore", flag, "--json").json["enabled"] is True


def test_a_viewer_may_not_override(nilometer: Any, workspace: str, flag: str) -> None:
    """And an unknown flag is a mistake, not a new flag."""
    refused = nilometer("flag", "override", workspace, flag, "on", "--as", "vic")
    unknown = nilometer("flag", "override", workspace, f"{flag}_x", "on")

    assert (refused.code, unknown.code) == (1, 1)
    assert "may not flag.manage" in refused.err


def test_a_policy_is_published_once_and_listed(nilometer: Any, stack: Any, tmp_path: Path) -> None:
    """Its number follows the last one; the text is known by its hash."""
    text = tmp_path / "cookies.html"
    text.write_text(uuid.uuid4().hex)
    published = ("policy", "publish", "cookies", "--url", "https://example.com/c", "--file", str(text), "--json")
    unsaid = nilometer(*published, text="")
    made = nilometer(*published, "--yes").json
    versions = nilometer("policy", "list", "cookies", "--json").lines

    assert (unsaid.code, made["published"]) == (2, True)
    assert versions[0]["version"] == made["policy_version"]
    assert versions[0]["content_sha256"] == hashlib.sha256(text.read_bytes()).hexdigest()
    assert [one["in_force"] for one in versions] == [True] + [False] * (len(versions) - 1)
    text.write_text("other")
    again = nilometer(*published, "--version", str(made["policy_version"]), "--yes")
    assert again.code == 1
    assert "publish the next version" in again.err


def test_an_acceptance_on_the_bus_is_seen(nilometer: Any, stack: Any, workspace: str, tmp_path: Path) -> None:
    """Outstanding before, accepted after."""
    import os
    from datetime import UTC, datetime

    import boto3

    from nilometer.local.plane.engine import REGION

    text = tmp_path / "privacy.html"
    text.write_text(uuid.uuid4().hex)
    made = nilometer(
        "policy", "publish", "privacy", "--url", "https://example.com/p", "--file", str(text), "--yes", "--json"
    ).json
    user = f"u_{uuid.uuid4().hex[:8]}"
    before = nilometer("policy", "outstanding", user, "--json").lines
    detail = {
        "specversion": "1.0",
        "id": uuid.uuid4().hex,
        "source": "/services/console",
        "type": "policy.accepted.v1",
        "subject": workspace,
        "time": datetime.now(UTC).isoformat(),
        "data": {"user_id": user, "policy": "privacy", "version": made["policy_version"], "user_agent": "Mozilla/5.0"},
    }
    about = stack.about
    events: Any = boto3.client(
        "events",
        endpoint_url=about["aws_endpoint_url"],
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key=os.environ.get("AWS_SECRET_ACCESS_KEY", "test"),
    )
    entry = {
        "EventBusName": about["bus"],
        "Source": "services.console",
        "DetailType": detail["type"],
        "Detail": json.dumps(detail),
    }
    assert events.put_events(Entries=[entry])["FailedEntryCount"] == 0
    assert nilometer("wait").code == 0

    assert "privacy" in {one["policy"] for one in before}
    assert "privacy" not in {one["policy"] for one in nilometer("policy", "outstanding", user, "--json").lines}
    [kept] = nilometer("policy", "acceptances", user, "--json").lines
    assert (kept["version"], kept["user_agent"]) == (made["policy_version"], "Mozilla/5.0")
    accepted = nilometer("policy", "accepted", "privacy", str(made["policy_version"]), "--json").lines
    assert [one["user"] for one in accepted] == [user]
