"""Secrets that are shown once: only their SHA-256 is stored, and found by it.

They are 256 random bits, so that a plain hash cannot be guessed back. The shell makes them; nothing here does.
"""

from __future__ import annotations

import hashlib
import re

from nilometer.errors import Rejected

_SHA256 = re.compile(r"[0-9a-f]{64}")


def hash_of(secret: str) -> str:
    """SHA-256 of the UTF-8 text, in 64 hexadecimal digits. Not salted: the secrets are random."""
    return hashlib.sha256(secret.encode()).hexdigest()


def checked_hash(text: str) -> str:
    """`Rejected("invalid_schema")` unless it is a SHA-256 in lower-case hex. The text itself is not repeated."""
    if not _SHA256.fullmatch(text):
        raise Rejected("invalid_schema", "a hash is the SHA-256 of the secret, as 64 lower-case hex digits")
    return text
