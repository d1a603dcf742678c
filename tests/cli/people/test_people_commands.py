"""Workspaces, members, invitations, sessions and the security log from the command line."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def workspace(nilometer: Any, stack: Any) -> str:
    """A new one with `ada` as its Admin and its own id as slug."""
    name = f"ws-{uuid.uuid4().hex[:8]}"
    assert nilometer("workspace", "create", name, "--slug", name, "--admin", "ada").code == 0
    return name


def roles(nilometer: Any, workspace: str) -> dict[str, str]:
    return {one["user"]: one["role"] for one in nilometer("member", "list", workspace, "--json").lines}


def test_a_workspace_is_created_shown_and_listed(nilometer: Any, workspace: str) -> None:
    """Creating it again says so and changes nothing."""
    again = nilometer("workspace", "create", workspace, "--slug", workspace, "--admin", "ada", "--json")
    shown = nilometer("workspace", "show", workspace, "--json").json

    assert (again.code, again.json["created"]) == (0, False)
    assert (shown["slug"], shown["status"], shown["admins"]) == (workspace, "active", 1)
    assert workspace in {one["workspace"] for one in nilometer("workspace", "list", "--json").lines}
    assert workspace in nilometer("workspace", "list").out


def test_a_slug_belongs_to_one(nilometer: Any, workspace: str) -> None:
    """The answer to the second says so in a sentence."""
    other = nilometer("workspace", "create", f"{workspace}-2", "--slug", workspace, "--admin", "bob")

    assert other.code == 1
    assert other.err == f"Error: slug '{workspace}' belongs to another workspace; choose another\n"


def test_deletion_asks_and_can_be_undone(nilometer: Any, workspace: str) -> None:
    """Where nobody can be asked, it must be said with --yes."""
    unsaid = nilometer("workspace", "delete", workspace, text="")
    deleted = nilometer("workspace", "delete", workspace, "--yes", "--json")
    closed = nilometer("member", "list", workspace)
    purged = nilometer("workspace", "purge", workspace, "--yes")
    restored = nilometer("workspace", "restore", workspace, "--as", "ada", "--json")

    assert (unsaid.code, "add --yes" in unsaid.err) == (2, True)
    assert (deleted.json["status"], closed.code, purged.code) == ("deleted", 1, 1)
    assert "restore it while its grace lasts" in closed.err
    assert restored.json["status"] == "active"


def test_members_come_change_and_go(nilometer: Any, workspace: str) -> None:
    """The last Admin stays."""
    assert nilometer("member", "add", workspace, "bob", "--role", "analyst").code == 0
    assert nilometer("member", "role", workspace, "bob", "Viewer").code == 0
    assert roles(nilometer, workspace) == {"ada": "Admin", "bob": "Viewer"}
    last = nilometer("member", "remove", workspace, "ada", "--yes")
    assert (last.code, last.err.count("\n")) == (1, 1)
    assert "no Admin" in last.err

    assert nilometer("member", "remove", workspace, "bob", "--yes").code == 0
    assert roles(nilometer, workspace) == {"ada": "Admin"}
    assert status(nilometer, workspace) == "active"


def test_a_deleted_workspace_is_shown_as_deleted(nilometer: Any, workspace: str) -> None:
    """Its members may restore it, so it stays in their list."""
    nilometer("workspace", "delete", workspace, "--yes")

    assert status(nilometer, workspace) == "deleted"


def status(nilometer: Any, workspace: str) -> str:
    """Of a workspace, as its founder sees it."""
    rows = [json.loads(line) for line in nilometer("member", "workspaces", "ada", "--json").out.splitlines()]
    return str(next(row["status"] for row in rows if row["workspace"] == workspace))


def test_as_a_member_one_may_what_his_role_allows(nilometer: Any, workspace: str) -> None:
    """And nothing as a user who is no member."""
    nilometer("member", "add", workspace, "vi", "--role", "Viewer")

    assert nilometer("member", "list", workspace, "--as", "vi").code == 0
    refused = nilometer("security", "log", workspace, "--as", "vi")
    assert refused.err == f"Error: Viewers may not security.view; ask an Admin of {workspace}\n"
    assert nilometer("member", "list", workspace, "--as", "eve").err == f"Error: eve is no member of {workspace}\n"


def test_an_invitation_is_accepted_by_its_token(nilometer: Any, workspace: str) -> None:
    """Which is printed once, alone on stdout, and taken from stdin."""
    made = nilometer("invite", "create", workspace, "grace@example.com", "--role", "Analyst", "--as", "ada")
    token = made.out.strip()
    listed = nilometer("invite", "list", workspace, "--json")
    accepted = nilometer("invite", "accept", "--user", "grace", "--email", "grace@example.com", "--json", text=token)

    assert token.startswith("nil_invite_")
    assert token not in listed.out
    assert listed.json["status"] == "pending"
    assert accepted.json["role"] == "Analyst"
    assert "accepted" in nilometer("invite", "list", workspace).out


def test_an_invitation_is_sent_again_and_revoked(nilometer: Any, workspace: str) -> None:
    """The first token is worth nothing after the second."""
    accept = ("invite", "accept", "--user", "grace", "--email", "grace@example.com")
    first = nilometer("invite", "create", workspace, "grace@example.com", "--role", "Viewer", "--json").json
    second = nilometer("invite", "resend", workspace, first["id"], "--json").json

    assert nilometer(*accept, text=first["token"]).code == 1
    assert nilometer("invite", "revoke", workspace, first["id"], "--yes").code == 0
    assert nilometer(*accept, text=second["token"]).code == 1


def test_a_session_is_opened_checked_and_revoked(nilometer: Any, workspace: str) -> None:
    """By its id or with all others."""
    one = nilometer("session", "open", workspace, "ada", "--json").json
    two = nilometer("session", "open", workspace, "ada").out.strip()
    assert nilometer("session", "check", "--json", text=one["token"]).json == {
        "workspace": workspace,
        "user": "ada",
        "role": "Admin",
    }
    assert len(nilometer("session", "list", workspace, "ada", "--json").lines) == 2

    assert nilometer("session", "revoke", workspace, "ada", one["id"], "--yes").code == 0
    assert nilometer("session", "check", text=one["token"]).err == "Error: this session is not valid; log in\n"
    assert nilometer("session", "check", text=two).code == 0
    assert nilometer("session", "revoke", workspace, "ada", "--yes").code == 2
    assert nilometer("session", "revoke", workspace, "ada", "--all", "--yes").code == 0
    assert nilometer("session", "check", text=two).code == 1


def test_a_token_is_issued_and_used_once(nilometer: Any, workspace: str) -> None:
    """Printed alone on stdout, taken from stdin, for the purpose that it was issued for; members issue none."""
    made = nilometer("token", "issue", workspace, "ada", "--purpose", "password_reset")
    token = made.out.strip()
    use = ("token", "use", "--json", "--purpose")

    assert token.startswith("nil_once_")
    assert token not in made.err
    assert nilometer(*use, "email_verification", text=token).code == 1
    assert nilometer(*use, "password_reset", text=token).json == {
        "workspace": workspace,
        "user": "ada",
        "purpose": "password_reset",
    }
    again = nilometer(*use, "password_reset", text=token)
    assert (again.code, json.loads(again.err)["message"]) == (1, "this token is not valid; ask for another")
    assert nilometer("token", "issue", workspace, "ada", "--purpose", "password_reset", "--as", "ada").code == 1


def test_a_file_is_kept_listed_and_given_back(nilometer: Any, workspace: str, tmp_path: Path) -> None:
    """To its workspace, and an export to who may query."""
    file = tmp_path / "export.csv"
    file.write_text("id,total\nada,42\n")
    add = ("attachment", "add", workspace, str(file), "--purpose", "export", "--type", "text/csv", "--json")
    kept, again = nilometer(*add).json, nilometer(*add).json
    nilometer("member", "add", workspace, "vi", "--role", "Viewer")
    get = ("attachment", "get", workspace, kept["sha256"], "--purpose", "export")

    assert kept == again
    assert nilometer("attachment", "list", workspace, "--purpose", "export", "--json").lines == [kept]
    assert kept["sha256"][:16] in nilometer("attachment", "list", workspace, "--purpose", "export").out
    assert nilometer(*get).out == file.read_text()
    assert nilometer(*get, "--as", "vi").code == 1


def test_the_security_log_tells_it_all(nilometer: Any, workspace: str) -> None:
    """In a table and as JSON, by actor too."""
    nilometer("session", "open", workspace, "ada")
    entries = nilometer("security", "log", workspace, "--json").lines

    assert [one["action"] for one in entries] == ["login", "member_added"]
    assert nilometer("security", "log", workspace, "--actor", "ada", "--json").json["action"] == "login"
    assert "member_added" in nilometer("security", "log", workspace).out
    assert nilometer("security", "locked", workspace, "ada", "--json").json == {"user": "ada", "locked_until": None}


def test_every_change_is_in_the_audit_without_its_secrets(nilometer: Any, workspace: str) -> None:
    """By the stream, with actor and kind."""
    made = nilometer(
        "invite", "create", workspace, "grace@example.com", "--role", "Viewer", "--as", "ada", "--json"
    ).json
    assert nilometer("wait").code == 0

    found = nilometer("query", "select workspace_id, kind, actor, old_image, new_image from audit", "--json")
    rows = [one for one in found.lines if one["workspace_id"] == workspace]
    assert {"workspace", "slug", "membership", "invitation", "security"} <= {one["kind"] for one in rows}
    assert {one["actor"] for one in rows if one["kind"] == "invitation"} == {"ada"}
    assert made["token"] not in found.out
    assert "grace@" not in found.out


def test_what_services_publish_reaches_people_and_doors(nilometer: Any, stack: Any, workspace: str) -> None:
    """By the bus, its rule and its queue; what comes twice counts once."""
    import boto3

    events = boto3.client(
        "events",
        endpoint_url=stack.about["aws_endpoint_url"],
        region_name=stack.about["region"],
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )
    said = [
        ("member.added.v1", {"user_id": "bob", "role": "Manager", "actor": "ada"}),
        ("security.event_recorded.v1", {"action": "login_failed", "user_id": "bob", "reason": "wrong_password"}),
    ]
    for n, (type_, data) in enumerate(said * 2):
        detail = {
            "specversion": "1.0",
            "id": f"{workspace}-{n % 2}",
            "source": "/accounts",
            "type": type_,
            "subject": workspace,
            "time": "2026-11-23T10:00:00Z",
            "data": data,
        }
        entry = {
            "EventBusName": stack.about["bus"],
            "Source": "accounts",
            "DetailType": type_,
            "Detail": json.dumps(detail),
        }
        assert events.put_events(Entries=[entry])["FailedEntryCount"] == 0
    assert nilometer("wait").code == 0

    assert roles(nilometer, workspace) == {"ada": "Admin", "bob": "Manager"}
    log = nilometer("security", "log", workspace, "--json").lines
    assert sorted(one["action"] for one in log) == ["login_failed", "member_added", "member_added"]
    assert {one["actor"] for one in log} == {"ada", "bob", "nilometer cli"}
