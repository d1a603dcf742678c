"""A slug belongs to one workspace: a record of its own, so that two cannot take it at once.

A deleted workspace keeps its slug until its grace ends; then the record expires and the slug is free.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from nilometer.domain.acts.records import alive
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch
from nilometer.domain.store.writes import Delete, Item, Put, Table, Write, new_item, version_of
from nilometer.errors import Refused, Rejected

SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LENGTH = 63  # of a label in a host name
SLACK = timedelta(hours=1)  # between the end of a grace and the next owner: clocks differ


def check_slug(slug: str) -> None:
    """`Rejected("invalid_schema")` unless it can stand in a host name."""
    if len(slug) > LENGTH or not SLUG.fullmatch(slug):
        raise Rejected("invalid_schema", f"slug {slug[:80]!r} must be a-z, 0-9 and single -, at most {LENGTH}")


def slug_writes(
    before: Item | None, after: Item, holder: Item | None, *, until: datetime | None, now: datetime
) -> list[Write]:
    """What the change of a workspace from `before` to `after` does to slugs; `holder` has the slug of `after` now.

    `until` is when a deleted workspace loses it. The workspace's own version guards what it holds already.
    """
    slug, old = after.get("slug"), (before or {}).get("slug")
    if slug is None:
        return [Delete(table=Table.RECORDS, key=keys.slug(old))] if old else []
    if slug == old:
        same = (before or {}).get("deleted_at") == after.get("deleted_at")
        return [] if same else [_slug(slug, after, until=until)]
    if holder and alive(holder, now - SLACK) and holder["workspace_id"] != after["workspace_id"]:
        raise Refused(f"slug {slug!r} belongs to another workspace; choose another")
    taken = _slug(slug, after, until=until, holder=holder)
    return [taken, *([Delete(table=Table.RECORDS, key=keys.slug(old))] if old else [])]


_UNREAD: Item = {}


def _slug(slug: str, workspace: Item, *, until: datetime | None, holder: Item | None = _UNREAD) -> Put:
    key = keys.slug(slug)
    item = new_item(
        key,
        "slug",
        int(holder["version"]) + 1 if holder else workspace["version"],
        slug=slug,
        workspace_id=workspace["workspace_id"],
        updated_at=workspace["updated_at"],
        cause=workspace["cause"],
        actor=workspace["actor"],
        **({"expires_at": epoch(until)} if until else {}),
    )
    return Put(table=Table.RECORDS, item=item, expected=None if holder is _UNREAD else version_of(holder))
