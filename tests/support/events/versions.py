"""Objects of today's API version as older versions render them. Sources: https://docs.stripe.com/upgrades."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nilometer.domain.stripe.event import StripeEvent

TODAY = "2026-10-28.endive"
VERSIONS = ["2020-03-02", "2020-08-27", "2022-11-15", "2024-06-20", "2025-02-24.acacia", "2025-03-31.basil", TODAY]


def rendered(event: StripeEvent, version: str) -> StripeEvent:
    """`event` of an invoice, made for an endpoint of `version`; today's shape of it is given."""
    previous = None if event.previous is None else invoice_of(event.previous, version)
    return replace(event, object=invoice_of(event.object, version), previous=previous, api_version=version)


def as_sent(event: Mapping[str, Any], version: str) -> dict[str, Any]:
    """The JSON of an event as an endpoint of `version` is sent it; only invoices differ."""
    data = dict(event["data"])
    if data["object"]["object"] == "invoice":
        data = {name: invoice_of(said, version) for name, said in data.items() if said is not None}
    return {**event, "api_version": version, "data": data}


def invoice_of(invoice: Mapping[str, Any], version: str) -> dict[str, Any]:
    """An invoice, or what of it stands in the previous attributes."""
    old = copy.deepcopy(dict(invoice))
    if version >= "2025-03-31":
        return old
    if "parent" in old:
        details = (old.pop("parent") or {}).get("subscription_details") or {}
        old["subscription"] = details.get("subscription")
    if "lines" in old:
        old["lines"] = {**old["lines"], "data": [_line(line, version) for line in old["lines"]["data"]]}
    return old


def _line(line: Mapping[str, Any], version: str) -> dict[str, Any]:
    old = {name: value for name, value in line.items() if name not in {"parent", "pricing", "taxes", "subtotal"}}
    parent = line.get("parent") or {}
    details = parent.get("subscription_item_details") or parent.get("invoice_item_details") or {}
    named = (line.get("pricing") or {}).get("price_details")
    price = None if named is None else {"id": named["price"], "object": "price", "product": named["product"]}
    old["plan"] = None if price is None else {**price, "object": "plan"}
    if version >= "2020-08-27":
        old["price"] = price
    old["type"] = "subscription" if parent.get("type") == "subscription_item_details" else "invoiceitem"
    old["proration"] = bool(details.get("proration"))
    old["subscription"] = details.get("subscription")
    if details.get("subscription_item"):
        old["subscription_item"] = details["subscription_item"]
    old["tax_amounts"] = [
        {"amount": one["amount"], "inclusive": one["tax_behavior"] == "inclusive", "tax_rate": "txr_1"}
        for one in line.get("taxes") or ()
    ]
    return old
