"""A store that fails on purpose: the process dies, an answer is lost, a read is behind."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

from nilometer.aws.dynamodb import Store
from nilometer.domain.store.writes import Table
from nilometer.errors import Unavailable

CALLS = ("get", "batch_get", "batch_get_both", "query", "commit", "put", "put_all", "delete_all")


class Killed(BaseException):
    """The process is gone: nothing of our code may run after it, so it is no Exception."""


class FaultyStore:
    """The real store, with `fault(call, number, landed)` before (landed=False) and after (True) each call."""

    def __init__(self, store: Store, fault: Callable[[str, int, bool], None], *, stale: bool = False) -> None:
        self._store = store
        self._fault = fault
        self._stale = stale
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._store, name)
        if name not in CALLS:
            return real

        def call(*args: Any, **given: Any) -> Any:
            self.calls += 1
            number = self.calls
            self._fault(name, number, False)
            answer = self._answer(name, real, args, given)
            self._fault(name, number, True)
            return answer

        return call

    def _answer(self, name: str, real: Callable[..., Any], args: Any, given: Any) -> Any:
        """An eventually consistent read of facts may know nothing yet."""
        if self._stale and name == "batch_get" and args[0] is Table.EVENTS and not given.get("consistent"):
            return {}
        if self._stale and name == "batch_get_both" and not given.get("consistent"):
            return set(), real(*args, **given)[1]
        answer = real(*args, **given)
        return iter(list(answer)) if name == "query" else answer


def dies_at(number: int, *, landed: bool) -> Callable[[str, int, bool], None]:
    """The process dies before or after its n-th call."""

    def fault(_name: str, call: int, after: bool) -> None:
        if call == number and after is landed:
            raise Killed

    return fault


def unlucky(seed: int, *, deaths: float, losses: float) -> Callable[[str, int, bool], None]:
    """Dies, is refused, or loses the answer, now and then."""
    chance = random.Random(seed)

    def fault(name: str, _call: int, after: bool) -> None:
        if chance.random() < deaths:
            raise Killed
        if chance.random() < losses:
            raise Unavailable(f"{name}: no answer {'after' if after else 'before'} it landed")

    return fault


def together(work: Sequence[Callable[[], None]]) -> None:
    """Runs all at once and raises what any of them raised."""
    failures: list[BaseException] = []

    def run(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as error:  # noqa: BLE001  # shown below
            failures.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
