"""A sample of every event that the stack announces: what the relay makes of changes that are written down here."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from nilometer.domain.billing.link import WRITERS, Rank
from nilometer.domain.events.reject import FLOWS, Reject, item
from nilometer.domain.lake.change import Change, ItemAction, change_id
from nilometer.domain.limits.limit import HARD, Limit, alert
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Key, Table, new_item
from nilometer.flows.lake.kinds import announced

NOW = datetime(2026, 11, 23, 4, 14, 5, tzinfo=UTC)
_STREAM = "arn:aws:dynamodb:us-east-1:123456789012:table/records/stream/2026-11-01T00:00:00.000"
_DAY = 86_400
_START = 1793491200  # 2026-11-01T00:00:00Z


def samples() -> Mapping[str, Any]:
    """By type, each as the bus delivers it; the first one of a type."""
    found: dict[str, Any] = {}
    for change in changes():
        for entry in announced(change):
            found.setdefault(entry.detail_type, _envelope(entry.detail_type, json.loads(entry.detail)))
    return found


def _envelope(detail_type: str, detail: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "version": "0",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, detail["id"])),
        "detail-type": detail_type,
        "source": detail["source"],
        "account": "123456789012",
        "time": "2026-11-23T04:14:05Z",
        "region": "us-east-1",
        "resources": [],
        "detail": detail,
    }


def changes() -> Iterator[Change]:
    """What happened: each announces one of the events, or more."""
    yield from (_inserted(_reject(flow), Table.EVENTS) for flow in FLOWS)
    yield _changed(_lockout(None), _lockout("2026-11-23T04:29:04.000Z"))
    yield from (_inserted(alert("ws_acme", "api_calls", name, _LIMIT, **_CROSSED).item) for name in ("80", HARD))
    yield _changed(_webhooks(None), _webhooks("failing"))
    yield _changed(_billing(**_FREE), _billing(2, **_TEAM))
    yield _changed(_billing(2, **_TEAM), _billing(3, **_TEAM, **_TROUBLE))
    yield _changed(_billing(3, **_TEAM, **_TROUBLE), _billing(4, **_TEAM))


def _inserted(new: Item, table: Table = Table.RECORDS) -> Change:
    return _change(None, new, table)


def _changed(old: Item, new: Item) -> Change:
    return _change(old, new, Table.RECORDS)


def _change(old: Item | None, new: Item, table: Table) -> Change:
    number = str(100 + int(new["version"]))
    return Change(
        change_id=change_id(_STREAM, f"{new['kind']}{number}"),
        table=table,
        action=ItemAction.MODIFY if old else ItemAction.INSERT,
        key=Key(new["pk"], new["sk"]),
        old=old,
        new=new,
        sequence_number=number,
        occurred_at=int(NOW.timestamp()),
    )


def _reject(flow: str) -> Item:
    refused = Reject(
        flow=flow,
        reason="invalid_schema",
        message="data.quantity is missing" if flow == "usage" else "data is missing",
        payload="{}",
        event_id="req_01JD8Q2Z5K3W9V7T6R4N1M0XYZ",
        source="/services/inference",
        workspace_id="ws_acme",
    )
    return item(refused, now=NOW)


def _lockout(until: str | None) -> Item:
    key = keys.lockout("ws_acme", "user_bob")
    said = {"workspace_id": "ws_acme", "user_id": "user_bob", "locked_until": until, "cause": "/accounts#failed-5"}
    return new_item(key, "lockout", failures=[], counted_after=until or "", actor=None, **said)


def _webhooks(off: str | None) -> Item:
    hook = {
        "url": "https://hooks.example.com/nilometer",
        "types": [],
        "off": off,
        "failing_since": "2026-11-18T04:14:05.000Z",
        "created_at": "2026-11-01T00:00:00.000Z",
        "secrets": [{"id": "01JD8Q2Z5K3W9V7T6R4N1M0WS1", "ends_at": None}],
    }
    key, said = keys.webhooks("ws_acme"), {"workspace_id": "ws_acme", "cause": None, "actor": "nilometer.webhooks"}
    return new_item(key, "webhooks", 2 if off else 1, webhooks={"wh_01JD8Q2Z5K3W9V7T6R4N1M0WH1": hook}, **said)


_LIMIT = Limit(included=Decimal(50_000), soft=None, hard=Decimal(60_000), grace=timedelta(days=3), version="6f1d2c3b")
_CROSSED: Mapping[str, Any] = {
    "used": Decimal(60_012),
    "period": ("2026-11-01T00:00:00.000Z", "2026-12-01T00:00:00.000Z"),
    "now": NOW,
    "cause": "req_01JD8Q2Z5K3W9V7T6R4N1M0XYZ",
}
_FREE: Mapping[str, Any] = {"status": "none", "access": "none"}
_TEAM: Mapping[str, Any] = {
    "status": "trialing",
    "access": "full",
    "subscription": "sub_1SWfA2KZ9dQ",
    "plan": "team",
    "seats": 5,
    "limits": {"api_calls": 50_000},
    "limit_rules": {"api_calls": {"included": 50_000, "overage": "block", "source": "plan", "version": "6f1d2c3b"}},
    "features": ["exports"],
    "trial_start": _START,
    "trial_end": _START + 14 * _DAY,
    "current_period_start": _START,
    "current_period_end": _START + 30 * _DAY,
    "payment_method": {"id": "pm_1SWfA2KZ9dQ", "type": "card", "exp_month": 12, "exp_year": 2030},
}
_TROUBLE: Mapping[str, Any] = {
    "cancel_at": _START + 30 * _DAY,
    "cancel_at_period_end": True,
    "scheduled_change": {
        "start": _START + 30 * _DAY,
        "end": None,
        "items": [{"price": "price_1SWfBusiness", "quantity": 5}],
    },
    "open_invoices": [
        {
            "id": "in_1SWfA2KZ9dQ",
            "subscription": "sub_1SWfA2KZ9dQ",
            "created": _START + 21 * _DAY,
            "finalized_at": _START + 22 * _DAY,
            "amount_remaining": 4900,
            "currency": "eur",
            "attempt_count": 1,
            "next_payment_attempt": _START + 25 * _DAY,
        }
    ],
    "dunning": {
        "invoice": "in_1SWfA2KZ9dQ",
        "attempts": 1,
        "next_attempt": _START + 25 * _DAY,
        "since": _START + 22 * _DAY,
        "stage": "retrying",
    },
    "risk": {
        "flag": "dispute",
        "open_disputes": 1,
        "lost_disputes": 0,
        "warnings": 0,
        "refunded_charges": 0,
        "objects": ["dp_1SWfA2KZ9dQ"],
    },
    "conflicts": [
        {
            "customer": "self/live/cus_Other",
            "claimed_by": WRITERS[Rank.REFERENCE],
            "object": "cs_1SWf",
            "created": _START + 9 * _DAY,
        }
    ],
}


def _billing(version: int = 1, **fields: Any) -> Item:
    cause = f"evt_1SWfA2KZ9dQ{version}"
    return new_item(keys.billing("ws_acme"), "billing", version, workspace_id="ws_acme", cause=cause, **fields)
