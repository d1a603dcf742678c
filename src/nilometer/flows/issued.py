"""Secrets that the caller sees once; what is stored is their hash."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Generic, TypeVar

BYTES = 32  # of chance

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Issued(Generic[_T]):
    """What was created, and its token: hand it over, and keep it nowhere."""

    of: _T
    token: str = field(repr=False)


def new_secret(kind: str) -> str:
    """`nil_invite_...`: a prefix by which leaked ones are found, then 256 random bits."""
    return f"nil_{kind}_{secrets.token_urlsafe(BYTES)}"
