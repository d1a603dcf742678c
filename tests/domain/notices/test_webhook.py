"""Webhooks: what a workspace says of them, which URLs are refused, and that any receiver can verify the signature."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError
from tests.support.acts import act

from nilometer import CreateWebhook, DeleteWebhook, RotateWebhookSecret, UpdateWebhook, service
from nilometer.domain.acts.act import Act
from nilometer.domain.acts.deed import Deed
from nilometer.domain.lake.redaction import image
from nilometer.domain.notices.webhook import (
    MOST,
    PATIENCE,
    PAUSE,
    SECRETS,
    WEBHOOK_TYPES,
    Webhook,
    after_delivery,
    check_webhook_url,
    secret_ids,
    webhooks_of,
)
from nilometer.domain.notices.webhook_signature import signature_headers, webhook_message_id, webhook_secret
from nilometer.domain.store import keys
from nilometer.domain.store.times import parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Item, Put
from nilometer.errors import NotKnownYet, Refused, Rejected
from nilometer.flows.lake.kinds import ANNOUNCED

NOW = datetime.now(UTC)
URL = "https://hooks.example.com/nilometer"
STACK = "key of the stack"


def at(second: int = 0, **more: Any) -> Act:
    made = act(now=NOW + timedelta(seconds=second), **more)
    return replace(made, chance=bytes([second % 251]) * 10)


def reported(second: int, name: str = "") -> Act:
    time = NOW + timedelta(seconds=second)
    return at(second, at=time, stamp=f"{rfc3339(time)} /s {name or second}")


def done(item: Item | None, deed: Deed[Any], by: Act | None = None) -> Item:
    """The record afterwards."""
    doing = by or at()
    key = keys.webhooks(doing.workspace_id)
    writes = deed.decide(doing, {key: item} if item else {})
    for write in writes:
        assert isinstance(write, Put)
        return write.item
    assert item is not None
    return item


def one(item: Item) -> Webhook:
    [found] = webhooks_of(item)
    return found


def created(**more: Any) -> Item:
    return done(None, CreateWebhook(webhook_id="w", url=URL, **more))


def test_a_webhook_is_created_once() -> None:
    """The same again changes nothing, another one or one by another act is refused, and there is a bound."""
    item = created(types=["billing.plan_changed.v1"])

    assert one(item).wants("billing.plan_changed.v1")
    assert not one(item).wants("limit.blocked.v1")
    assert done(item, CreateWebhook(webhook_id="w", url=URL, types=["billing.plan_changed.v1"])) is item
    for other, by in ((f"{URL}/other", at()), (URL, at(1))):
        with pytest.raises(Refused, match="rotate"):
            done(item, CreateWebhook(webhook_id="w", url=other, types=["billing.plan_changed.v1"]), by)
    for number in range(1, MOST):
        item = done(item, CreateWebhook(webhook_id=f"w{number}", url=URL), at(number))
    with pytest.raises(Refused, match="at most"):
        done(item, CreateWebhook(url=URL), at(99))


def test_without_types_it_gets_what_a_workspace_may_know() -> None:
    """Of what is announced of a workspace all but its risk and the claims of others, which are the operator's."""
    of_workspaces = {one for one in ANNOUNCED if one.startswith(("billing.", "usage.", "limit."))}
    hidden = {"billing.risk_changed.v1", "billing.conflicts_changed.v1"}

    assert set(WEBHOOK_TYPES) == {name for name in of_workspaces if not name.endswith(".rejected.v1")} - hidden
    assert all(one(created()).wants(name) for name in WEBHOOK_TYPES)
    assert not any(one(created()).wants(name) for name in hidden)


@given(st.permutations([0, 1, 2]))
def test_updates_end_the_same_in_any_order(order: list[int]) -> None:
    """Of each field the newest holds."""
    updates = [
        (reported(1), UpdateWebhook(webhook_id="w", url=f"{URL}/1", enabled=False)),
        (reported(2), UpdateWebhook(webhook_id="w", types=["limit.blocked.v1"])),
        (reported(3), UpdateWebhook(webhook_id="w", url=f"{URL}/3")),
    ]
    item = done(None, CreateWebhook(webhook_id="w", url=URL), reported(0))
    for number in order:
        item = done(item, updates[number][1], updates[number][0])

    assert (one(item).url, one(item).types, one(item).off) == (f"{URL}/3", ("limit.blocked.v1",), "asked")


def test_an_event_waits_for_its_webhook_and_a_person_is_told() -> None:
    """The bus keeps no order; who calls the library sees that there is none. A deletion of none is done."""
    with pytest.raises(NotKnownYet):
        done(None, UpdateWebhook(webhook_id="w", enabled=True), reported(1))
    with pytest.raises(Refused):
        done(None, RotateWebhookSecret(webhook_id="w"))
    assert not DeleteWebhook(webhook_id="w").decide(at(), {})
    assert webhooks_of(done(created(), DeleteWebhook(webhook_id="w"))) == []


def test_an_old_secret_signs_until_its_overlap_ends() -> None:
    """Both sign meanwhile; a second rotation shortens nothing, and there is a bound."""
    item = created()
    first = one(item).secret_id
    item = done(item, RotateWebhookSecret(webhook_id="w", overlap_hours=1), at(1))
    second = one(item).secret_id

    assert done(item, RotateWebhookSecret(webhook_id="w", overlap_hours=1), at(1)) is item
    assert secret_ids(item, "w", NOW) == [second, first]
    assert secret_ids(item, "w", NOW + timedelta(hours=2)) == [second]
    item = done(item, RotateWebhookSecret(webhook_id="w", overlap_hours=48), at(2))
    assert secret_ids(item, "w", NOW) == [one(item).secret_id, second, first]
    assert secret_ids(item, "w", NOW + timedelta(hours=2)) == [one(item).secret_id, second]
    at_once = done(item, RotateWebhookSecret(webhook_id="w", overlap_hours=0), at(3))
    assert len(secret_ids(at_once, "w", NOW)) == 1
    for number in range(SECRETS - 3):
        item = done(item, RotateWebhookSecret(webhook_id="w"), at(10 + number))
    with pytest.raises(Refused, match="valid"):
        done(item, RotateWebhookSecret(webhook_id="w"), at(99))


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://localhost/",
        "https://printer.local/",
        "https://db.internal/",
        "https://user:secret@hooks.example.com/",
        "https://hooks.example.com:22/",
        "https://hooks.example.com/#x",
        "https://hooks.example.com/\r\nx: y",
        "https://höoks.example.com/",
        "https://hooks.example.com:nonsense/",
        "ftp://hooks.example.com/",
        "https://-x.example.com/",
        "https://example.com../",
        "https:///x",
        "https://" + "a" * 600 + ".example.com/",
        "http://127.0.0.1:8000/",
    ],
)
def test_a_url_that_leads_inside_is_refused(url: str) -> None:
    """Addresses, names of a machine or a local network, other ports and schemes, users and control characters."""
    with pytest.raises(Rejected):
        check_webhook_url(url)
    with pytest.raises(Rejected):
        CreateWebhook(webhook_id="w", url=url).decide(at(), {})


def test_a_receiver_on_this_machine_needs_the_setting() -> None:
    """And then it is 127.0.0.1 with its port, nothing else."""
    local = CreateWebhook(webhook_id="w", url="http://127.0.0.1:8000/", loopback=True)

    assert local.decide(at(), {})
    for url in ("http://127.0.0.1/", "http://127.0.0.2:8000/", "http://10.0.0.1:8000/", "http://example.com:8000/"):
        with pytest.raises(Rejected):
            check_webhook_url(url, loopback=True)


@given(st.text(max_size=300), st.binary(max_size=2000))
def test_a_receiver_verifies_with_the_standard_library(event_id: str, content: bytes) -> None:
    """Whatever the event's id and body hold; a changed body, time or secret does not pass."""
    hook = one(created())
    secret = webhook_secret(STACK, hook, hook.secret_id)
    body = json.dumps({"content": content.hex()}).encode()
    now = datetime.now(UTC)  # the library refuses what is older than five minutes
    headers = signature_headers([secret], event_id, body, now)

    assert Verifier(secret).verify(body, headers) == json.loads(body)
    assert headers["webhook-id"] == webhook_message_id(event_id)
    for wrong in ({"webhook-timestamp": str(int(now.timestamp()) + 1)}, {"webhook-id": "msg_other"}):
        with pytest.raises(WebhookVerificationError):
            Verifier(secret).verify(body, {**headers, **wrong})
    with pytest.raises(WebhookVerificationError):
        Verifier(secret).verify(body + b" ", headers)


def test_both_secrets_verify_during_a_rotation() -> None:
    """The receiver may have either."""
    item = done(created(), RotateWebhookSecret(webhook_id="w"), at(1))
    secrets = [webhook_secret(STACK, one(item), name) for name in secret_ids(item, "w", NOW)]
    headers = signature_headers(secrets, "e", b"{}", datetime.now(UTC))

    assert len(secrets) == 2
    for secret in secrets:
        assert Verifier(secret).verify(b"{}", headers) == {}


def test_no_two_secrets_are_equal() -> None:
    """Of other webhooks, workspaces, rotations or stacks."""
    hook = one(created())
    others = [
        webhook_secret(STACK, hook, "s1"),
        webhook_secret(STACK, hook, "s2"),
        webhook_secret("another stack", hook, "s1"),
        webhook_secret(STACK, one(done(None, CreateWebhook(webhook_id="v", url=URL))), "s1"),
        webhook_secret(
            STACK, one(done(None, CreateWebhook(webhook_id="w", url=URL), at().by(service("other", "s")))), "s1"
        ),
    ]

    assert all(a != b for a, b in itertools.combinations(others, 2))


def test_neither_url_nor_secret_reaches_the_lake() -> None:
    """The URL of a receiver is often a secret itself, and what names our secret is redacted with it."""
    shown = json.dumps(image(created()))

    assert "example.com" not in shown
    assert one(created()).secret_id not in shown


def test_an_endpoint_that_fails_too_long_is_switched_off() -> None:
    """The first failure is noted, then one an hour, a success forgets them, and after five days it is off."""
    item = created()
    assert after_delivery(at(), item, one(item), delivered=True) == []
    item = written(after_delivery(at(), item, one(item), delivered=False))
    assert one(item).failing_since == rfc3339(NOW)
    assert written(after_delivery(at(), item, one(item), delivered=True))["webhooks"]["w"]["failing_since"] is None
    assert after_delivery(at(60), item, one(item), delivered=False) == []

    for hour in range(1, int(PATIENCE.total_seconds()) // 3600):
        item = written(after_delivery(at(3600 * hour), item, one(item), delivered=False))
        assert after_delivery(at(3600 * hour + 60), item, one(item), delivered=False) == []
    assert (one(item).off, one(item).failing_since) == (None, rfc3339(NOW))
    late = at(int(PATIENCE.total_seconds()))
    off = written(after_delivery(late, item, one(item), delivered=False))
    assert one(off).off == "failing"
    on = done(off, UpdateWebhook(webhook_id="w", enabled=True), at(9))
    assert (one(on).off, one(on).failing_since) == (None, None)


@given(pauses=st.lists(st.integers(1, 40 * 3600), min_size=1, max_size=20))
def test_only_failures_without_a_pause_switch_off(pauses: list[int]) -> None:
    """As if each failure were stored, but for the hour to which the last one is."""
    item, since, second = created(), 0, 0
    item = written(after_delivery(at(0), item, one(item), delivered=False))
    for pause in pauses:
        second += pause
        if pause > PAUSE.total_seconds() + 3600:
            since = second
        writes = after_delivery(at(second), item, one(item), delivered=False)
        item = written(writes) if writes else item
        if one(item).off:
            assert second - since >= PATIENCE.total_seconds()
            return
        begun = parse_rfc3339(str(one(item).failing_since))
        assert begun >= NOW + timedelta(seconds=since) - timedelta(milliseconds=1)
        if max(pauses) <= PAUSE.total_seconds():
            assert begun <= NOW
            assert second < PATIENCE.total_seconds()


def test_what_an_earlier_version_noted_has_no_last_failure() -> None:
    """Then the first one is taken for it."""
    item = created()
    item = written(after_delivery(at(), item, one(item), delivered=False))
    del item["webhooks"]["w"]["failed_at"]
    soon = written(after_delivery(at(7200), item, one(item), delivered=False))
    late = written(after_delivery(at(int(PATIENCE.total_seconds())), item, one(item), delivered=False))

    assert one(soon).failing_since == rfc3339(NOW)
    assert (one(late).off, one(late).failing_since) == (None, rfc3339(NOW + PATIENCE))


def test_an_endpoint_that_is_gone_is_off_at_once() -> None:
    """410 says that nobody waits there."""
    item = created()
    assert one(written(after_delivery(at(), item, one(item), delivered=False, gone=True))).off == "gone"


def written(writes: list[Any]) -> Item:
    [put] = writes
    found: Item = put.item
    return found
