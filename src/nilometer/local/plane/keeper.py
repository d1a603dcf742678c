"""What requests change in MiniStack's memory, noted and written to the journal; and put back at the start."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from ministack import app as engine  # type: ignore[import-untyped]  # it has no types
from ministack.core import persistence  # type: ignore[import-untyped]  # as above
from ministack.core.responses import AccountRegionScopedDict  # type: ignore[import-untyped]  # as above
from ministack.services import cloudformation, dynamodb, sqs  # type: ignore[import-untyped]  # as above

from nilometer.local.plane.journal import Changes, Journal

# MiniStack's data has no public names.
# ruff: noqa: SLF001

_RETAINED_SECONDS = 24 * 3600
_SAVED_RECORDS = "nilometer_stream_records"  # in a state that an earlier version of nilometer saved
_OF_TABLES = ("tags", "ttl_settings", "pitr_settings", "resource_policies")
_Seen = tuple[int, str]
LOOKS_SECONDS = 0.2  # between two looks for messages whose time has come

_encode = msgspec.json.encode
_decode = msgspec.json.decode


class Keeper:
    """Thread-safe: requests run in the engine's loop, TTL removals in a thread."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._items: dict[tuple[str, str, str], Mapping[str, Any] | None] = {}
        self._records: list[tuple[str, Mapping[str, Any]]] = []
        self._queued: dict[str, tuple[_Seen, set[str]]] = {}
        self._unwritten = Changes()
        self._saved: dict[str, bytes] = {}
        self._load_state: Callable[[str], dict[str, Any] | None] = persistence.load_state
        self._looked = 0.0
        self._visible: dict[str, float] = {}
        self._changes: dict[str, int] = {}
        self._version = 0
        self.is_new = True
        """Whether the journal knew nothing when the engine started."""

    def item(self, table: Mapping[str, Any], pk: str, sk: str, item: Mapping[str, Any] | None) -> None:
        """An item was put, or removed (`None`)."""
        with self._lock:
            self._items[table["TableArn"], str(pk), str(sk)] = item

    def record(self, table: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """A stream record was written."""
        with self._lock:
            self._records.append((table["TableArn"], record))

    def write(self) -> None:
        """What changed since the last time, in one transaction; tried again with the next when it fails."""
        with self._lock:
            self._collect()
            if self._unwritten:
                self._journal.write(self._unwritten)
                self._unwritten = Changes()

    def save_services(self, only: str | None = None) -> None:
        """The state of every service, or of one, but items, stream records and messages, where it changed."""
        with self._lock:
            known = engine._build_persistence_save_dict()
            for name, get_state in known.items() if only is None else [(only, known[only])]:
                state = _BARE.get(name, get_state)()
                content = json.dumps(state, default=persistence._json_default).encode() if state else b""
                if content and content != self._saved.get(name):
                    self._saved[name] = self._unwritten.services[name] = content

    def changes(self, since: int) -> dict[str, int]:
        """Queues and tables that got something new after `since`, by name, with the version of that."""
        with self._lock:
            now = time.time()
            if not 0 <= now - self._looked < LOOKS_SECONDS:
                self._looked = now
                self._note_due(now)
            return {place: version for place, version in self._changes.items() if version > since}

    @property
    def version(self) -> int:
        """Of the last change."""
        return self._version

    def next_look(self) -> float:
        """After how many seconds a message may have become visible by itself."""
        return LOOKS_SECONDS if any(queue["messages"] for queue in sqs._queues.all_values()) else 3600.0

    def _note_due(self, now: float) -> None:
        """Messages that became visible since they were looked at last."""
        for scoped, queue in sqs._queues.all_items():
            at = _visible_since(queue["messages"], now)
            if at > self._visible.get(scoped[2], 0.0):
                self._visible[scoped[2]] = at
                self._note(scoped[2])

    def _note(self, place: str) -> None:
        self._version += 1
        self._changes[place.rpartition("/")[2]] = self._version

    def restore(self, name: str) -> dict[str, Any] | None:
        """A service's state by the journal, else as an earlier version of nilometer saved it."""
        content = self._journal.service(name)
        if content is None:
            return self._legacy(name)
        self.is_new = False
        self._saved[name] = content
        state: dict[str, Any] = json.loads(content, object_hook=persistence._json_object_hook)
        if name == "dynamodb":
            self._restore_tables(state)
        if name == "sqs":
            self._restore_queues(state)
        return state

    def adopt(self) -> None:
        """All that memory holds, into a journal that is empty."""
        for scoped, table in dynamodb._tables.all_items():
            for pk, members in table["items"].items():
                for sk, item in members.items():
                    self.item(table, pk, sk, item)
            for record in dynamodb._stream_records._data.get(scoped, ()):
                self.record(table, record)
        self.save_services()
        self.write()

    def close(self) -> None:
        """Writes what is left."""
        self.save_services()
        self.write()
        self._journal.close()

    def _collect(self) -> None:
        found = self._unwritten
        found.items.update((key, None if item is None else _encode(item)) for key, item in self._items.items())
        found.records += [(place, one["dynamodb"]["SequenceNumber"], _encode(one)) for place, one in self._records]
        for place in {place for place, _ in self._records}:
            self._note(place)
        self._items, self._records = {}, []
        for scoped, queue in sqs._queues.all_items():
            self._collect_queue(scoped[2], queue["messages"])

    def _collect_queue(self, url: str, messages: list[dict[str, Any]]) -> None:
        """A request sends or removes: with the same number and the same last message, nothing changed. With the last
        message where it was, some were sent and none removed, as they stay in their order."""
        seen = _seen(messages)
        before, known = self._queued.get(url, ((0, ""), set()))
        if seen == before:
            return
        if before[0] <= len(messages) and (not before[0] or messages[before[0] - 1]["id"] == before[1]):
            new = messages[before[0] :]
        else:
            new = [message for message in messages if message["id"] not in known]
            gone = known - {message["id"] for message in messages}
            self._unwritten.messages.update(((url, one), None) for one in gone)
            known -= gone
        self._unwritten.messages.update(((url, message["id"]), _encode(message)) for message in new)
        known.update(message["id"] for message in new)
        self._queued[url] = seen, known
        if at := _visible_since(new, time.time()):
            self._visible[url] = max(at, self._visible.get(url, 0.0))
            self._note(url)

    def _restore_tables(self, state: Mapping[str, Any]) -> None:
        tables = {table["TableArn"]: (scoped, table) for scoped, table in state["tables"].all_items()}
        oldest = int((time.time() - _RETAINED_SECONDS) * 1000)
        self._journal.forget_tables(kept=tables, records_before=f"{oldest:020d}")
        for place, pk, sk, item in self._journal.items():
            tables[place][1]["items"].setdefault(pk, {})[sk] = _decode(item)
        for place, record in self._journal.records():
            dynamodb._stream_records._data.setdefault(tables[place][0], []).append(_decode(record))
        for _, table in tables.values():
            table["ItemCount"] = sum(map(len, table["items"].values()))

    def _restore_queues(self, state: Mapping[str, Any]) -> None:
        queues = {scoped[2]: queue for scoped, queue in state["queues"].all_items()}
        self._journal.forget_queues(kept=queues)
        for url, message in self._journal.messages():
            queues[url]["messages"].append(_decode(message))
        for url, queue in queues.items():
            ids = {message["id"] for message in queue["messages"]}
            self._queued[url] = _seen(queue["messages"]), ids

    def _legacy(self, name: str) -> dict[str, Any] | None:
        state = self._load_state(name)
        if state and name == "dynamodb":
            dynamodb._stream_records.update(state.get(_SAVED_RECORDS, {}))
        if state and name == "sqs":
            for queue in state.get("queues", AccountRegionScopedDict()).all_values():
                for message in queue["messages"]:
                    message["visible_at"] = 0.0 if message["receive_count"] else message["visible_at"]
        return state


def _visible_since(messages: list[dict[str, Any]], now: float) -> float:
    """When the last of those that are visible became so; 0 without one."""
    return max((one["visible_at"] for one in messages if one["visible_at"] <= now), default=0.0)


def _seen(messages: list[dict[str, Any]]) -> _Seen:
    return len(messages), messages[-1]["id"] if messages else ""


def _tables() -> dict[str, Any]:
    """Without their items."""
    tables = AccountRegionScopedDict()
    for scoped, table in dynamodb._tables.all_items():
        rest = {name: value for name, value in table.items() if name != dynamodb._INDEX_MEMBERS}
        tables.set_scoped(*scoped, {**rest, "items": {}, "ItemCount": 0, "TableSizeBytes": 0})
    return {"tables": tables, **{name: getattr(dynamodb, f"_{name}") for name in _OF_TABLES}}


def _queues() -> dict[str, Any]:
    """Without their messages."""
    queues = AccountRegionScopedDict()
    for scoped, queue in sqs._queues.all_items():
        queues.set_scoped(*scoped, {**queue, "messages": []})
    return {"queues": queues, "queue_name_to_url": sqs._queue_name_to_url}


def _stacks() -> dict[str, Any]:
    """As they are: they are encoded at once, and MiniStack's copy takes longer than that."""
    return {name: store() for store, name in cloudformation._PERSISTED_STORES}


_BARE: Mapping[str, Callable[[], dict[str, Any]]] = {"cloudformation": _stacks, "dynamodb": _tables, "sqs": _queues}
