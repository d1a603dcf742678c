"""A changed product, price or feature reaches every billing record that was folded with it.

The users of a product or price stand beside it (`USED#`), written with the record that began to use it and
conditioned on the version that it was folded with: a change commits before and is seen by the record, or after
and finds the record here.

Ten thousand records may use one product, so the change is work of its own: its transaction leaves a request beside the
product, the call that took the event does the first page, and the schedule of the refetches does the rest.

What if the process dies between two pages? The request says after which user to go on. What if the product changes
again meanwhile? The request begins anew, and a page of the earlier pass cannot advance or remove it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice

from nilometer.aws.dynamodb import Store
from nilometer.domain.billing.group import Torn, View
from nilometer.domain.billing.record.fold import record_item
from nilometer.domain.billing.record.inputs import Inputs, catalog_entry, catalog_key, inputs_of, with_catalog
from nilometer.domain.billing.record.refold import REFOLD_INDEX, refold_key
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Delete, Item, Key, Put, Table, Update, unchanged, version_after, version_of
from nilometer.errors import Cancelled
from nilometer.flows.billing.commit import Pack
from nilometer.flows.billing.reading import with_parts
from nilometer.flows.inbox.races import retrying

PAGE = 90  # records that are read together: with the product one BatchGet


def refold(
    store: Store, name: str, *, now: datetime, pages: int | None = None, out_of_time: Callable[[], bool] = lambda: False
) -> bool:
    """Brings `name` ("account/mode/product/id") into the records that use it; whether all of them have it.

    At most `pages` and until `out_of_time`; `resume` does what is left. May be repeated, also by several at once.
    """
    key = refold_key(name)
    request = store.batch_get(Table.RECORDS, [key], consistent=True).get(key)
    if request is None:
        return True
    expected, done = unchanged(request, "cause", "updated_at"), 0
    try:
        for page in _pages(store, name, str(request.get("after") or "")):
            if done == pages or out_of_time():
                return False
            _fold_page(store, name, [Key(use["record_pk"], use["record_sk"]) for use in page], now)
            done += 1
            if len(page) == PAGE:
                reached = {"after": page[-1]["sk"]}
                store.commit([Update(table=Table.RECORDS, key=key, set=reached, expected=expected)])
        store.commit([Delete(table=Table.RECORDS, key=key, expected=expected)])
    except Cancelled:  # it changed again, or another one has finished it
        return False
    return True


def resume(store: Store, *, now: datetime, out_of_time: Callable[[], bool] = lambda: False) -> int:
    """Goes on with all changes that are not in every record yet; how many are done."""
    done = 0
    for request in store.query_index(REFOLD_INDEX):
        if out_of_time():
            break
        done += refold(store, str(request["name"]), now=now, out_of_time=out_of_time)
    return done


def requested(store: Store, names: Iterable[str]) -> list[str]:
    """Those of `names` whose change is not in every record yet."""
    keyed = {refold_key(name): name for name in names}
    return [keyed[key] for key in store.batch_get(Table.RECORDS, keyed, consistent=True, attributes=("version",))]


def _pages(store: Store, name: str, after: str) -> Iterator[Sequence[Item]]:
    uses = store.query(Table.RECORDS, catalog_key(name).pk, prefix="USED#", after=after, consistent=True, page=PAGE)
    while page := list(islice(uses, PAGE)):
        yield page


def _fold_page(store: Store, name: str, users: Sequence[Key], now: datetime) -> None:
    """As few transactions as hold them; those that lost a race are decided again."""
    waiting = list(users)

    def attempt() -> None:
        lost: Cancelled | None = None
        again: list[Key] = []
        for puts in _packed(_decided(store, name, waiting, now)):
            try:
                store.commit(puts)
            except Cancelled as error:
                lost, again = error, [*again, *(put.key for put in puts)]
        waiting[:] = again
        if lost:
            raise lost

    retrying(attempt, on=(Cancelled, Torn))


def _decided(store: Store, name: str, users: Sequence[Key], now: datetime) -> list[Put]:
    """Without records that are gone, or know this version or a later one."""
    found = store.batch_get(Table.RECORDS, [catalog_key(name), *users], consistent=True)
    product = found.get(catalog_key(name))
    if product is None:
        return []
    entry = catalog_entry(product)
    known = [(key, record) for key in users if (record := found.get(key))]
    return [
        Put(
            table=Table.RECORDS,
            item=_refolded(store, key, record, {name: entry}, cause=str(product["cause"]), now=now),
            expected=version_of(record),
        )
        for key, record in known
        if int(inputs_of(record).catalog.get(name, {"version": 0})["version"]) < entry["version"]
    ]


def _refolded(store: Store, key: Key, record: Item, entries: Mapping[str, View], *, cause: str, now: datetime) -> Item:
    def made(inputs: Inputs) -> Item:
        return record_item(
            key,
            with_catalog(inputs, entries),
            workspace_id=record["workspace_id"],
            version=version_after(record),
            cause=cause,
            updated_at=rfc3339(now),
        )

    return with_parts(store, record, made)


def _packed(puts: Iterable[Put]) -> Iterator[list[Put]]:
    pack: Pack[Put] = Pack()
    for put in puts:
        if not pack.take(put, [put]):
            yield pack.groups
            pack = Pack()
            pack.take(put, [put])
    if pack.groups:
        yield pack.groups
