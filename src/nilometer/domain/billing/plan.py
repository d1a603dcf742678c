"""What a group of new Stripe events changes: fetches, registers, the customer's link, disputes, billing records. Pure.

A customer's part is in the records of the workspaces that it pays for, its homes, or, unlinked, in one of its own. A
record is written only when a view or the link changes: of a register whose view stays, nothing else depends.

One group's writes are one transaction; its `use` items come before, its facts after (docs/decisions/0013). Each
condition says what was read:

* registers, links and records are as read, so nobody's evidence is lost;
* a customer that nobody has linked is still unlinked, and one that is linked has nothing left where the unlinked
  wait (`Check`), so its billing is in one record;
* a product, a price or the features that a record begins to use are as read (`Check`), and `use` items name the
  users: a later change reaches every record that was folded with it.

A record that begins to use more than a transaction takes is prepared before: it knows of some of the catalog, in a
transaction of its own, and then the group is planned again. What is known and not used changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial

from nilometer.domain.billing import risk
from nilometer.domain.billing.group import (
    CHARGE,
    Group,
    Known,
    Merged,
    Torn,
    View,
    Views,
    changed_views,
    merged,
    register_writes,
)
from nilometer.domain.billing.link import Linked, claim, link_writes, linked
from nilometer.domain.billing.record.fold import read_parts, record_item
from nilometer.domain.billing.record.inputs import (
    CATALOG,
    Inputs,
    catalog_entry,
    catalog_key,
    catalog_name,
    catalog_names,
    changed,
    customer_name,
    features_of,
    home,
    in_parts,
    inputs_of,
    orphans,
    places,
    use_item,
    used_names,
    with_catalog,
    with_part,
    without_customer,
)
from nilometer.domain.billing.record.parts import PartedViews, PartPlace, PartsNeeded, part_of, part_writes
from nilometer.domain.billing.record.refold import refold_request
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Absent, Check, Delete, Item, Key, Put, Table, Write, version_after, version_of
from nilometer.domain.stripe.event import FEATURES
from nilometer.domain.stripe.fetchable import fetchable
from nilometer.domain.stripe.registers.refetch import request
from nilometer.domain.stripe.registers.register import register_of
from nilometer.domain.stripe.registers.resolve import resolve

ASKED = 40  # subscriptions of a deleted customer that are asked for at a time
FULL = 200_000  # bytes of what a record is folded from, half of an item: large customers do not wait for parts then
PREPARED = 30  # entries of the catalog that a record begins to use in one transaction; each is a condition of it


@dataclass(frozen=True, slots=True, kw_only=True)
class _Effect:
    """The result of the group, once all is known. `link` is None when it has no customer."""

    group: Group
    known: Known
    registers: Sequence[Merged]
    views: Mapping[str, View | None]
    adopted: Sequence[Key] = ()
    link: Linked | None = None
    homes: Sequence[Home] = ()

    @property
    def prepares(self) -> bool:
        """Whether a record begins to use more of the catalog than one transaction takes."""
        return sum(len(one.newly_used) for one in self.homes) > PREPARED

    def preparation(self) -> Iterator[Write]:
        """One record as it is, and what it knows of the catalog from now on."""
        one = max(self.homes, key=lambda home: len(home.newly_used))
        names = sorted(one.newly_used)[:PREPARED]
        entries = {name: catalog_entry(self.known[catalog_key(name)]) for name in names}
        yield _put(self.group, one, with_catalog(inputs_of(one.stored, self.known), entries))
        for key in map(catalog_key, names):
            yield Check(table=Table.RECORDS, key=key, expected=version_of(self.known[key]))

    def writes(self) -> Iterator[Write]:
        """For one transaction, at most one write an item: fetches, registers, disputes, the link and the records."""
        asked = (*self._notified(), *self._unlisted_features(), *self._orphans())
        yield from {write.key: write for write in asked}.values()
        yield from register_writes(self.group, self.registers)
        yield from self._refolding()
        if self.link is None:
            yield from risk.waits(self.group, self.known, self.views) if self.group.charges else ()
            return
        yield from risk.adoptions(self.known, self.adopted) if self.adopted else ()
        if self.homes:
            yield from link_writes(self.group, self.link)
            yield from _record_writes(self.group, self.known, self.homes)
            yield from _part_writes(self.group, self.homes)

    def _refolding(self) -> Iterator[Write]:
        """A changed product, price or feature is to be folded into all records that use it."""
        for one in self.registers:
            if one.changed and one.object_type in CATALOG:
                name = catalog_name(self.group.scope, one.object_type, one.object_id)
                yield refold_request(name, cause=self.group.cause, updated_at=self.group.updated_at)

    def _notified(self) -> Iterator[Write]:
        """The object of a thin notification must be fetched: one request, however many notifications."""
        asked = {(one.object_type, str(one.object_id)): one.second for one in self.group.evidence if one.fetch}
        for (object_type, object_id), second in asked.items():
            if object_id and fetchable(object_type):
                yield self._asking(object_type, object_id, second)

    def _unlisted_features(self) -> Iterator[Write]:
        """A feature that Stripe did not list when it was last asked."""
        named = {feature for view in self.views.values() for feature in features_of(view)}
        if named:
            listed = self.known.get(catalog_key(catalog_name(self.group.scope, FEATURES, FEATURES)))
            resolution = resolve(register_of(listed))
            if named - (resolution.state.get("features", {}) if resolution else {}).keys():
                second = max(one.element.second for one in self.group.evidence if one.element)
                yield self._asking(FEATURES, FEATURES, second)

    def _orphans(self) -> Iterator[Write]:
        """When the customer's deletion or such a subscription changes the record: as many as a transaction takes, and
        for each that is known to have ended the next one."""
        name = customer_name(self.group.scope, str(self.group.customer_id))
        left = sorted({id_ for one in self.homes for id_ in orphans(one.inputs.customers.get(name, {}))})
        asked = set(left) & self.views.keys()
        asked |= set(left[0 if self.group.customer_id in self.views else max(0, ASKED - len(self.views)) : ASKED])
        for object_id in sorted(asked):
            yield self._asking("subscription", object_id, max(one.second for one in self.group.evidence))

    def _asking(self, object_type: str, object_id: str, second: int) -> Write:
        """The request to fetch one object, due a little after `second`."""
        scope, cause, at = self.group.scope, self.group.cause, self.group.updated_at
        return request(scope, object_type, object_id, second=second, cause=cause, updated_at=at)

    def facts(self) -> Iterator[Item]:
        """The events' items for the events table, now with the workspace; None when there is no link."""
        for one in self.group.evidence:
            if one.fact is not None:
                yield {**one.fact, "workspace_id": self.link.after.of(one.subscription_id) if self.link else None}


class Plan:
    """One group against what is known: which items it still needs, and, when none, its transaction.

    Valid as long as no item of `keys` is written by somebody else: the conditions of the writes say so. `writes`,
    `uses` and `facts` are for a plan that misses nothing; they raise `Torn` when the items contradict each other.
    """

    def __init__(self, group: Group, known: Known) -> None:
        self.group = group
        self.keys, self._effect = _looked(group, known)
        self.missing = self.keys - known.keys()
        self._items = {key: known[key] for key in self.keys - self.missing}

    def stale(self, known: Known) -> bool:
        """Whether an item that it was made of has been written since."""
        return any(key not in known or known[key] is not item for key, item in self._items.items())

    @property
    def prepares(self) -> bool:
        """Whether its transaction is only a preparation: the group is planned again after it."""
        return self._effect is not None and self._effect.prepares

    def writes(self) -> list[Write]:
        """The transaction."""
        return list(self._decided.preparation() if self.prepares else self._decided.writes())

    def uses(self) -> list[Item]:
        """Who uses what of the catalog: stored before `writes`. In vain, it only makes more records be looked at."""
        return list(_uses(self._decided.homes))

    def facts(self) -> list[Item]:
        """What is known to have happened once `writes` are stored, and not before; may be put again. Nothing yet, when
        it `prepares`."""
        return [] if self.prepares else list(self._decided.facts())

    @property
    def parts(self) -> int | None:
        """How many its customer has once it is stored; None when nothing of the customer changes."""
        name = customer_name(self.group.scope, str(self.group.customer_id))
        homes = self._effect.homes if self._effect else ()
        after = (one.inputs.customers.get(name) for one in homes)
        return max((len(views.parts) if type(views) is PartedViews else 0 for views in after), default=None)

    @property
    def _decided(self) -> _Effect:
        if self._effect is None:
            raise Torn("not all items are read, or they contradict each other")
        return self._effect


def _looked(group: Group, known: Known) -> tuple[set[Key], _Effect | None]:
    """The keys that are needed as far as they can be named now, and the effect when all of them are known.

    What a link names is known only when the link is; what a record uses only when the record is.
    """
    wanted = set(group.charges)
    if wanted <= known.keys():
        group = group.with_owner(known)
    wanted |= _first(group)
    if not wanted <= known.keys():
        return wanted | _guesses(group), None
    registers = merged(group, known)
    views = changed_views(registers)
    effect = _Effect(group=group, known=known, registers=registers, views=views)
    return (wanted, effect) if group.customer_id is None else _owned(effect, wanted)


def _owned(effect: _Effect, wanted: set[Key]) -> tuple[set[Key], _Effect | None]:
    """The same of a group with a customer."""
    group, known = effect.group, effect.known
    link = linked(group, known, effect.registers)
    wanted |= set(_home_keys(group, link).values())
    if not wanted <= known.keys():
        return wanted, None
    charged = any(one.object_type == CHARGE for one in effect.registers)
    adopted = risk.adopting(effect.registers) if charged else []
    views = {**risk.adopted_views(known, adopted), **effect.views} if adopted else effect.views
    try:
        homes = _rehoused(group, known, link, views)
    except PartsNeeded as error:
        return wanted | error.keys, None
    except Torn:
        return wanted, None
    wanted |= {catalog_key(name) for one in homes for name in one.newly_used}
    wanted |= {key for one in homes for key in one.before if key in known}
    return wanted, replace(effect, link=link, adopted=adopted, homes=homes)


def _first(group: Group) -> set[Key]:
    wanted = set(group.elements)
    if group.charges or any(one.object_type == CHARGE for one in group.evidence):
        wanted |= risk.waiting_keys(group)
    if group.customer_id is None:
        return wanted
    return wanted | {group.link_key} | set(map(catalog_key, _used_by(group)))


def _used_by(group: Group) -> set[str]:
    """Catalog names in the group's own events: read at once, most are new to a record only once."""
    return {name for one in group.evidence if one.state for name in used_names(group.scope, one.state)}


def _guesses(group: Group) -> set[Key]:
    """The records of the workspaces that the events themselves claim: most often the right ones."""
    claims = (
        [group.operator_claim, *(claim(one.state) for one in group.evidence)]
        if group.trusted is not False
        else [group.operator_claim]
    )
    return {keys.billing(told.workspace_id) for told in claims if told}


def own_parts(group: Group, slots: int) -> set[Key]:
    """The parts of the group's own subscriptions, should its customer have so many."""
    if not slots or group.customer_id is None:
        return set()
    name = customer_name(group.scope, group.customer_id)
    return {
        part_of(name, one.object_id, slots)
        for one in group.evidence
        if one.element and one.object_id and one.object_type == "subscription"
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """One record as it will be. `stored` is its item as it was read; `leaves`: the customer is no more part of it."""

    key: Key
    workspace_id: str | None
    stored: Item | None
    inputs: Inputs
    leaves: bool = False
    newly_used: Set[str] = frozenset()
    """What of the catalog the record did not know of."""
    before: Mapping[Key, PartPlace] = field(default_factory=dict)
    """The customer's parts as they are stored."""


def _home_keys(group: Group, link: Linked) -> dict[str | None, Key]:
    """By workspace, of the records that hold the customer's part and of those that will."""
    customer_id = str(group.customer_id)
    return {id_: home(group.scope, customer_id, id_) for id_ in (*link.before.homes, *link.after.homes)}


def _rehoused(group: Group, known: Known, link: Linked, views: Mapping[str, View | None]) -> list[Home]:
    """The records that the views or the link change. `Torn` when one was read before the link that names it;
    `PartsNeeded`."""
    if not views and not link.moves:
        return []
    name = customer_name(group.scope, str(group.customer_id))
    read = {id_: inputs_of(known[key], known) for id_, key in _home_keys(group, link).items()}
    _check_read(link, read, name)
    held = [read[id_].customers.get(name, {}) for id_ in link.before.homes]
    whole = changed(held[0] if len(held) == 1 else {n: view for part in held for n, view in part.items()}, views)
    before = {key: place for part in held for key, place in places(part).items()}
    made = (_home(group, known, link, id_, inputs, whole, before) for id_, inputs in read.items())
    # whoever read a link that names one workspace alone does not check it, but writes that one's record
    splits = link.moves and not link.before.subscriptions
    homes = [one for one in made if splits or one.leaves or one.inputs != read[one.workspace_id]]
    for inputs in (*(one.inputs for one in homes), *read.values()):
        read_parts(inputs)
    return homes


def _record_writes(group: Group, known: Known, homes: Sequence[Home]) -> Iterator[Write]:
    """Each record on condition that it is as read, and so is what it begins to use of the catalog."""
    for one in homes:
        yield _leave(group, one) if one.leaves else _put(group, one, _with_used(one, known))
    for key in sorted({catalog_key(name) for one in homes for name in one.newly_used}):
        yield Check(table=Table.RECORDS, key=key, expected=version_of(known[key]))


def _part_writes(group: Group, homes: Sequence[Home]) -> Iterator[Write]:
    """What changes of the customer's parts: they stay where they are when it moves to another workspace."""
    name = customer_name(group.scope, str(group.customer_id))
    after = (one.inputs.customers[name] for one in homes if not one.leaves)
    kept: Views = next((views for views in after if type(views) is PartedViews), {})
    if homes[0].before or kept:
        yield from part_writes(homes[0].before, kept, cause=group.cause, updated_at=group.updated_at)


def _uses(homes: Sequence[Home]) -> Iterator[Item]:
    """Who uses what of the catalog, an item each."""
    for one in homes:
        for name in sorted(one.newly_used):
            yield use_item(catalog_key(name), one.key)


def _home(
    group: Group,
    known: Known,
    link: Linked,
    workspace_id: str | None,
    inputs: Inputs,
    whole: Views,
    before: Mapping[Key, PartPlace],
) -> Home:
    """The record of one workspace. `whole` are all views of the customer, `before` its parts as they are stored."""
    customer_id = str(group.customer_id)
    name, key = customer_name(group.scope, customer_id), home(group.scope, customer_id, workspace_id)
    made = partial(Home, key=key, workspace_id=workspace_id, stored=known[key], before=before)
    if workspace_id not in link.after.homes:
        return made(inputs=without_customer(inputs, name), leaves=True)
    part = link.after.part(whole, workspace_id)
    said = inputs.claims.get(name) if not link.moves else None
    if said is None and (claim := link.claim_to(workspace_id)):
        said = claim[:3]
    changed = with_part(inputs, name, part, claim=said, refused=link.refused if workspace_id is None else ())
    if not link.after.subscriptions:
        full = len((known[key] or {}).get("inputs", b"")) > FULL
        changed = in_parts(changed, name, before, None if full else group.updated_at)
    return made(inputs=changed, newly_used=catalog_names(changed) - changed.catalog.keys())


def _check_read(link: Linked, read: Mapping[str | None, Inputs], name: str) -> None:
    """A linked customer has its part in the records that its link names: else one of both was read too early."""
    for id_ in link.before.homes:
        if id_ is not None and name not in read[id_].customers:
            raise Torn(f"the record of {id_} was read before its link")


def _with_used(one: Home, known: Known) -> Inputs:
    return with_catalog(one.inputs, {name: catalog_entry(known[catalog_key(name)]) for name in one.newly_used})


def _leave(group: Group, one: Home) -> Write:
    """The old home without this customer; a record of the customer alone has no reason to stay."""
    if one.stored is None:  # and must still be nothing: another worker that read no link may be about to create it
        return Check(table=Table.RECORDS, key=one.key, expected=Absent())
    if one.workspace_id is None:
        return Delete(table=Table.RECORDS, key=one.key, expected=version_of(one.stored))
    return _put(group, one, one.inputs)


def _put(group: Group, one: Home, inputs: Inputs) -> Write:
    item = record_item(
        one.key,
        inputs,
        workspace_id=one.workspace_id,
        version=version_after(one.stored),
        cause=group.cause,
        updated_at=group.updated_at,
    )
    return Put(table=Table.RECORDS, item=item, expected=version_of(one.stored))
