"""What a group must ask Stripe for: the object of a thin notification, and features that were never listed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nilometer.domain.billing.group import Group, Known
from nilometer.domain.billing.record.inputs import catalog_key, catalog_name, features_of
from nilometer.domain.store.writes import Write
from nilometer.domain.stripe.event import FEATURES
from nilometer.domain.stripe.fetchable import fetchable
from nilometer.domain.stripe.registers.item import register_of
from nilometer.domain.stripe.registers.refetch import request
from nilometer.domain.stripe.registers.resolve import resolve
from nilometer.domain.stripe.registers.view import View


def fetches(group: Group, known: Known, views: Mapping[str, View | None]) -> Iterator[Write]:
    """One request an object, whatever the number of reasons. `views` are those that the group changes."""
    asked = {
        (one.object_type, str(one.object_id)): one
        for one in group.evidence
        if one.fetch and one.object_id and fetchable(one.object_type)
    }
    for (object_type, object_id), one in asked.items():
        yield asking(group, object_type, object_id, one.second)
    named = {feature for view in views.values() for feature in features_of(view)}
    if named - _listed_features(group, known).keys():
        yield asking(group, FEATURES, FEATURES, max(one.element.second for one in group.evidence if one.element))


def asking(group: Group, object_type: str, object_id: str, second: int) -> Write:
    """The request to fetch one object, due a little after `second`."""
    return request(group.scope, object_type, object_id, second=second, cause=group.cause, updated_at=group.updated_at)


def _listed_features(group: Group, known: Known) -> Mapping[str, Any]:
    """Those that Stripe listed when it was last asked."""
    resolution = resolve(register_of(known.get(catalog_key(catalog_name(group.scope, FEATURES, FEATURES)))))
    return resolution.state.get("features", {}) if resolution else {}
