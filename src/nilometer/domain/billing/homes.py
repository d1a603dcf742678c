"""The records that hold a customer's part: those of the workspaces that it pays for, or, unlinked, one of its own.

A record is written only when a view or the link changes: of a register whose view stays, nothing else depends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nilometer.domain.billing.group import Group, Known, Torn
from nilometer.domain.billing.link import Linked
from nilometer.domain.billing.record.inputs import (
    Inputs,
    Views,
    bounded,
    catalog_key,
    catalog_names,
    customer_name,
    with_catalog,
    with_part,
    without_customer,
)
from nilometer.domain.billing.record.item import catalog_entry, home, inputs_of, record_item, use_item
from nilometer.domain.store.writes import Absent, Check, Delete, Item, Key, Put, Table, Write, version_after, version_of
from nilometer.domain.stripe.registers.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """One record as it will be. `stored` is its item as it was read; `leaves`: the customer is no more part of it."""

    key: Key
    workspace_id: str | None
    stored: Item | None
    inputs: Inputs
    leaves: bool = False

    @property
    def newly_used(self) -> set[str]:
        """What of the catalog the record did not know of."""
        return set() if self.leaves else catalog_names(self.inputs) - self.inputs.catalog.keys()


def home_keys(group: Group, link: Linked) -> dict[str | None, Key]:
    """By workspace, of the records that hold the customer's part and of those that will."""
    customer_id = str(group.customer_id)
    return {id_: home(group.scope, customer_id, id_) for id_ in (*link.before.homes, *link.after.homes)}


def rehoused(group: Group, known: Known, link: Linked, views: Mapping[str, View | None]) -> list[Home]:
    """The records that the views or the link change; `Torn` when one was read before the link that names it."""
    if not views and not link.moves:
        return []
    name, keyed = customer_name(group.scope, str(group.customer_id)), home_keys(group, link)
    read = {id_: inputs_of(known[key]) for id_, key in keyed.items()}
    _check_read(link, read, name)
    held = {n: view for id_ in link.before.homes for n, view in read[id_].customers.get(name, {}).items()}
    whole = bounded({n: view for n, view in {**held, **views}.items() if view is not None})
    made = (_home(keyed[id_], id_, known, inputs, name, whole, link) for id_, inputs in read.items())
    return [one for one in made if link.moves or one.inputs != read[one.workspace_id]]


def record_writes(group: Group, known: Known, homes: Sequence[Home]) -> Iterator[Write]:
    """Each record on condition that it is as read, and so is what it begins to use of the catalog."""
    for one in homes:
        yield _leave(group, one) if one.leaves else _put(group, one, _with_used(one, known))
    for key in sorted({catalog_key(name) for one in homes for name in one.newly_used}):
        yield Check(table=Table.RECORDS, key=key, expected=version_of(known[key]))


def uses(homes: Sequence[Home]) -> Iterator[Item]:
    """Who uses what of the catalog, an item each."""
    for one in homes:
        for name in sorted(one.newly_used):
            yield use_item(catalog_key(name), one.key)


def _home(
    key: Key, workspace_id: str | None, known: Known, inputs: Inputs, name: str, whole: Views, link: Linked
) -> Home:
    leaves = workspace_id not in link.after.homes
    if leaves:
        changed = without_customer(inputs, name)
    else:
        part, claim = link.after.part(whole, workspace_id), link.claim_to(workspace_id)
        said = claim[:3] if claim else None
        changed = with_part(inputs, name, part, claim=said, refused=link.refused if workspace_id is None else ())
    return Home(key=key, workspace_id=workspace_id, stored=known[key], inputs=changed, leaves=leaves)


def _check_read(link: Linked, read: Mapping[str | None, Inputs], name: str) -> None:
    """A linked customer has its part in the records that its link names: else one of both was read too early."""
    for id_ in link.before.homes:
        if id_ is not None and name not in read[id_].customers:
            raise Torn(f"the record of {id_} was read before its link")


def _with_used(one: Home, known: Known) -> Inputs:
    return with_catalog(one.inputs, {name: catalog_entry(known[catalog_key(name)]) for name in one.newly_used})


def _leave(group: Group, one: Home) -> Write:
    """The old home without this customer; a record of the customer alone has no reason to stay."""
    if one.stored is None:  # and must still be nothing: a twin that knows no link may be about to begin it
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
