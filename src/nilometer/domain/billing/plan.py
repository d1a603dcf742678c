"""What a group of new Stripe events changes: fetches, registers, the customer's link, disputes, billing records. Pure.

One group's writes are one transaction; its `use` items come before, its facts after (docs/decisions/0013). Each
condition says what was read:

* registers, links and records are as read, so nobody's evidence is lost;
* a customer that nobody has linked is still unlinked, and one that is linked has nothing left where the unlinked
  wait (`Check`), so its billing is in one record;
* a product, a price or the features that a record begins to use are as read (`Check`), and `use` items name the
  users: a later change reaches every record that was folded with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from nilometer.domain.billing import disputes
from nilometer.domain.billing.claim import claim
from nilometer.domain.billing.fetches import asking, fetches
from nilometer.domain.billing.group import Group, Known, Torn
from nilometer.domain.billing.homes import Home, home_keys, record_writes, rehoused, uses
from nilometer.domain.billing.link import Linked, link_writes, linked
from nilometer.domain.billing.record.fold import orphans
from nilometer.domain.billing.record.inputs import CATALOG, catalog_key, catalog_name, customer_name, used_names
from nilometer.domain.billing.record.refold import refold_request
from nilometer.domain.billing.registers import Merged, changed_views, merged, register_writes
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Key, Write
from nilometer.domain.stripe.registers.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What the group comes to, once all is known. `link` is None when it has no customer."""

    group: Group
    known: Known
    registers: Sequence[Merged]
    views: Mapping[str, View | None]
    adopted: Sequence[Key] = ()
    link: Linked | None = None
    homes: Sequence[Home] = ()

    def writes(self) -> Iterator[Write]:
        """For one transaction, at most one write an item: fetches, registers, disputes, the link and the records."""
        asked = (*fetches(self.group, self.known, self.views), *self._asking_for_orphans())
        yield from {write.key: write for write in asked}.values()
        yield from register_writes(self.group, self.registers)
        yield from self._refolding()
        if self.link is None:
            yield from disputes.waits(self.group, self.known, self.views)
            return
        yield from disputes.adoptions(self.known, self.adopted)
        if self.homes:
            yield from link_writes(self.group, self.link)
            yield from record_writes(self.group, self.known, self.homes)

    def _refolding(self) -> Iterator[Write]:
        """A changed product, price or feature is to be folded into all records that use it."""
        for one in self.registers:
            if one.changed and one.object_type in CATALOG:
                name = catalog_name(self.group.scope, one.object_type, one.object_id)
                yield refold_request(name, cause=self.group.cause, updated_at=self.group.updated_at)

    def _asking_for_orphans(self) -> Iterator[Write]:
        """Once, when the customer's deletion or such a subscription changes the record."""
        name = customer_name(self.group.scope, str(self.group.customer_id))
        parts = [one.inputs.customers.get(name, {}) for one in self.homes]
        for object_id in sorted({id_ for part in parts for id_ in orphans(part) if self._touches(id_)}):
            yield asking(self.group, "subscription", object_id, max(one.second for one in self.group.evidence))

    def _touches(self, subscription_id: str) -> bool:
        return bool(self.views.keys() & {subscription_id, str(self.group.customer_id)})

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

    def writes(self) -> list[Write]:
        """The transaction."""
        return list(self._decided.writes())

    def uses(self) -> list[Item]:
        """Who uses what of the catalog: stored before `writes`. In vain, it only makes more records be looked at."""
        return list(uses(self._decided.homes))

    def facts(self) -> list[Item]:
        """What is known to have happened once `writes` are stored, and not before; may be put again."""
        return list(self._decided.facts())

    @property
    def _decided(self) -> Effect:
        if self._effect is None:
            raise Torn("not all items are read, or they contradict each other")
        return self._effect


def _looked(group: Group, known: Known) -> tuple[set[Key], Effect | None]:
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
    effect = Effect(group=group, known=known, registers=registers, views=views)
    return (wanted, effect) if group.customer_id is None else _owned(effect, wanted)


def _owned(effect: Effect, wanted: set[Key]) -> tuple[set[Key], Effect | None]:
    """The same of a group with a customer."""
    group, known = effect.group, effect.known
    link = linked(group, known, effect.registers)
    wanted |= set(home_keys(group, link).values())
    if not wanted <= known.keys():
        return wanted, None
    adopted = disputes.adopting(effect.registers)
    views = {**disputes.adopted_views(known, adopted), **effect.views}
    try:
        homes = rehoused(group, known, link, views)
    except Torn:
        return wanted, None
    wanted |= {catalog_key(name) for one in homes for name in one.newly_used}
    return wanted, replace(effect, link=link, adopted=adopted, homes=homes)


def _first(group: Group) -> set[Key]:
    registers = set(group.elements) | disputes.waiting_keys(group)
    if group.customer_id is None:
        return registers
    return registers | {group.link_key} | set(map(catalog_key, _used_by(group)))


def _used_by(group: Group) -> set[str]:
    """Catalog names in the group's own events: read at once, most are new to a record only once."""
    return {name for one in group.evidence if one.state for name in used_names(group.scope, one.state)}


def _guesses(group: Group) -> set[Key]:
    """The records of the workspaces that the events themselves claim: most often the right ones."""
    claims = [group.word, *(claim(one.state) for one in group.evidence)] if group.trusted is not False else [group.word]
    return {keys.billing(told.workspace_id) for told in claims if told}
