"""The nightly reconcile, one page at a time: it goes on where the run before was stopped, so that it ends.

What if the process dies, or a second run starts at the same time? A page's progress is one transaction on the version
that was read, after what differs was merged: the page is compared again, or the slower run stops. Merging again changes
nothing.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from nilometer.aws.dynamodb import Store
from nilometer.domain.billing.coverage import REST, TypePass, is_seen, pass_of, seen_digests, seen_item
from nilometer.domain.billing.link import Trust
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Absent, Item, Key, Put, Table, Version, new_item
from nilometer.domain.stripe.event import Scope, as_id
from nilometer.domain.stripe.registers.register import register_of
from nilometer.domain.stripe.registers.resolve import resolve
from nilometer.errors import Cancelled, Misconfigured, NotPermitted, Rejected
from nilometer.flows.billing.reconcile import (
    LISTED,
    MISSED,
    ListPage,
    ReconcileApi,
    ReconcileReport,
    accounts,
    compare_answer,
    compare_page,
    id_of,
    lives_unlisted,
    unlisted_owners,
)
from nilometer.flows.billing.refetch import check_account

ASKED = 500  # objects of a type that are asked for one by one, until they are kept as asked for

_Asked = dict[str, list[str]]
"""Ids by type."""


def coverage(store: Store, scope: Scope) -> list[TypePass]:
    """Of every type, in the order in which they are compared."""
    pk = keys.reconcile_pass(scope.account, scope.livemode, "").pk
    stored = {str(item["object_type"]): pass_of(item) for item in store.query(Table.EVENTS, pk, prefix="PASS#")}
    return [stored.get(object_type) or TypePass(object_type=object_type) for object_type in LISTED]


def reconcile_due(
    store: Store,
    api: ReconcileApi,
    *,
    scope: Scope,
    now: datetime,
    out_of_time: Callable[[], bool] = lambda: False,
    trust: Trust | None = None,
) -> ReconcileReport:
    """Compares what is due, the type first that was compared longest ago, and merges what differs.

    A type is due 20 hours after the begin of its last whole pass, or when a pass of it was stopped. `out_of_time` is
    asked after each page; `trust` is that of `reconcile`. `Misconfigured` when Stripe refuses the key for every type,
    or as `check_account` says.
    """
    run = _CoverageRun(store, api, scope, now, out_of_time, trust)
    known = coverage(store, scope)
    due = sorted(
        (one for one in known if one.is_due(now)), key=lambda one: (one.started_at is None, one.covered_at or "")
    )
    if due:
        check_account(store, api, scope)
    try:
        for one in due:
            if run.report.stopped:
                break
            run.list(one)
        if not run.report.stopped and (listed := [one for one in coverage(store, scope) if one.listed]):
            run.missed(listed)
    except Cancelled:  # another run is further
        run.report.stopped = True
    if due and len(run.report.refused) == len(LISTED):
        raise Misconfigured("Stripe refused the API key for every type of object; give it read access")
    return run.report


def cover(store: Store, scope: Scope, started: datetime, report: ReconcileReport) -> None:
    """Remembers a comparison of everything that began at `started` and was not stopped."""
    for one in coverage(store, scope):
        done = one.begun(started).done(refused=one.object_type in report.refused)
        item = done.item(scope, updated_at=rfc3339(started))
        store.put_all(Table.EVENTS, [item])


def accounts_of(store: Store, scope: Scope, now: datetime) -> list[str]:
    """The Connect accounts of the mode of `scope`, in another order each time; looked for once a run, by a scan."""
    key = keys.reconcile_accounts(scope.livemode)
    stored = store.get(Table.EVENTS, key)
    if stored is None or now - parse_rfc3339(str(stored["updated_at"])) >= REST:
        found = accounts(store, livemode=scope.livemode)
        item = new_item(key, "reconcile_accounts", accounts=found, updated_at=rfc3339(now))
        store.put_all(Table.EVENTS, [item])
        return found
    known = list(map(str, stored["accounts"]))
    return random.sample(known, len(known))


class _CoverageRun:
    """One run over one account and mode."""

    def __init__(
        self,
        store: Store,
        api: ReconcileApi,
        scope: Scope,
        now: datetime,
        out_of_time: Callable[[], bool],
        trust: Trust | None,
    ) -> None:
        self.store = store
        self.api = api
        self.scope = scope
        self.now = now
        self.out_of_time = out_of_time
        self.trust = trust
        self.report = ReconcileReport()
        self._owners: set[str] = set()

    def list(self, one: TypePass) -> None:
        """The pages of a type that are left."""
        if one.listed:
            return
        current = one if one.started_at else one.begun(self.now)
        try:
            self._pages(current)
        except Misconfigured:
            self.report.refused.append(one.object_type)
            self._save(current.done(refused=True))
        except Rejected:
            if current.after is None:
                raise
            self._pages(current.begun(self.now))  # the object after which to go on is gone: from the beginning

    def _pages(self, current: TypePass) -> None:
        for page in self.api.pages(current.object_type, after=current.after):
            before = (self.report.compared, len(self.report.drift))
            compare_page(self.store, page, self.scope, self.now, self.report, trust=self.trust)
            self._ask_unlisted_owners(page)
            last = id_of(page.objects[-1]) if page.objects else None
            counts = {"compared": self.report.compared - before[0], "drift": len(self.report.drift) - before[1]}
            current = self._save(current.after_page(last, **counts), list(map(id_of, page.objects)))
            if page.objects and self.out_of_time():
                self.report.stopped = True
                return
        self._save(replace(current, listed=True) if current.object_type in MISSED else current.done())

    def _ask_unlisted_owners(self, page: ListPage) -> None:
        """Customers that are named and known nowhere were deleted before an event of theirs came; that the key may not
        read customers says nothing of the page's type."""
        owners = {owner for found in page.objects if (owner := as_id(found.get("customer")))} - self._owners
        self._owners |= owners
        with contextlib.suppress(NotPermitted):
            for object_type, object_id, stored in unlisted_owners(self.store, self.scope, owners):
                self._ask(object_type, object_id, stored)

    def missed(self, listed: Sequence[TypePass]) -> None:
        """What exists here and was on no page of a whole list: asked for one by one. Scans. What still lives, such as
        inline prices, would be asked for in every run: those that were are kept as further pages."""
        passes = {one.object_type: one for one in listed}
        asked: _Asked = {one.object_type: [] for one in listed}
        seen = {one.object_type: seen_digests(self._seen(one)) for one in listed}
        for item in self.store.scan(Table.RECORDS, kind="register"):
            one = passes.get(str(item["object_type"]))
            mine = (item["account"], item["livemode"]) == (self.scope.account, self.scope.livemode)
            if one is None or not mine or not lives_unlisted(item) or not _is_older(item, one):
                continue
            if not is_seen(str(item.get("object_id")), seen[one.object_type]):
                self._ask(one.object_type, str(item["object_id"]), item)
                asked[one.object_type].append(str(item["object_id"]))
                self.report.stopped = self.out_of_time()
                if self.report.stopped or len(asked[one.object_type]) == ASKED:
                    self._keep_asked(passes, asked)
                if self.report.stopped:
                    return
        for one in passes.values():
            self._save(one.done())
            self.store.delete_all(Table.EVENTS, [Key(item["pk"], item["sk"]) for item in self._seen(one)])

    def _keep_asked(self, passes: dict[str, TypePass], asked: _Asked) -> None:
        """In place: `passes` a page further, and `asked` empty."""
        for object_type, ids in asked.items():
            if ids:
                further = passes[object_type].after_page(None, compared=0, drift=0)
                passes[object_type], asked[object_type] = self._save(further, ids), []

    def _ask(self, object_type: str, object_id: str, stored: Item | None) -> None:
        answer = self.api.fetch(object_type, object_id)
        compare_answer(
            self.store, answer, object_type, object_id, stored, self.scope, self.now, self.report, trust=self.trust
        )

    def _seen(self, one: TypePass) -> Iterator[dict[str, Any]]:
        key = keys.reconcile_seen(self.scope.account, self.scope.livemode, one.object_type, str(one.started_at), 0)
        return self.store.query(Table.EVENTS, key.pk, prefix=key.sk.rpartition("#")[0] + "#")

    def _save(self, one: TypePass, seen: Sequence[str] = ()) -> TypePass:
        """The next version of a pass, with the ids that it has `seen` since the last one."""
        expected = Version(one.version) if one.version else Absent()
        item = one.item(self.scope, updated_at=rfc3339(self.now))
        writes = [Put(table=Table.EVENTS, item=item, expected=expected)]
        if seen and one.object_type in MISSED:
            writes.append(Put(table=Table.EVENTS, item=seen_item(self.scope, one, seen, self.now)))
        self.store.commit(writes)
        return replace(one, version=one.version + 1)


def _is_older(item: Item, one: TypePass) -> bool:
    """Than the pass: what was made since is on no page."""
    resolution = resolve(register_of(item))
    made = int((resolution.state if resolution else {}).get("created") or 0)
    return made < epoch(parse_rfc3339(str(one.started_at)))
