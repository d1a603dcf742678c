"""Webhooks over HTTP: the secret is shown once, the same again for a repeated request, and is in no record."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import httpx2
import pytest

from nilometer.client.testing.fake import FakeStack
from nilometer.errors import NilometerError

URL = "https://hooks.example.com/nilometer"


@pytest.fixture
def fake() -> FakeStack:
    made = FakeStack()
    made.workspace("acme")
    made.workspace("other")
    return made


def test_the_example_of_the_page_runs(fake: FakeStack) -> None:
    """A webhook from its creation to its end, as docs/webhooks.md says."""
    client = fake.client(fake.key("acme", "webhook.manage"))
    made = client.webhooks.create("acme", URL, types=["billing.plan_changed.v1"])
    again = client.webhooks.rotate("acme", made["id"], overlap_hours=48)
    off = client.webhooks.update("acme", made["id"], enabled=False)
    [shown] = client.webhooks.list("acme")
    client.webhooks.delete("acme", made["id"])

    assert made["secret"].startswith("whsec_")
    assert again["secret"] not in {made["secret"], None}
    assert (off["off"], shown.off, shown.url, shown.types) == ("asked", "asked", URL, ["billing.plan_changed.v1"])
    assert client.webhooks.list("acme") == []


def test_no_record_holds_the_secret(fake: FakeStack) -> None:
    """Nor any part of it that would verify."""
    client = fake.client()
    secrets = [client.webhooks.create("acme", URL)["secret"]]
    [hook] = client.webhooks.list("acme")
    secrets.append(client.webhooks.rotate("acme", hook.id)["secret"])
    stored = repr(fake.store.items)

    assert hook.id in stored
    assert not any(secret.removeprefix("whsec_") in stored for secret in secrets)


def test_a_repeated_request_answers_the_same_secret(fake: FakeStack) -> None:
    """By its Idempotency-Key; without one a second webhook is made."""
    first, again = (_asked(fake, "create_webhook", {"url": URL}, "k") for _ in range(2))
    rotated, rotated_again = (_asked(fake, "rotate_webhook_secret", {"webhook_id": first["id"]}, "r") for _ in range(2))

    assert first == again
    assert rotated == rotated_again
    assert rotated["secret"] != first["secret"]
    assert _asked(fake, "create_webhook", {"url": URL}, "other")["id"] != first["id"]


def test_no_other_request_is_answered_the_secret(fake: FakeStack) -> None:
    """What the list shows of a webhook creates none: not by another key, and not without the Idempotency-Key."""
    fake.client().webhooks.create("acme", URL)
    [hook] = fake.client().webhooks.list("acme")
    body = {"webhook_id": hook.id, "url": hook.url, "types": hook.types}
    before = dict(fake.store.items)

    for key in ("", "other"):
        status, answered = _ask(fake, "create_webhook", body, key)
        assert (status, "secret" in answered) == (409, False)
    webhooks = [key for key, item in fake.store.items.items() if item["kind"] == "webhooks"]
    assert all(fake.store.items[key] is before[key] for key in webhooks)


@pytest.mark.parametrize(
    "body",
    [
        {"url": "http://hooks.example.com/"},
        {"url": "http://127.0.0.1:8000/"},
        {"url": "https://169.254.169.254/"},
        {"url": "https://localhost/"},
        {"url": URL, "types": ["billing.risk_changed.v1"]},
        {"url": URL, "loopback": True},
        {"url": 7},
        {},
    ],
)
def test_what_is_no_webhook_is_refused(fake: FakeStack, body: dict[str, Any]) -> None:
    """Addresses inside, types of the operator, fields of the library: 400, and nothing is written."""
    before = dict(fake.store.items)
    status, answered = _ask(fake, "create_webhook", body, "k")

    assert (status, answered["reason"]) == (400, "invalid_schema")
    assert {key: item for key, item in fake.store.items.items() if item["kind"] == "webhooks"} == {}
    assert before.keys() <= fake.store.items.keys()


def test_a_webhook_belongs_to_its_workspace(fake: FakeStack) -> None:
    """Another workspace with the same id of a webhook has another secret, and neither sees the other's."""
    client = fake.client()
    ours = client.act("create_webhook", "acme", webhook_id="w", url=URL)
    theirs = client.act("create_webhook", "other", webhook_id="w", url=URL)

    assert ours["secret"] != theirs["secret"]
    assert [one.workspace_id for one in client.webhooks.list("other")] == ["other"]
    with pytest.raises(NilometerError):
        fake.client(fake.key("other")).webhooks.list("acme")


@cache
def key_of(fake: FakeStack) -> str:
    """The same at each request: what is made for an Idempotency-Key is made for its bearer."""
    return fake.key()


def _asked(fake: FakeStack, name: str, body: Any, key: str) -> Any:
    status, found = _ask(fake, name, body, key)
    assert status == 200, found
    return found


def _ask(fake: FakeStack, name: str, body: Any, key: str) -> tuple[int, Any]:
    request = httpx2.Request(
        "POST",
        f"http://nilometer.test/v1/workspaces/acme/actions/{name}",
        headers={"authorization": f"Bearer {key_of(fake)}", "idempotency-key": key},
        content=json.dumps(body).encode(),
    )
    answered = fake.transport.handle_request(request)
    return answered.status_code, json.loads(answered.content)
