"""Whose records a call is about: a member has his own; a service or an operator says whose."""

from __future__ import annotations

from nilometer.domain.act import Caller, checked_id
from nilometer.errors import Refused, Rejected


def whose(caller: Caller, user_id: str | None) -> str:
    """`Refused` when a member asks for somebody else's, whatever his role."""
    if caller.role is None:
        if user_id is None:
            raise Rejected("invalid_schema", "a service says whose records it means: give user_id")
        return checked_id(user_id)
    if user_id not in {None, caller.user_id}:
        raise Refused("these records are for their person only")
    return caller.user_id
