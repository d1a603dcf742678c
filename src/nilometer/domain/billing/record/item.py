"""Billing records and the users of the catalog as items of the records table."""

from __future__ import annotations

import json
from typing import Any

from nilometer.domain.billing.record.conflict import admitted
from nilometer.domain.billing.record.fold import fold
from nilometer.domain.billing.record.inputs import Inputs
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Key
from nilometer.domain.stripe.event import Scope
from nilometer.domain.stripe.payload import pack_record, unpack
from nilometer.domain.stripe.registers.item import register_of
from nilometer.domain.stripe.registers.resolve import resolve


def home(scope: Scope, customer_id: str, workspace_id: str | None) -> Key:
    """Where a customer's billing is: in its workspace's record, or, unlinked, in one of its own."""
    if workspace_id:
        return keys.billing(workspace_id)
    return Key(keys.customer(scope.account, scope.livemode, customer_id), "BILLING")


def record_item(
    key: Key, inputs: Inputs, *, workspace_id: str | None, version: int, cause: str, updated_at: str
) -> Item:
    """The folded fields without those that are None, and `inputs`, compressed, to fold it again from."""
    return {
        "pk": key.pk,
        "sk": key.sk,
        "kind": "billing",
        "version": version,
        "updated_at": updated_at,
        "cause": cause,
        "actor": None,
        "workspace_id": workspace_id,
        **{name: value for name, value in fold(inputs).items() if value is not None},
        "customers": sorted(admitted(inputs)),
        "inputs": _packed(inputs),
    }


def inputs_of(record: Item | None) -> Inputs:
    """What a stored record was folded from; empty when there is no record."""
    if record is None:
        return Inputs()
    document = json.loads(unpack(record["inputs"]))
    return Inputs(
        customers=document["customers"],
        catalog=document["catalog"],
        claims=document.get("claims", {}),
        refused=document.get("refused", {}),
    )


def payer(record: Item | None) -> str | None:
    """The customer that usage is billed to, "account/mode/customer": the effective subscription's, else the first."""
    if record is None:
        return None
    customers = admitted(inputs_of(record))
    owners = (name for name in sorted(customers) if record.get("subscription") in customers[name])
    return next(owners, min(customers, default=None))


def _packed(inputs: Inputs) -> bytes:
    """What was folded: compressed, so that most records cost one kilobyte's write."""
    document: dict[str, Any] = {"customers": inputs.customers, "catalog": inputs.catalog}
    document |= {"claims": inputs.claims} if inputs.claims else {}
    document |= {"refused": inputs.refused} if inputs.refused else {}
    return pack_record(json.dumps(document, sort_keys=True, separators=(",", ":"), default=int).encode())


def catalog_entry(register: Item | None) -> dict[str, Any]:
    """What a record keeps of a product, a price or the features; version 0 when we have not heard of it yet."""
    resolution = resolve(register_of(register))
    if register is None or resolution is None:
        return {"version": 0}
    kept = {name: resolution.state[name] for name in ("metadata", "name", "deleted") if name in resolution.state}
    with_limits = {key: told for key, told in resolution.state.get("features", {}).items() if told}
    kept |= {"features": with_limits} if with_limits else {}
    return {**kept, "version": register["version"]}


def use_item(catalog: Key, record: Key) -> Item:
    """Says, beside a product or price, that `record` uses it: so that its change finds all that it concerns."""
    return {
        "pk": catalog.pk,
        "sk": f"USED#{keys.part(record.pk)}",
        "kind": "use",
        "version": 1,
        "record_pk": record.pk,
        "record_sk": record.sk,
    }
