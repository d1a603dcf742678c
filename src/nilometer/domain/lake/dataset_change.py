"""What changes about a dataset that is declared: who feeds it, and whether it is still in use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from nilometer.domain.acts.act import Act
from nilometer.domain.acts.deed import UNSAID, Actor, Bounds, Decided, Deed, Reach, Slug, Stored, Unsaid, said
from nilometer.domain.acts.records import field_times, newer, put
from nilometer.domain.acts.roles import Permission
from nilometer.domain.acts.text import check_text
from nilometer.domain.lake.dataset import DESCRIPTION_LENGTH, Description, Owner, check_owner, dataset_key
from nilometer.domain.store.writes import Key, Write
from nilometer.errors import NotKnownYet


@dataclass(frozen=True, kw_only=True)
class ChangeDataset(Deed[bool]):
    """A dataset is deprecated, dropped or active again, or another source feeds it; what is left out stays.

    Of two changes the later one holds, in whatever order they arrive. In the library the answer is whether anything
    changed.
    """

    reach = Reach.EVERYBODY
    permission = Permission.DATASET_DECLARE
    actor = Actor.NAMED

    dataset: Slug
    status: Annotated[
        Literal["active", "deprecated", "dropped"] | Unsaid, Bounds(says="dropped: accepts no batches; its files stay")
    ] = UNSAID
    note: Description | Unsaid = UNSAID
    owner: Owner | Unsaid | None = UNSAID

    def __post_init__(self) -> None:
        check_owner(self.owner if isinstance(self.owner, str) else None)
        if isinstance(self.note, str):
            check_text("a note", self.note, DESCRIPTION_LENGTH, at_least=0)

    def reads(self, act: Act) -> list[Key]:
        return [dataset_key(self.dataset)]

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        item = stored.get(dataset_key(self.dataset))
        if item is None:
            raise NotKnownYet(
                "unknown_dataset", f"dataset {self.dataset} is not declared; its declaration may not have arrived"
            )
        fresh = newer(act, item, said(status=self.status, note=self.note, owner=self.owner))
        if all(item.get(name) == value for name, value in fresh.items()):
            return []
        times = field_times(act, item, fresh)
        return [put(act, dataset_key(self.dataset), "dataset", item, {**item, **fresh, "field_times": times})]

    def answer(self, act: Act, decided: Decided) -> bool:
        return bool(decided.writes)
