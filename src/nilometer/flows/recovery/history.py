"""History: what a record was, when, by whom and why, from the audit alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from nilometer.aws.s3 import Objects
from nilometer.domain.lake import exact
from nilometer.domain.lake.change import ItemAction
from nilometer.domain.recovery.history import Image, Step
from nilometer.domain.store.writes import Key
from nilometer.lake.read.ledger import Ledger


def show(
    kind: str,
    key: str,
    *,
    ledger: Ledger,
    objects: Objects,
    since: datetime | None = None,
    as_of: datetime | None = None,
) -> Iterator[Step]:
    """Every change of the records of `kind` that `key` names, `since` to `as_of`; `domain.history.state` folds them.

    `key` is a workspace's id, the last part of a key (`sub_1`, a meter's slug), or `pk/sk` in full. Ordered by
    record, and its changes as they happened.
    """
    rows = ledger.changes(kind, key, since=since, as_of=as_of)
    for pk, sk, occurred_at, _, action, actor, cause, old, new, reference in rows:
        before, after = images_in(objects.get(reference)) if reference else (parsed(old), parsed(new))
        yield Step(
            key=Key(pk, sk),
            occurred_at=occurred_at,
            action=ItemAction(action),
            actor=actor,
            cause=cause,
            old=before,
            new=after,
        )


def images_in(content: bytes) -> tuple[Image | None, Image | None]:
    """Before and after, of a change that was too large for a row."""
    images = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    old, new = (parsed(bytes(images[name]).decode()) for name in ("old_image", "new_image"))
    return old, new


def parsed(text: str | None) -> Image | None:
    """An image from its column; None when there is none."""
    image: dict[str, Any] | None = json.loads(text or "null", parse_float=Decimal)
    return None if image is None else exact.read(image)
