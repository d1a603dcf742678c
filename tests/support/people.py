"""A workspace with people in it, and eight at once who want the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar

from tests.support.flows.operations import NOW

from nilometer import AddMember, CreateWorkspace, perform
from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import Caller, service
from nilometer.domain.acts.roles import Role
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.errors import NilometerError
from nilometer.flows.people import members as people

RACERS = 8

_T = TypeVar("_T")


def workspace(store: Store, workspace_id: str = "ws", *, now: datetime = NOW, **members: Role) -> Caller:
    """A workspace whose Admin is `ada`, with `members`; the caller is she."""
    door = service(workspace_id, "services")
    perform(store, door, CreateWorkspace(name="Acme", admin="ada"), now=now)
    for user_id, role in members.items():
        perform(store, door, AddMember(user_id=user_id, role=role), now=now)
    return member("ada", Role.ADMIN, workspace_id)


def member(user_id: str, role: Role, workspace_id: str = "ws") -> Caller:
    return Caller(workspace_id=workspace_id, user_id=user_id, role=role)


def roles(store: Store, workspace_id: str = "ws") -> dict[str, Role]:
    return {one.user_id: one.role for one in people.members(store, service(workspace_id, "test"))}


def admins(store: Store, workspace_id: str = "ws") -> int:
    """As the workspace's record counts them."""
    return int((store.get(Table.RECORDS, keys.workspace(workspace_id), consistent=True) or {})["admins"])


def actions(store: Store, workspace_id: str = "ws") -> list[str]:
    """Of the security log, the oldest first."""
    items = store.query(Table.RECORDS, keys.workspace(workspace_id).pk, prefix="SECURITY#", consistent=True)
    return [item["action"] for item in items]


def race(tasks: Iterable[Callable[[], _T]]) -> list[_T | NilometerError]:
    """What each answered or was refused with; all start at once."""
    wanted = list(tasks)
    barrier = threading.Barrier(len(wanted))

    def run(task: Callable[[], _T]) -> _T | NilometerError:
        barrier.wait()
        try:
            return task()
        except NilometerError as error:
            return error

    with ThreadPoolExecutor(len(wanted)) as pool:
        return list(pool.map(run, wanted))


def won(answers: Iterable[Any]) -> list[Any]:
    return [one for one in answers if not isinstance(one, NilometerError)]
