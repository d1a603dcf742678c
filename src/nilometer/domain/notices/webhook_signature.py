"""The signature of a webhook: three headers over its id, its time and its body, for each secret that is valid.

Source: https://www.standardwebhooks.com, the specification 1.0, symmetric signatures.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime

from nilometer.domain.notices.webhook import Webhook
from nilometer.domain.store.times import epoch

PREFIX = "whsec_"


def webhook_secret(stack_key: str, webhook: Webhook, secret_id: str) -> str:
    """The secret of this name. Who has not the stack's key cannot derive it, and no two webhooks have the same."""
    said = f"{webhook.workspace_id}\n{webhook.id}\n{secret_id}"
    return PREFIX + base64.b64encode(hmac.digest(stack_key.encode(), said.encode(), "sha256")).decode()


def addresses_secret(stack_key: str) -> str:
    """Of the requests to the service that keeps addresses. No webhook has it: what they are derived from has lines."""
    return PREFIX + base64.b64encode(hmac.digest(stack_key.encode(), b"addresses", "sha256")).decode()


def webhook_message_id(event_id: str) -> str:
    """Of an event, the same at every attempt and to every endpoint; safe in a header, whatever the event's id holds."""
    return f"msg_{hashlib.sha256(event_id.encode(errors='backslashreplace')).hexdigest()[:32]}"


def signature_headers(secrets: Sequence[str], event_id: str, body: bytes, now: datetime) -> dict[str, str]:
    """`webhook-signature` has one signature a secret; a receiver accepts any of them."""
    message_id, timestamp = webhook_message_id(event_id), str(epoch(now))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_signature(secret, signed) for secret in secrets),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}"
