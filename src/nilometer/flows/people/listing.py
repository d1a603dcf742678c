"""The pass that completes the index of lists (`domain.store.lists`), for records that earlier versions wrote.

What if the process dies? The next run goes on after the last page that was stored; a record that is listed already is
left alone. What if somebody writes a record meanwhile? Its version is the condition: it is read again. What if two runs
meet? The slower one cannot store its page, and stops.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from nilometer.aws.dynamodb import Store
from nilometer.domain.store import keys
from nilometer.domain.store.lists import ListsPass, listed_now, pass_of
from nilometer.domain.store.writes import Key, Table
from nilometer.errors import Cancelled
from nilometer.flows.inbox.races import retrying


@dataclass(frozen=True, slots=True, kw_only=True)
class ListsRun:
    """What a run did: so many records it put into the index, and whether the pass is whole."""

    records: int
    whole: bool


def complete_lists(store: Store, *, now: datetime, out_of_time: Callable[[], bool] = lambda: False) -> ListsRun | None:
    """Goes on with the pass, or begins the next one; None when none was due.

    `out_of_time` is asked after each page of the table. `Rejected` when the table has no such index, or a record is too
    large for one attribute more: then no pass is whole, and lists go on reading the table.
    """
    one = pass_of(store.get(Table.EVENTS, keys.LISTS, consistent=True), now)
    if one.version and not one.is_due(now):
        return None
    found = 0
    try:
        if not one.version:
            _stored(store, one)
            return None
        for page, last in store.unlisted(Table.RECORDS, keys.LISTED, after=one.after):
            found += sum(_list(store, key) for key in page)
            one = _stored(store, one.past(last, now))
            if out_of_time():
                break
    except Cancelled:  # another run is further
        return ListsRun(records=found, whole=False)
    return ListsRun(records=found, whole=one.begun_at is None)


def _stored(store: Store, one: ListsPass) -> ListsPass:
    if one.begun_at is None:
        next(store.query_list(keys.LISTED[0]), None)  # a table that was restored from before may have no such index
    store.put(one.put())
    return replace(one, version=one.version + 1)


def _list(store: Store, key: Key) -> bool:
    """False when somebody did, or removed it."""

    def attempt() -> bool:
        item = store.get(Table.RECORDS, key, consistent=True)
        if item is None or "gsi2pk" in item:
            return False
        store.commit([listed_now(item)])
        return True

    return retrying(attempt)
