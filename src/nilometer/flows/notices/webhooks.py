"""The webhooks of a workspace: which there are, and the secret of one.

What if the answer with a secret is lost? The same request with the same `Idempotency-Key` answers it again; without
one the secret is rotated. No secret is stored, so no read of a table, a stream or the lake finds one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nilometer.aws.dynamodb import Store
from nilometer.aws.secrets import AuditKeys
from nilometer.domain.acts.act import Caller
from nilometer.domain.acts.roles import Permission
from nilometer.domain.notices.webhook import Webhook, webhooks_of
from nilometer.domain.notices.webhook_signature import webhook_secret
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.errors import Refused
from nilometer.flows.people.acting import reading


def _no_key() -> str:
    raise Refused("this stack sends no webhooks; deploy it with the parameter Webhooks=true")


@dataclass(frozen=True, slots=True)
class WebhookMeans:
    """The stack's key that secrets are derived from, and whether `http://127.0.0.1` may be posted to."""

    key: Callable[[], str] = _no_key
    loopback: bool = False

    @classmethod
    def of(cls, keys: AuditKeys, *, loopback: bool) -> WebhookMeans:
        """With the key that is stored, at most five minutes old."""
        return cls(lambda: keys.current()[0], loopback)

    def secret(self, webhook: Webhook) -> str:
        """Of the webhook, the newest."""
        return webhook_secret(self.key(), webhook, webhook.secret_id)


def webhooks(store: Store, caller: Caller) -> list[Webhook]:
    """Of the caller's workspace, by id."""
    reading(store, caller, Permission.WEBHOOK_MANAGE)
    return webhooks_of(store.get(Table.RECORDS, keys.webhooks(caller.workspace_id), consistent=True))
