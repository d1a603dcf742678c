"""A person is erased from a stack that runs, and everything still agrees."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.command_line import CommandLine


@pytest.fixture(scope="module")
def nilometer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """Of a stack of its own: other tests write into the shared one by hand, which `verify` would name."""
    line = CommandLine(tmp_path_factory.mktemp("run"))
    running = line.local()
    yield line
    assert running.stop()[0] == 0


@pytest.fixture(scope="module")
def ada(nilometer: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Her names, after she was invited, became a customer, was notified, and stands in a dataset."""
    some = uuid.uuid4().hex[:8]
    user, address, workspace, dataset = f"user_{some}", f"ada.{some}@example.com", f"ws-{some}", f"people_{some}"
    rows = tmp_path_factory.mktemp("rows") / "rows.ndjson"
    rows.write_text(json.dumps({"id": user, "note": address}) + "\n" + json.dumps({"id": "bob", "note": "b"}) + "\n")
    for words in (
        ("workspace", "create", workspace, "--slug", workspace, "--admin", "root"),
        ("member", "add", workspace, user, "--role", "viewer"),
        ("invite", "create", workspace, address, "--role", "viewer"),
        ("notification", "send", workspace, user, "--topic", "exports.ready", "--title", f"For {address}"),
        ("trigger", "customer.created", "--set", f"email={address}", "--workspace", workspace),
        ("datasets", "declare", dataset, "--mode", "append", "--column", "id:string", "--column", "note:string"),
        ("datasets", "send", dataset, str(rows)),
        ("wait",),
    ):
        answer = nilometer(*words)
        assert answer.code == 0, (words, answer.err)
    return {"user": user, "address": address, "workspace": workspace, "dataset": dataset}


def test_a_person_is_erased_and_everything_agrees(nilometer: CommandLine, ada: dict[str, str]) -> None:
    """First seen, then left for later where a command must come first, then gone; and verify finds nothing."""
    names = (ada["address"], ada["user"])
    dry = nilometer("erase", *names, "--dry-run", "--json").json
    first = nilometer("erase", *names, "--yes", "--json")
    invitation = nilometer("invite", "list", ada["workspace"], "--json").lines[0]["id"]
    assert nilometer("invite", "revoke", ada["workspace"], invitation, "--yes").code == 0
    assert nilometer("member", "remove", ada["workspace"], ada["user"], "--yes").code == 0
    again = nilometer("erase", *names, "--yes", "--json")

    found = {(one["place"], one["kind"], one["fate"]) for one in dry["left"]}
    assert found >= {
        ("events table", "stripe_event", "erase"),
        ("records table", "notification", "erase"),
        ("records table", "invitation", "later"),
        ("records table", "membership", "later"),
        ("lake", f"datasets/{ada['dataset']}", "erase"),
    }
    assert (dry["dry_run"], dry["erased"], first.code) == (True, 0, 1)
    assert first.json["erased"] > 0
    assert {one["kind"] for one in again.json["left"] if one["fate"] == "erase"} == set()
    rows = nilometer("query", f"SELECT id FROM datasets.{ada['dataset']}", "--json").lines  # noqa: S608  # our own name
    assert [row["id"] for row in rows] == ["bob"]
    assert nilometer("notification", "list", ada["workspace"], "root", "--json").code == 0
    assert nilometer("wait").code == 0
    verified = nilometer("verify")
    assert verified.code == 0, verified.out


def test_the_report_names_no_address(nilometer: CommandLine, ada: dict[str, str], tmp_path: Path) -> None:
    """It may be kept as a proof; what cannot be reached is said with the time after which it is gone."""
    shown = nilometer("erase", ada["address"], "--dry-run")

    assert ada["address"] not in shown.out + shown.err
    assert "archives of the buses" in shown.err
    assert "point-in-time recovery" in shown.err


def test_nobody_is_erased_by_a_short_name(nilometer: CommandLine) -> None:
    """It says what to give instead."""
    answer = nilometer("erase", "ada", "--yes")

    assert answer.code == 1
    assert answer.err == "Error: name a person by ids or addresses of at least 4 characters\n"
