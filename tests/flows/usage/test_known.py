"""What a process remembers of workspaces does not grow with how many there are."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from nilometer.client.testing.memory import MemoryStore
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table, new_item
from nilometer.flows.usage.known import REMEMBERED, WORKSPACE_SECONDS, Known

WORKSPACES = [f"ws_{number}" for number in range(3 * REMEMBERED)]


@pytest.fixture
def filled() -> MemoryStore:
    """Each workspace with a number of shards of its own."""
    store = MemoryStore()
    made = datetime(2026, 11, 23, tzinfo=UTC).isoformat()
    places = enumerate(map(keys.workspace, WORKSPACES), start=1)
    store.put_all(Table.RECORDS, (new_item(key, "workspace", shards=number, at=made) for number, key in places))
    return store


@pytest.mark.parametrize("seconds", [0.0, 2 * WORKSPACE_SECONDS / REMEMBERED, WORKSPACE_SECONDS])
def test_a_process_that_sees_every_workspace_remembers_some(filled: MemoryStore, seconds: float) -> None:
    """Whether its entries expire in between or are all still valid; each answer is right."""
    passed = 0.0
    known = Known(filled, monotonic=lambda: passed)

    for number, workspace_id in enumerate(WORKSPACES, start=1):
        passed += seconds
        assert known.tenants([workspace_id])[workspace_id].shards == number

    assert len(known._tenants) <= REMEMBERED


def test_more_at_once_than_are_remembered_are_all_answered(filled: MemoryStore) -> None:
    """A batch names as many as it likes."""
    assert known_shards(Known(filled)) == list(range(1, len(WORKSPACES) + 1))


def known_shards(known: Known) -> list[int]:
    """Of all of them, asked for twice."""
    known.tenants(WORKSPACES)
    return sorted(one.shards for one in known.tenants(WORKSPACES).values())
