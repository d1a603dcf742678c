"""MiniStack as `nilometer local` runs it: nothing that it acknowledged is lost, however it ends.

MiniStack 1.5.33 holds its state in memory and saves it when it is stopped, without stream records. Here every change of
a table, a stream or a queue is in the journal (`local.plane.journal`) before its request is answered, and so is the
state of the other services once a request has changed it. The next start begins with that.

Who received a message ended with the engine, perhaps before the answer arrived, so at the start every received message
is visible again. TTL removals leave the stream record that DynamoDB writes: a REMOVE by the service.

`python -m nilometer.local.plane.plane DATA` is its `ministack`.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import logging
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from pathlib import Path
from typing import Any

import hypercorn.asyncio
import yaml
from ministack import app as engine  # type: ignore[import-untyped]  # it has no types
from ministack.core import responses  # type: ignore[import-untyped]  # as above
from ministack.services import (  # type: ignore[import-untyped]  # as above
    cloudformation,
    dynamodb,
    dynamodb_streams,
    eventbridge,
    lambda_svc,
    s3,
    sqs,
)
from ministack.services.cloudformation import engine as templates  # type: ignore[import-untyped]  # as above
from ministack.services.cloudformation import provisioners

from nilometer.local.front.direct import directly
from nilometer.local.front.foreign import for_this_machine
from nilometer.local.front.server import serve
from nilometer.local.patches import envelopes, queues, quick_json, rules, streams, texts, transforms, values
from nilometer.local.plane.journal import FILE, Journal
from nilometer.local.plane.keeper import Keeper

# MiniStack's functions have no public names.
# ruff: noqa: SLF001

_log = logging.getLogger("nilometer.plane")
_REAPER = "dynamodb-ttl-reaper"
_BY_SERVICE = {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}
_READS = ("Get", "List", "Describe", "Batch", "Query", "Scan", "Test")
_DATA = {
    "PutItem",
    "UpdateItem",
    "DeleteItem",
    "TransactWriteItems",
    "TransactGetItems",
    "SendMessage",
    "SendMessageBatch",
    "ReceiveMessage",
    "DeleteMessage",
    "DeleteMessageBatch",
    "ChangeMessageVisibility",
    "ChangeMessageVisibilityBatch",
    "PurgeQueue",
    "PutEvents",
}
"""Requests that change items, messages or nothing: no service has to be saved after them."""
_ALONE = {"DynamoDB_20120810": "dynamodb", "AmazonSQS": "sqs"}
"""Services whose requests change no other one: to save them all for each new table takes longer than to make it."""
CHANGES = "/_nilometer/changes"
_CHANGES_SECONDS = 20.0  # of a long poll
_FULL = b'{"__type": "ServiceUnavailable", "message": "the data folder cannot be written; free space on its disk"}'

Event = MutableMapping[str, Any]
Send = Callable[[Event], Awaitable[None]]
Asgi = Callable[[Event, Any, Send], Awaitable[None]]
UnwrittenObjects = dict[str, Callable[[], None]]
"""How to write each file again that an object's write failed for, by path."""


def main(data: Path) -> None:
    """Runs until it is stopped."""
    keeper = Keeper(Journal(data / FILE))
    disk = _keep_objects()
    _keep_items(keeper)
    _adopt_buckets()
    _parse_quickly()
    quick_json.use(responses, dynamodb, dynamodb_streams, eventbridge, sqs)
    for patch in (envelopes, queues, rules, streams, texts, values):
        patch.use()
    transforms.use(Path.home() / ".cache" / "nilometer" / "templates")
    lambda_svc._ensure_poller = _nothing
    logging.getLogger("events").setLevel(logging.WARNING)  # a line for each message of each rule
    engine.load_state = keeper.restore
    engine.save_all = lambda _services: keeper.close()
    engine._load_persisted_state = _loading(keeper, engine._load_persisted_state)
    _collect_seldom()
    engine.app = for_this_machine(_answering(directly(engine.app), keeper, disk))
    hypercorn.asyncio.serve = serve  # type: ignore[assignment]  # as `engine.main` calls it
    sys.argv = sys.argv[:1]
    engine.main()


def _nothing() -> None:
    """The runner has the pollers."""


def _collect_seldom() -> None:
    """Items, messages and records stay, and a pass over all of them takes 0.1 s a thousand events of Stripe; few
    objects here refer to each other in a circle."""
    gc.freeze()
    gc.set_threshold(10_000, 50, 50)


def _loading(keeper: Keeper, load: Callable[[], None]) -> Callable[[], None]:
    def loading() -> None:
        load()
        for bucket in s3._buckets._data.values():
            # A bucket that was found on the disk alone; elsewhere to create it again would be an error.
            bucket["region"] = bucket.get("region") or "us-east-1"
        if keeper.is_new:
            keeper.adopt()

    return loading


def _answering(app: Asgi, keeper: Keeper, disk: UnwrittenObjects) -> Asgi:
    """Answers a request when what it changed is on the disk, and with 503 when that cannot be."""

    changed = asyncio.Event()

    async def answering(scope: Event, receive: Any, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        if scope["path"] == CHANGES:
            await _tell(scope, receive, send, keeper, changed)
            return
        refused = False

        async def sending(event: Event) -> None:
            nonlocal refused
            if event["type"] == "http.response.start":
                before = keeper.version
                refused = not _written(scope, keeper, disk)
                if keeper.version > before:
                    changed.set()
                if refused:
                    await _refuse(send)
            if not refused:
                await send(event)

        await app(scope, receive, sending)

    return answering


def _written(scope: Event, keeper: Keeper, disk: UnwrittenObjects) -> bool:
    try:
        if _changes_services(scope):
            keeper.save_services(only=_ALONE.get(_target(scope)[0]))
        keeper.write()
    except sqlite3.Error as error:
        _log.error("the journal cannot be written: %s; free space on its disk", error)
        return False
    try:
        _write_again(disk)
    except OSError as error:
        _log.error("an object cannot be written: %s; free space on its disk", error.strerror)
        return False
    return True


def _write_again(disk: UnwrittenObjects) -> None:
    """Memory has these objects and the disk has not. Until it has, nothing is answered: who reads one of them could
    rely on what the next start does not find."""
    for path, write in list(disk.items()):
        write()
        disk.pop(path, None)


async def _tell(scope: Event, receive: Any, send: Send, keeper: Keeper, changed: asyncio.Event) -> None:
    """A long poll: which queues and streams have something new. Ends early when nobody waits for it any more."""
    await receive()
    since = int(scope["query_string"].partition(b"=")[2] or 0)
    gone = asyncio.ensure_future(receive())
    deadline = time.monotonic() + _CHANGES_SECONDS
    while not (found := keeper.changes(since)) and not gone.done() and (left := deadline - time.monotonic()) > 0:
        changed.clear()
        waiting = asyncio.ensure_future(changed.wait())
        await asyncio.wait({waiting, gone}, timeout=min(left, keeper.next_look()), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
    gone.cancel()
    body = json.dumps({"changes": found}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _refuse(send: Send) -> None:
    headers = [(b"content-type", b"application/x-amz-json-1.0"), (b"content-length", str(len(_FULL)).encode())]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": _FULL})


def _changes_services(scope: Event) -> bool:
    """Whether the request may have changed more than items and messages. Not while a stack is on its way: its end is
    seen by who waits for it."""
    headers = dict(scope["headers"])
    if scope["method"] in {"GET", "HEAD"} or _is_deploying():
        return False
    if action := _target(scope)[1]:
        return action not in _DATA and not action.startswith(_READS)
    if b"/s3/" in headers.get(b"authorization", b""):
        return "/" not in scope["path"].strip("/")
    return True


def _target(scope: Event) -> tuple[str, str]:
    """The service and the action of a request in JSON; both are empty for any other."""
    service, _, action = dict(scope["headers"]).get(b"x-amz-target", b"").decode().partition(".")
    return service, action


def _is_deploying() -> bool:
    return any(str(one.get("StackStatus", "")).endswith("_IN_PROGRESS") for one in cloudformation._stacks.all_values())


def _keep_items(keeper: Keeper) -> None:
    """Notes every item and stream record. All writes of MiniStack go through these three functions."""
    set_item, remove_item, build = dynamodb._set_item, dynamodb._remove_item, dynamodb._build_change_record

    def setting(table: Mapping[str, Any], pk: str, sk: str, item: Mapping[str, Any]) -> Any:
        keeper.item(table, pk, sk, item)
        return set_item(table, pk, sk, item)

    def removing(table: Mapping[str, Any], pk: str, sk: str) -> Any:
        old = remove_item(table, pk, sk)
        if old is not None:
            keeper.item(table, pk, sk, None)
            if threading.current_thread().name == _REAPER:
                _expire(table, old)
        return old

    def building(table: Mapping[str, Any], *change: Any) -> Any:
        record = build(table, *change)
        keeper.record(table, record)
        return record

    dynamodb._set_item, dynamodb._remove_item, dynamodb._build_change_record = setting, removing, building


def _expire(table: Mapping[str, Any], old: Mapping[str, Any]) -> None:
    """The record of a removal by TTL, which MiniStack leaves out.

    Source: DynamoDB Developer Guide, "DynamoDB Streams and Time to Live".
    """
    spec = table.get("StreamSpecification") or {}
    if spec.get("StreamEnabled"):
        record = dynamodb._build_change_record(table, "REMOVE", old, None, spec["StreamViewType"])
        record["userIdentity"] = _BY_SERVICE
        scoped = next(key for key, one in dynamodb._tables.all_items() if one is table)
        dynamodb._stream_records._data.setdefault(scoped, []).append(record)


def _keep_objects() -> UnwrittenObjects:
    """MiniStack passes over an object that the disk does not take; here it is written again until it is there."""
    unwritten: UnwrittenObjects = {}
    written: set[str] = set()
    write, persist = s3._atomic_write, s3._persist_object

    def writing(path: str, data: Any, **given: Any) -> None:
        unwritten.pop(path, None)
        try:
            write(path, data, **given)
        except OSError:
            unwritten[path] = partial(write, path, data, **given)
            raise
        written.add(path)

    def persisting(bucket: str, key: str, content: Any) -> None:
        """The file beside the object's own is written last."""
        path = s3._object_disk_path(bucket, key)
        last = f"{path}.meta.json"
        written.discard(last)
        persist(bucket, key, content)
        for one in (path, last):
            unwritten.pop(one, None)
        if path is not None and last not in written:
            unwritten[path] = partial(again, path, bucket, key, content)
        written.clear()

    def again(path: str, bucket: str, key: str, content: Any) -> None:
        persisting(bucket, key, content)
        if path in unwritten:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    s3._atomic_write, s3._persist_object = writing, persisting
    return unwritten


def _parse_quickly() -> None:
    """MiniStack's rules of CloudFormation's tags with the parser in C: a second less for template.yaml."""
    if yaml.__with_libyaml__:
        rules = templates.CfnLoader
        own = ("yaml_constructors", "yaml_multi_constructors", "yaml_implicit_resolvers", "yaml_path_resolvers")
        templates.CfnLoader = type("CfnLoader", (yaml.CSafeLoader,), {name: getattr(rules, name) for name in own})


def _adopt_buckets() -> None:
    """A new stack takes over the lake of one whose journal was deleted, because its bucket is kept."""
    handlers = provisioners._RESOURCE_HANDLERS["AWS::S3::Bucket"]
    create = handlers["create"]

    def creating(logical_id: str, props: Mapping[str, Any], stack_name: str) -> Any:
        prefix = f"{stack_name}-{logical_id}-".lower()
        found = [name for name in s3._buckets if name.startswith(prefix)]
        if "BucketName" in props or len(found) != 1:
            return create(logical_id, props, stack_name)
        kept = s3._buckets.pop(found[0])
        name, attributes = create(logical_id, {**props, "BucketName": found[0]}, stack_name)
        s3._buckets[name]["objects"] = kept["objects"]
        return name, attributes

    handlers["create"] = creating


if __name__ == "__main__":
    main(Path(sys.argv[1]))
