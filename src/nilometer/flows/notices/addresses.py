"""Asking the service that keeps people's e-mail addresses for one of them: a signed POST to one address of the company.

    {"user_id": "user_42", "workspace_id": "acme", "topic": "billing.payment_failed"}
    200 {"email": "ada@example.com", "unsubscribe": "https://app.example.com/mail/…"}; 204, 404 or 410: none

The answer is used for one mail and forgotten: no log, error or message has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from nilometer.domain.notices.mail import Recipient
from nilometer.domain.notices.webhook_signature import addresses_secret, signature_headers
from nilometer.errors import Rejected, Unavailable
from nilometer.flows.notices.posting import post

_NOBODY = {204, 404, 410}
_READS = 8_000  # bytes of an answer


class _AddressAnswer(msgspec.Struct):
    email: str
    unsubscribe: str | None = None


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where they are asked for, and the stack's key that the requests are signed with."""

    url: str
    key: Callable[[], str]
    loopback: bool = False

    def of(self, user_id: str, *, workspace_id: str | None, topic: str, once: str, now: datetime) -> Recipient | None:
        """`None` when the person has none there. `once` is the same at each attempt for one mail.

        `Unavailable` when the service is away, or says what cannot be used.
        """
        body = msgspec.json.encode({"user_id": user_id, "workspace_id": workspace_id, "topic": topic})
        signed = signature_headers([addresses_secret(self.key())], once, body, now)
        headers = {**signed, "content-type": "application/json", "user-agent": "nilometer"}
        answered = post(self.url, body, headers, loopback=self.loopback, reads=_READS)
        if answered.status in _NOBODY:
            return None
        if answered.status != 200:  # OK
            raise Unavailable(f"the service of addresses: {answered.reason or f'answered {answered.status}'}")
        try:
            told = msgspec.json.decode(answered.body, type=_AddressAnswer)
            return Recipient(address=told.email, unsubscribe=told.unsubscribe)
        except (msgspec.DecodeError, UnicodeDecodeError, Rejected):
            raise Unavailable("the service of addresses answered what cannot be used") from None
