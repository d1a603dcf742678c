"""Which of the customers that name a workspace count, when a buyer can write the name. Pure, in any order the same.

    metadata of the platform, an operator ──▶ counts
    `client_reference_id` of a buyer      ──▶ counts when no other customer named the workspace before it,
                                              else it is a conflict: nothing of it counts until an operator decides

"Before" is a time of Stripe's, which nobody chooses: when the object that makes the claim was created.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nilometer.domain.billing.claim import WRITERS, Rank
from nilometer.domain.billing.record.inputs import Inputs, Views

NAMED = 20  # conflicts that a record names, the oldest first


def admitted(inputs: Inputs) -> Mapping[str, Views]:
    """The customers that count, with their views."""
    contested = set(_contested(inputs)) if any(is_weak(inputs, name) for name in inputs.claims) else set()
    return {name: views for name, views in inputs.customers.items() if name not in contested}


def conflicts(inputs: Inputs) -> list[dict[str, Any]]:
    """One a customer that does not count: `customer`, `claimed_by`, `object`, `created`."""
    named = sorted(_contested(inputs), key=lambda name: _age(inputs, name))[:NAMED]
    return [
        {
            "customer": name,
            "claimed_by": WRITERS[int(inputs.claims[name][0])],
            "object": inputs.claims[name][2],
            "created": int(inputs.claims[name][1]),
        }
        for name in named
    ]


def _contested(inputs: Inputs) -> list[str]:
    oldest = min((_age(inputs, name) for name in inputs.customers), default=None)
    return [name for name in inputs.customers if is_weak(inputs, name) and _age(inputs, name) != oldest]


def is_weak(inputs: Inputs, name: str) -> bool:
    """Whether nothing but what a buyer can write links the customer."""
    return name in inputs.claims and int(inputs.claims[name][0]) >= Rank.REFERENCE


def _age(inputs: Inputs, name: str) -> tuple[int, str, str]:
    """Of a customer that was linked before claims were kept here, nothing is older."""
    _, created, object_id = inputs.claims.get(name, (0, 0, ""))
    return int(created), str(object_id), name
