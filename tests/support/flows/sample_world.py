"""The world in which every sample of `events/operations` makes sense: what each of them builds on exists."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from tests.support.flows.operations import NOW, envelope

from nilometer import AddMember, AttachmentPurpose, CreateMeter, CreateWorkspace, attachments, operator, perform
from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import service
from nilometer.domain.acts.roles import Role
from nilometer.domain.events.outcome import Message, Outcome
from nilometer.flows.operations import batch as operations

BEFORE = datetime(2026, 11, 23, 4, tzinfo=UTC)


def prepare(store: Store, objects: Any) -> None:
    """Workspace `ws_acme` with its people, a pending invitation, an open session and a token; meter `requests`.

    And a flag, a policy, a webhook, and a notification for user_max.
    """
    door = service("ws_acme", "services")
    perform(store, door, CreateWorkspace(name="Acme", slug="acme", admin="user_ada"), now=BEFORE)
    perform(store, door, AddMember(user_id="user_max", role=Role.MANAGER), now=BEFORE)
    perform(store, operator("test"), CreateMeter(meter="requests", unit="request", aggregation="sum"), now=BEFORE)
    invited = {"invitation_id": "inv_pending", "email": "grace@example.com", "role": "Analyst"}
    publish(store, objects, "invitation.created.v1", {**invited, "token_hash": sha256("open invitation")})
    publish(store, objects, "session.created.v1", {"session_hash": sha256("open session"), "user_id": "user_max"})
    token = {"token_hash": sha256("open token"), "purpose": "password_reset", "user_id": "user_max"}
    publish(store, objects, "token.issued.v1", token)
    publish(store, objects, "flag.set.v1", {"flag": "csv_exports"}, subject=None)
    policy = {"policy": "terms", "version": 2, "url": "https://example.com/terms/2", "content_sha256": sha256("terms")}
    publish(store, objects, "policy.published.v1", {**policy, "effective_at": "2026-01-01T00:00:00Z"}, subject=None)
    notice = {"user_id": "user_max", "topic": "exports.ready", "title": "Your export is ready"}
    publish(store, objects, "notification.requested.v1", notice)
    columns = [{"name": "contact_id", "type": "string"}, {"name": "updated_at", "type": "timestamp"}]
    known = {"mode": "merge", "key": ["contact_id"], "order_by": "updated_at", "columns": columns}
    publish(store, objects, "dataset.declared.v1", {"dataset": "crm_contacts", **known}, subject=None)
    hook = {"webhook_id": "wh_01JD8Q2Z5K3W9V7T6R4N1M0WH1", "url": "https://hooks.example.com/nilometer"}
    types = ["billing.plan_changed.v1", "usage.threshold_reached.v1"]
    publish(store, objects, "webhook.created.v1", {**hook, "types": types})
    avatar: dict[str, Any] = {"purpose": AttachmentPurpose.AVATAR, "content_type": "image/png", "now": BEFORE}
    attachments.attach(store, door, b"hello\n", objects=objects, **avatar)


def publish(store: Store, objects: Any, type_: str, data: dict[str, Any], *, subject: str | None = "ws_acme") -> None:
    """An event from before the samples, which must be accepted."""
    detail = {
        "specversion": "1.0",
        "id": f"before {type_} {data}"[:100],
        "source": "/services/accounts",
        "type": type_,
        "time": "2026-11-23T04:00:00Z",
        "data": data,
        **({"subject": subject} if subject else {}),
    }
    message = Message("before", envelope(detail))
    [result] = operations.handle([message], store=store, objects=objects, now=NOW)
    assert result.outcome is Outcome.ACCEPTED, result.fields


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
