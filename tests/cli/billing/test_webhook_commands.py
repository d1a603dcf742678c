"""Webhooks go in by HTTP and come back as billing state."""

# ruff: noqa: S608  # ids and addresses are the test's own

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from tests.support.events.webhook import event, post


def test_a_triggered_subscription_is_listed(nilometer: Any, stack: Any) -> None:
    """From one event to the workspace's billing, its subscription and the Stripe object."""
    workspace = f"ws_{uuid.uuid4().hex[:8]}"
    sent = nilometer("trigger", "customer.subscription.created", "--workspace", workspace, "--json").json
    assert nilometer("wait").code == 0

    rows = {row["workspace"]: row for row in nilometer("billing", "list", "--json").lines}
    objects = {known["id"]: known for known in nilometer("billing", "objects", "--json").lines}

    subscription = sent["data"]["object"]
    [listed] = rows[workspace]["subscriptions"]
    [item] = subscription["items"]["data"]
    assert (
        listed.items()
        >= {
            "id": subscription["id"],
            "status": subscription["status"],
            "cancel_at_period_end": False,
            "cancel_at": None,
            "current_period_start": item["current_period_start"],
            "current_period_end": item["current_period_end"],
            "latest_invoice": subscription["latest_invoice"],
            "items": [{"id": item["id"], "price": item["price"]["id"], "quantity": item["quantity"]}],
        }.items()
    )
    assert rows[workspace]["status"] == subscription["status"]
    known = objects[subscription["id"]]
    assert (known["object"], known["deleted"], known["customer"]) == ("subscription", False, subscription["customer"])


def test_billing_for_people(nilometer: Any, stack: Any) -> None:
    """Tables, not JSON."""
    workspace = f"ws_{uuid.uuid4().hex[:8]}"
    nilometer("trigger", "customer.subscription.created", "--workspace", workspace)
    nilometer("wait")

    assert workspace in nilometer("billing", "list").out
    assert "subscription" in nilometer("billing", "objects").out


def test_a_customer_without_workspace_is_listed(nilometer: Any, stack: Any) -> None:
    """With workspace null: visible, not lost."""
    customer = f"cus_{uuid.uuid4().hex[:12]}"
    body = event(
        "customer.created", data={"object": {"id": customer, "object": "customer", "created": 1, "metadata": {}}}
    )
    assert post(stack, json.dumps(body).encode()) == 200
    nilometer("wait")

    rows = nilometer("billing", "list", "--json").lines

    assert [row["workspace"] for row in rows if row["customer"] == customer] == [None]


def test_a_forged_signature_is_400(stack: Any) -> None:
    assert post(stack, json.dumps(event("invoice.paid")).encode(), secret="whsec_other") == 400


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'{"object": "charge"}', b"\xff\xfe"])
def test_wrong_json_is_400(stack: Any, body: bytes) -> None:
    """Signed rightly, but no event."""
    assert post(stack, body) == 400


def test_an_oversized_body_is_413(stack: Any) -> None:
    body = json.dumps(event("invoice.paid", padding="x" * 4_100_000)).encode()

    assert post(stack, body) == 413


def test_a_large_body_arrives_whole(nilometer: Any, stack: Any) -> None:
    """Over the size at which it travels as a reference to S3."""
    large = event("invoice.paid", padding="x" * 300_000)
    assert post(stack, json.dumps(large).encode()) == 200
    assert nilometer("wait").code == 0

    found = nilometer(
        "query", f"select count(*) as n from stripe_events where event_id = '{large['id']}'", "--json"
    ).json

    assert found == {"n": 1}


def test_an_unknown_type_is_accepted_and_kept(nilometer: Any, stack: Any) -> None:
    """Stripe adds types without asking; none is an error."""
    unknown = event("pyramid.built")
    assert post(stack, json.dumps(unknown).encode()) == 200
    assert nilometer("wait").code == 0

    sql = f"select type, count(*) as n from stripe_events where event_id = '{unknown['id']}' group by type"
    assert nilometer("query", sql, "--json").json == {"type": "pyramid.built", "n": 1}
    assert not any(nilometer("status", "--json").json["dead_letters"].values())


def test_trigger_names_near_types(nilometer: Any, stack: Any) -> None:
    """A slip of the pen is answered with what was meant."""
    answer = nilometer("trigger", "customer.subscription.updatd")

    assert answer.code == 2
    assert "customer.subscription.updated" in answer.err


def test_trigger_sets_fields_of_its_object(nilometer: Any, stack: Any) -> None:
    """What is set arrives in billing; a wrong form is a usage error that shows the right one."""
    workspace = f"ws_{uuid.uuid4().hex[:8]}"
    created = "trigger", "customer.subscription.created", "--workspace", workspace

    sent = nilometer(*created, "--set", "status=past_due", "--set", "items.data.0.quantity=7", "--json")
    wrong = nilometer(*created, "--set", "status")
    assert nilometer("wait").code == 0

    [listed] = nilometer("billing", "show", workspace, "--json").json["subscriptions"]
    assert sent.json["data"]["object"]["status"] == listed["status"] == "past_due"
    assert [item["quantity"] for item in listed["items"]] == [7]
    assert (wrong.code, "write PATH=VALUE, such as metadata.plan=gold" in wrong.err) == (2, True)


def test_replay_reports_bad_lines_by_number(nilometer: Any, stack: Any, tmp_path: Path) -> None:
    """The good ones are posted all the same."""
    good = event("product.created")
    file = tmp_path / "events.ndjson"
    file.write_text(f'{json.dumps(good)}\n\nnot json\n{{"object": "charge"}}\n')

    answer = nilometer("replay", str(file), "--json")

    assert answer.code == 1
    assert (answer.json["posted"], answer.json["refused"], answer.json["lines"]) == (1, 2, [3, 4])
    assert "line 3: not JSON" in answer.err


def test_replay_reads_stdin(nilometer: Any, stack: Any) -> None:
    """As the end of a pipe."""
    lines = "".join(f"{json.dumps(event('product.created'))}\n" for _ in range(20))

    answer = nilometer("replay", "-", "--connections", "2", text=lines)

    assert answer.code == 0
    assert "20 taken" in answer.err


def test_replay_says_what_the_endpoint_says(nilometer: Any, stack: Any) -> None:
    """A refusal is not tried again and names its reason."""
    answer = nilometer("replay", "-", text=json.dumps(event("invoice.paid", padding="x" * 4_100_000)))

    assert answer.code == 1
    assert "4000000" in answer.err
