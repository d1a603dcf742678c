"""What a group of new Stripe events changes: facts, registers, the customer's link, billing records. Pure.

A group is what must be decided together: the events of one customer, or of one object without a customer.
One group's writes are one transaction; its `use` items come before, its facts after (docs/decisions/0013). What a
group says a second time changes nothing, so an event whose fact was not stored may come again. Each condition says
what was read:

* registers, links and records are as read, so nobody's evidence is lost;
* a customer that nobody has linked is still unlinked, and one that is linked has nothing left where the unlinked
  wait (`Check`), so its billing is in one record;
* a product, a price or the features that a record begins to use are as read (`Check`), and `use` items name the
  users: a later change reaches every record that was folded with it.

A record is written only when a view or the link changes: of a register whose view stays, nothing else depends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from nilometer.domain.billing import risk_links
from nilometer.domain.billing.item import (
    catalog_entry,
    catalog_key,
    claims_of,
    home,
    inputs_of,
    link_item,
    record_item,
    use_item,
)
from nilometer.domain.billing.link import CLAIMING, Claim, best, claim, claim_of, with_word
from nilometer.domain.billing.record import (
    Inputs,
    catalog_name,
    catalog_names,
    customer_name,
    used_names,
    with_catalog,
    with_views,
    without_customer,
)
from nilometer.domain.billing.risk import CHARGE
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Absent, Check, Delete, Item, Key, Put, Table, Write, version_of
from nilometer.domain.stripe.event import FEATURES, SUMMARY, Scope
from nilometer.domain.stripe.fetchable import fetchable
from nilometer.domain.stripe.registers.item import register_item, register_key, register_of
from nilometer.domain.stripe.registers.refetch import request
from nilometer.domain.stripe.registers.register import Element, Register, merge, register
from nilometer.domain.stripe.registers.resolve import Resolution, resolve
from nilometer.domain.stripe.registers.view import View, view_key, view_of
from nilometer.errors import Unavailable

Known = Mapping[Key, Item | None]  # what was read; None: nothing is stored


class Torn(Unavailable):
    """Items that were read one by one contradict each other: read them again, consistently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One element for one object's register; `fact` is the event's item, without its workspace.

    None: an answer of Stripe's API, which is no event.
    """

    element: Element | None
    object_type: str
    object_id: str | None
    fact: Item | None = None
    fetch: bool = False  # a thin notification: the object must be asked for
    second: int = 0


def _event_id(one: Evidence) -> str:
    return str(one.fact["event_id"]) if one.fact else one.element.id if one.element else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """`word` is what an operator says of the customer's workspace, `said_in` the event's id, `said_by` its source."""

    scope: Scope
    customer_id: str | None
    evidence: tuple[Evidence, ...]
    updated_at: str
    word: Claim | None = None
    said_in: str = ""
    said_by: str | None = None

    @property
    def cause(self) -> str:
        """The last event of the group."""
        return max(map(_event_id, self.evidence), default=self.said_in)

    @property
    def elements(self) -> Mapping[Key, list[Evidence]]:
        """By the key of the register that they belong to."""
        found: dict[Key, list[Evidence]] = {}
        for one in self.evidence:
            if one.element and one.object_id:
                key = register_key(self.scope, one.object_type, one.object_id, self.customer_id)
                found.setdefault(key, []).append(one)
        return found

    @property
    def charges(self) -> set[Key]:
        """The registers of charges whose customer is also this group's, should they know one."""
        if self.customer_id is not None:
            return set()
        return risk_links.charges(self.scope, (one.element.state or {} for one in self.evidence if one.element))

    @property
    def waiting(self) -> set[Key]:
        """Where disputes and warnings wait for the customer of a charge."""
        own = {key for key, found in self.elements.items() if found[0].object_type == CHARGE}
        return {keys.risk_waiting(charge) for charge in own | self.charges}

    @property
    def link_key(self) -> Key:
        return keys.link(self.scope.account, self.scope.livemode, str(self.customer_id))


class Plan:
    """One group against what is known: which items it still needs, and, when none, its transaction.

    Valid as long as no item of `keys` is written by somebody else: the conditions of the writes say so.
    """

    def __init__(self, group: Group, known: Known) -> None:
        self.group = group
        self.keys = set(group.charges)
        if self.keys <= known.keys():
            group = _with_owner(group, known)
        self.keys |= _first(group)
        self._change: _Change | None = None
        if self.keys <= known.keys() and group.customer_id is None:
            self._change = _Change(group, known)
        elif self.keys <= known.keys():
            self._look(group, known)
        else:
            self.keys |= _guesses(group)
        self.missing = self.keys - known.keys()
        self._items = {key: known[key] for key in self.keys - self.missing}

    def stale(self, known: Known) -> bool:
        """Whether an item that it was made of has been written since."""
        return any(key not in known or known[key] is not item for key, item in self._items.items())

    def _look(self, group: Group, known: Known) -> None:
        """What a link names is known only when the link is; what a record uses only when the record is."""
        change = _Change(group, known)
        self.keys |= {change.old_home, change.new_home}
        if self.keys <= known.keys():
            self.keys |= set(map(catalog_key, change.newly_used))
            self._change = change

    def writes(self) -> list[Write]:
        """`Torn` when the items contradict each other; call only when nothing is missing, as the other two."""
        return self._decided.writes()

    def uses(self) -> list[Item]:
        """Who uses what of the catalog: stored before `writes`. In vain, it only makes more records be looked at."""
        return list(self._decided.uses())

    def facts(self) -> list[Item]:
        """What is known to have happened once `writes` are stored, and not before; may be put again."""
        return list(self._decided.facts())

    @property
    def _decided(self) -> _Change:
        if self._change is None:
            raise Torn("not all items are read")
        return self._change


def _with_owner(group: Group, known: Known) -> Group:
    """A dispute's customer is its charge's."""
    owner = next((found for key in group.charges if (found := risk_links.owner(known[key]))), None)
    return replace(group, customer_id=owner) if owner else group


def _first(group: Group) -> set[Key]:
    registers = set(group.elements) | group.waiting
    if group.customer_id is None:
        return registers
    return registers | {group.link_key} | set(map(catalog_key, _used_by(group)))


def _guesses(group: Group) -> set[Key]:
    """The records of the workspaces that the events themselves claim: most often the right ones."""
    claims = [group.word, *map(_claim, group.evidence)]
    return {keys.billing(claim.workspace_id) for claim in claims if claim}


def _used_by(group: Group) -> set[str]:
    """Catalog names in the group's own events: read at once, most are new to a record only once."""
    states = (one.element.state for one in group.evidence if one.element)
    return {name for state in states if state for name in used_names(group.scope, state)}


def _features(view: View | None) -> Sequence[str]:
    return view["features"] if view and view["object"] == SUMMARY else ()


def _claim(evidence: Evidence) -> Claim | None:
    return claim(evidence.element.state or {}) if evidence.element else None


@dataclass(frozen=True, slots=True)
class _Merged:
    """One register before and after."""

    key: Key
    object_type: str
    object_id: str
    stored: Item | None
    before: Register
    after: Register
    resolution_before: Resolution | None
    resolution: Resolution | None

    @property
    def changed(self) -> bool:
        return self.before != self.after

    @property
    def version(self) -> int:
        return int(self.stored["version"]) + 1 if self.stored else 1


class _Change:
    """What the group changes. Computed in parts, so that `Plan` can ask before all is known."""

    def __init__(self, group: Group, known: Known) -> None:
        self.group = group
        self.known = known
        self.merged = [_merge(key, found, known[key]) for key, found in group.elements.items()]
        self.link = known.get(group.link_key) if group.customer_id else None
        self.claims = self._claims()

    # ------------------------------------------------------------------ the parts of the transaction

    def writes(self) -> list[Write]:
        owned = (*self.adoptions(), *self.billing()) if self.group.customer_id else self.waits()
        return [*self.fetches(), *self.registers(), *owned]

    def uses(self) -> Iterator[Item]:
        if self.group.customer_id and (self.views or self.moves):
            for name in sorted(self.newly_used):
                yield use_item(catalog_key(name), self.new_home)

    def facts(self) -> Iterator[Item]:
        workspace_id = best(self.claims)
        for one in self.group.evidence:
            if one.fact is not None:
                yield {**one.fact, "workspace_id": workspace_id}

    def fetches(self) -> Iterator[Write]:
        asked = {
            (one.object_type, str(one.object_id)): one
            for one in self.group.evidence
            if one.fetch and one.object_id and fetchable(one.object_type)
        }
        for (object_type, object_id), one in asked.items():
            yield self._request(object_type, object_id, one.second)
        named = {key for view in self._changed.values() for key in _features(view)}
        if named - self._listed_features.keys():
            yield self._request(
                FEATURES, FEATURES, max(one.element.second for one in self.group.evidence if one.element)
            )

    def _request(self, object_type: str, object_id: str, second: int) -> Write:
        return request(
            self.group.scope,
            object_type,
            object_id,
            second=second,
            cause=self.group.cause,
            updated_at=self.group.updated_at,
        )

    @property
    def _listed_features(self) -> Mapping[str, Any]:
        """Those that Stripe listed when it was last asked."""
        resolution = resolve(
            register_of(self.known.get(catalog_key(catalog_name(self.group.scope, FEATURES, FEATURES))))
        )
        return resolution.state.get("features", {}) if resolution else {}

    def registers(self) -> Iterator[Write]:
        for one in self.merged:
            if one.changed and one.resolution:
                item = register_item(
                    one.key,
                    one.after,
                    one.resolution,
                    scope=self.group.scope,
                    version=one.version,
                    cause=self.group.cause,
                    updated_at=self.group.updated_at,
                )
                yield Put(table=Table.RECORDS, item=item, expected=version_of(one.stored))

    def billing(self) -> Iterator[Write]:
        if not self.views and not self.moves:
            return
        self._check_read()
        yield from self._link_writes()
        yield from self._record(self.new_home, self.new_inputs, best(self.claims))
        if self.moves and self.old_home != self.new_home:
            yield from self._leave()

    # ------------------------------------------------------------------ disputes

    @cached_property
    def _adopting(self) -> list[Key]:
        """Where something may wait for the customer that a charge of this group tells for the first time."""
        return [
            keys.risk_waiting(one.key)
            for one in self.merged
            if one.object_type == CHARGE and risk_links.found_owner(one.resolution_before, one.resolution)
        ]

    def adoptions(self) -> Iterator[Write]:
        for key in self._adopting:
            stored = self.known[key]
            if stored:
                yield Delete(table=Table.RECORDS, key=key, expected=version_of(stored))
            else:  # and must still be nothing: a twin that knows no charge may be about to begin it
                yield Check(table=Table.RECORDS, key=key, expected=Absent())

    def waits(self) -> Iterator[Write]:
        """Beside the charge, as long as nobody knows its customer; the group is of one object, so of one charge."""
        found = {name: view for name, view in self._changed.items() if view is not None}
        for charge in self.group.charges if found else ():
            stored = self.known[keys.risk_waiting(charge)]
            item = risk_links.waiting_item(
                charge,
                stored,
                found,
                scope=self.group.scope,
                cause=self.group.cause,
                updated_at=self.group.updated_at,
            )
            yield Put(table=Table.RECORDS, item=item, expected=version_of(stored))
            yield Check(table=Table.RECORDS, key=charge, expected=version_of(self.known[charge]))

    # ------------------------------------------------------------------ link

    def _claims(self) -> dict[str, Claim]:
        """All that is claimed: what other objects said, and what those of this group say now."""
        claims = claims_of(self.link)
        for one in self.merged:
            found = claim_of(one.after, one.resolution)
            if found:
                claims[one.object_id] = found
            elif one.object_type in CLAIMING:
                claims.pop(one.object_id, None)
        return with_word(claims, self.group.word) if self.group.word else claims

    @property
    def moves(self) -> bool:
        return self.claims != claims_of(self.link)

    def _link_writes(self) -> Iterator[Write]:
        group = self.group
        if self.moves:
            item = link_item(
                group.link_key,
                self.claims,
                scope=group.scope,
                customer_id=str(group.customer_id),
                version=int(self.link["version"]) + 1 if self.link else 1,
                cause=group.cause,
                actor=group.said_by,
                updated_at=group.updated_at,
            )
            yield Put(table=Table.RECORDS, item=item, expected=version_of(self.link))
        elif not self.claims:
            yield Check(table=Table.RECORDS, key=group.link_key, expected=version_of(self.link))

    # ------------------------------------------------------------------ records

    @property
    def name(self) -> str:
        return customer_name(self.group.scope, str(self.group.customer_id))

    @property
    def old_home(self) -> Key:
        workspace_id = self.link["workspace_id"] if self.link else None
        return home(self.group.scope, str(self.group.customer_id), workspace_id)

    @property
    def new_home(self) -> Key:
        return home(self.group.scope, str(self.group.customer_id), best(self.claims))

    @cached_property
    def views(self) -> dict[str, View | None]:
        """The views that changed, and those that waited."""
        waited = [risk_links.waiting_views(self.known[key]) for key in self._adopting]
        return {name: view for views in waited for name, view in views.items()} | self._changed

    @cached_property
    def _changed(self) -> dict[str, View | None]:
        """Each with the version of its register."""
        changed: dict[str, View | None] = {}
        for one in self.merged:
            before, after = view_of(one.before, one.resolution_before), view_of(one.after, one.resolution)
            if before != after:
                name = view_key(one.object_type, one.object_id)
                changed[name] = None if after is None else {**after, "version": one.version}
        return changed

    @cached_property
    def _inputs(self) -> Inputs:
        """The new home's, with this customer's views."""
        inputs = inputs_of(self.known[self.new_home])
        if self.old_home != self.new_home:
            left = inputs_of(self.known[self.old_home]).customers.get(self.name, {})
            inputs = with_views(inputs, self.name, left)
        return with_views(inputs, self.name, self.views)

    @cached_property
    def newly_used(self) -> set[str]:
        """What of the catalog the new home's record did not know of."""
        return catalog_names(self._inputs) - self._inputs.catalog.keys()

    @property
    def new_inputs(self) -> Inputs:
        return with_catalog(self._inputs, {name: self._entry(name) for name in self.newly_used})

    def _entry(self, name: str) -> dict[str, Any]:
        return catalog_entry(self.known[catalog_key(name)])

    def _record(self, key: Key, inputs: Inputs, workspace_id: str | None) -> Iterator[Write]:
        stored = self.known[key]
        item = record_item(
            key,
            inputs,
            workspace_id=workspace_id,
            version=int(stored["version"]) + 1 if stored else 1,
            cause=self.group.cause,
            updated_at=self.group.updated_at,
        )
        yield Put(table=Table.RECORDS, item=item, expected=version_of(stored))
        for catalog in map(catalog_key, sorted(self.newly_used)):
            yield Check(table=Table.RECORDS, key=catalog, expected=version_of(self.known[catalog]))

    def _leave(self) -> Iterator[Write]:
        """The old home without this customer; a record of the customer alone has no reason to stay."""
        stored = self.known[self.old_home]
        if stored is None:  # and must still be nothing: a twin that knows no link may be about to begin it
            yield Check(table=Table.RECORDS, key=self.old_home, expected=Absent())
            return
        if stored["workspace_id"] is None:
            yield Delete(table=Table.RECORDS, key=self.old_home, expected=version_of(stored))
            return
        inputs = without_customer(inputs_of(stored), self.name)
        item = record_item(
            self.old_home,
            inputs,
            workspace_id=stored["workspace_id"],
            version=int(stored["version"]) + 1,
            cause=self.group.cause,
            updated_at=self.group.updated_at,
        )
        yield Put(table=Table.RECORDS, item=item, expected=version_of(stored))

    def _check_read(self) -> None:
        """A linked customer has its part in the record that its link names: else one of both was read too early."""
        if self.link and self.link["workspace_id"] and self.name not in inputs_of(self.known[self.old_home]).customers:
            raise Torn(f"the record of {self.link['workspace_id']} was read before its link")


def _merge(key: Key, found: Sequence[Evidence], stored: Item | None) -> _Merged:
    before = register_of(stored)
    after = merge(before, register(one.element for one in found if one.element))
    first = found[0]
    return _Merged(key, first.object_type, str(first.object_id), stored, before, after, resolve(before), resolve(after))
