"""Stripe's webhook signature, verified on the raw bytes with the standard library alone.

Source: https://docs.stripe.com/webhooks#verify-manually. Equal to `stripe.WebhookSignature` on random
inputs (`tests/domain/test_signature.py`), and stricter in one point: a timestamp from the future is refused too.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from datetime import datetime

from nilometer.errors import Rejected

TOLERANCE_SECONDS = 300
_TIMESTAMP = re.compile("[0-9]{1,12}")


def verify(body: bytes, header: str, *, secrets: Iterable[str], now: datetime) -> None:
    """Passes when any of `secrets` signed `body` within the tolerance; else `Rejected("invalid_signature")`."""
    timestamp, signatures = _parse(header)
    if not signatures:
        raise Rejected("invalid_signature", "the Stripe-Signature header has no t= or no v1= part")
    if not any(_signed(body, timestamp, secret, signatures) for secret in secrets):
        raise Rejected("invalid_signature", "no signing secret of this endpoint made this signature")
    if abs(now.timestamp() - timestamp) > TOLERANCE_SECONDS:
        raise Rejected(
            "invalid_signature", f"the signature's timestamp is more than {TOLERANCE_SECONDS} s away from now"
        )


def sign(body: bytes, *, secret: str, timestamp: int) -> str:
    """The header value that Stripe would send: for tests, `trigger` and the demo."""
    return f"t={timestamp},v1={_signature(body, timestamp, secret)}"


def _signed(body: bytes, timestamp: int, secret: str, signatures: list[str]) -> bool:
    expected = _signature(body, timestamp, secret).encode()
    # compare_digest needs bytes: a header may carry characters outside ASCII
    return any(hmac.compare_digest(expected, signature.encode(errors="replace")) for signature in signatures)


def _signature(body: bytes, timestamp: int, secret: str) -> str:
    return hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def _parse(header: str) -> tuple[int, list[str]]:
    """The first timestamp and all `v1` signatures; none when the header is not Stripe's."""
    parts = [part.split("=") for part in header.split(",")]
    known = [part for part in parts if part[0] in {"t", "v1"}]
    timestamps = [part[1] for part in known if part[0] == "t" and len(part) > 1]
    # a bound, because int() refuses thousands of digits with an error of its own
    if any(len(part) == 1 for part in known) or not timestamps or not _TIMESTAMP.fullmatch(timestamps[0]):
        return 0, []
    return int(timestamps[0]), [part[1] for part in known if part[0] == "v1"]
