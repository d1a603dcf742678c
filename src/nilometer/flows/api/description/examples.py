"""An example of every request, in the order in which each finds what it builds on: a workspace from its first day on.

They stand in the description, and a test asks them one after the other. Times, and ids that only an answer names, are
other ones there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

WORKSPACE, METER, FLAG, DATASET = "acme", "api_calls", "csv_exports", "crm_contacts"
PARAMETERS: Final[Mapping[str, str]] = {
    "workspace_id": WORKSPACE,
    "meter": METER,
    "flag": FLAG,
    "dataset": DATASET,
    "user_id": "user_bob",
    "limit": "50",
    "unread": "true",
    "archived": "false",
}
"""By name; a cursor is what the page before answered as `next`."""

_BOB = {"user_id": "user_bob"}
_CONTEXT = {"context": {"workspace_id": WORKSPACE}}
_INVITATION = {"invitation_id": "inv_grace"}
_EXPORT = {"topic": "exports.ready", "title": "Your export is ready", "link": "/exports/exp_7"}
_NOTIFICATION = {**_BOB, "notification_id": "01M838Z2G084W0CA2YSSZA2TKD"}
_PREFERENCE = {**_BOB, "topic": "usage.threshold_reached", "channels": {"email": False}}
_WEBHOOK = {"webhook_id": "wh_plans"}
_TERMS = {**_BOB, "policy": "terms", "version": 1}
_SHA256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"

BODIES: Final[Mapping[str, Any]] = {
    "get_openapi": None,
    "get_asyncapi": None,
    "get_key": None,
    "create_workspace": {"name": "Acme", "slug": "acme", "admin": "user_ada"},
    "update_workspace": {"name": "Acme Inc"},
    "get_workspace": None,
    "create_meter_anywhere": {"meter": METER, "unit": "call", "aggregation": "sum"},
    "update_meter_anywhere": {"meter": METER, "dimensions": ["region"]},
    "get_meter": None,
    "record_events": [
        {
            "specversion": "1.0",
            "id": "req_42",
            "source": f"/workspaces/{WORKSPACE}/inference",
            "type": "usage.recorded.v1",
            "subject": WORKSPACE,
            "time": "2026-11-29T10:00:00Z",
            "data": {"meter": METER, "quantity": "1", "unit": "call"},
        }
    ],
    "get_usage": None,
    "override_limit": {"meter": METER, "limit": {"included": "1000", "hard": "1200"}},
    "grant_limit": {"meter": METER, "grant": "outage_of_november", "amount": "500"},
    "list_limits": None,
    "check_limit": {"quantity": "1"},
    "reserve_limit": {"id": "job_1", "quantity": "10", "ttl_seconds": 300},
    "settle_limit": {"id": "job_1", "quantity": "7"},
    "release_limit": {"id": "job_1"},
    "lease_limit": {"id": "block_1", "quantity": "5", "rate": "2"},
    "set_flag_anywhere": {"flag": FLAG, "rollout": 25, "description": "Exports as CSV, beside Parquet"},
    "override_flag": {"flag": FLAG, "enabled": True},
    "evaluate_flag": _CONTEXT,
    "evaluate_flags": _CONTEXT,
    "add_member": {**_BOB, "role": "Analyst"},
    "change_role": {**_BOB, "role": "Manager"},
    "list_members": None,
    "invite": {**_INVITATION, "email": "grace@example.com", "role": "Viewer"},
    "resend_invitation": _INVITATION,
    "list_invitations": None,
    "accept_invitation": {**_INVITATION, "user_id": "user_grace"},
    "decline_invitation": {"invitation_id": "inv_max"},
    "revoke_invitation": {"invitation_id": "inv_eve"},
    "open_session": _BOB,
    "list_sessions": None,
    "revoke_session": {"session_hash": _SHA256},
    "end_sessions": _BOB,
    "issue_token": {"purpose": "password_reset", **_BOB},
    "use_token": {"token_hash": _SHA256, "purpose": "password_reset"},
    "report_security": {"action": "login_failed", **_BOB, "reason": "wrong_password"},
    "list_security": None,
    "notify": {**_BOB, **_EXPORT},
    "notify_anywhere": {**_BOB, **_EXPORT},
    "list_notifications": None,
    "read_notification": _NOTIFICATION,
    "read_notification_anywhere": _NOTIFICATION,
    "archive_notification": _NOTIFICATION,
    "archive_notification_anywhere": _NOTIFICATION,
    "set_preference": _PREFERENCE,
    "set_preference_anywhere": _PREFERENCE,
    "publish_policy_anywhere": {
        "policy": "terms",
        "version": 1,
        "url": "https://example.com/terms/1",
        "content_sha256": _SHA256,
        "effective_at": "2026-11-23T00:00:00Z",
    },
    "list_policies": None,
    "accept_policy": _TERMS,
    "advance_onboarding": {**_BOB, "tutorial": "first_steps", "step": "invite_colleague"},
    "list_onboarding": None,
    "declare_dataset_anywhere": {
        "dataset": DATASET,
        "mode": "append",
        "columns": [{"name": "contact_id", "type": "string"}, {"name": "stage", "type": "string", "nullable": True}],
    },
    "append_rows": {
        "id": "2026-11-29T10",
        "source": "/services/crm",
        "rows": [{"contact_id": "812", "stage": "won"}, {"contact_id": "813", "stage": None}],
    },
    "change_dataset_anywhere": {"dataset": DATASET, "status": "deprecated", "note": "crm_people has them from 2027 on"},
    "remove_attachment": {"purpose": "avatar", "sha256": _SHA256},
    "create_webhook": {
        **_WEBHOOK,
        "url": "https://hooks.example.com/nilometer",
        "types": ["billing.plan_changed.v1", "usage.threshold_reached.v1"],
    },
    "update_webhook": {**_WEBHOOK, "types": []},
    "rotate_webhook_secret": {**_WEBHOOK, "overlap_hours": 48},
    "list_webhooks": None,
    "delete_webhook": _WEBHOOK,
    "link_customer": {"customer": "cus_TTw9Qm3xK2p"},
    "get_billing": None,
    "remove_member": _BOB,
}
"""By the name of the route; `None` where a request has no body."""
