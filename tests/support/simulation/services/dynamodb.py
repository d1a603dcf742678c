"""DynamoDB in memory, under the client that `aws.dynamodb.Store` calls: what it promises, and what it does not.

Conditions, transactions, cancellation reasons, idempotency tokens, limits of size and number, pages, eventually
consistent reads, an index that is behind, unprocessed items, TTL, a stream. `tests/aws/contract` holds it against
two real engines.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from itertools import zip_longest
from typing import Any, NamedTuple

from botocore.exceptions import ClientError
from tests.support.simulation.kernel.world import SimRequest, World
from tests.support.simulation.services.expressions import DIGITS, SimExpressionError, condition, number, update

ITEM_BYTES = 400 * 1024
TRANSACTION_BYTES = 4 * 1024 * 1024
PAGE_BYTES = 1024 * 1024
ACTIONS = 100
REMEMBERED = 20_000  # checked items
INDEXES = {"gsi1": ("gsi1pk", "gsi1sk"), "gsi2": ("gsi2pk", "pk")}
KEYS_ONLY = {"gsi2": {"gsi2pk", "pk", "sk"}}

ItemKey = tuple[str, str]
READS = ("refused",)  # a death before a read is a death before the next write: a read leaves no trace
WRITES = ("refused", "dies", "lost")


class SimStored(NamedTuple):
    """One version of an item; `seal` is a hash of it."""

    values: Mapping[str, Any]
    size: int
    seal: int


class StreamChange(NamedTuple):
    """What the stream of a table says; `expired` when TTL deleted the item."""

    number: int
    table: str
    key: ItemKey
    old: Mapping[str, Any] | None
    new: Mapping[str, Any] | None
    second: int
    expired: bool = False
    seals: tuple[Any, ...] = ()
    """Of the key and both images: the same in every schedule."""


@dataclass
class SimTables:
    """The tables of one account, shared by all clients of a world. `digest` changes with every write."""

    items: dict[str, dict[ItemKey, SimStored]] = field(default_factory=dict)
    past: dict[tuple[str, ItemKey], list[SimStored | None]] = field(default_factory=dict)
    """Earlier versions of an item, newest last; None for "not there"."""
    stream: list[StreamChange] = field(default_factory=list)
    tokens: dict[str, int] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    digest: int = 0
    indexed: dict[tuple[str, str], dict[ItemKey, None]] = field(default_factory=dict)
    """By index and partition key there, the keys of items that have it or ever had it."""
    partitions: dict[tuple[str, str], dict[ItemKey, None]] = field(default_factory=dict)
    """By table and partition, the keys of items that are or ever were there."""
    written: Callable[[Sequence[Any]], None] | None = None
    """Is told which places a write touches: the item, its partition, its partitions in the index."""

    def write(self, table: str, key: ItemKey, item: SimStored | None, second: int, *, expired: bool = False) -> None:
        items = self.items[table]
        old = items.get(key)
        if old is None and item is None:
            return
        if item is None:
            del items[key]
        else:
            items[key] = item
        place = (table, key)
        self.partitions.setdefault((table, key[0]), {})[key] = None
        before = self.past.setdefault(place, [None])
        self.digest ^= hash((place, before[-1] and before[-1].seal, old and old.seal))
        before.append(old)
        self.digest ^= hash((place, old and old.seal, item and item.seal))
        images = [one.values for one in (old, item) if one]
        indexed = [(name, one[pk]["S"]) for name, (pk, _) in INDEXES.items() for one in images if pk in one]
        for partition in indexed:
            self.indexed.setdefault(partition, {})[key] = None
        if self.written:
            self.written([place, (table, key[0]), *indexed])
        if (old and old.seal) != (item and item.seal):
            before_after = (old and old.values, item and item.values)
            seals = (place, old and old.seal, item and item.seal, expired)
            self.stream.append(StreamChange(len(self.stream) + 1, table, key, *before_after, second, expired, seals))

    def copy(self) -> SimTables:
        return SimTables(
            {table: dict(items) for table, items in self.items.items()},
            digest=self.digest,
            indexed={pk: dict(keys) for pk, keys in self.indexed.items()},
            partitions={place: dict(keys) for place, keys in self.partitions.items()},
            stream=list(self.stream),
        )

    def fill(self, other: SimTables) -> None:
        """Holds what `other` holds."""
        found = other.copy()
        self.items, self.digest, self.stream = found.items, found.digest, found.stream
        self.indexed, self.partitions = found.indexed, found.partitions

    def settle(self) -> None:
        """What was written so far has reached every replica: no read of it is old any more."""
        self.past.clear()

    def expire(self, now: int) -> int:
        """TTL: deletes what is over, whenever it likes; how many."""
        gone = [
            (table, key)
            for table, items in self.items.items()
            for key, item in items.items()
            if "expires_at" in item.values and int(item.values["expires_at"]["N"]) <= now
        ]
        for table, key in gone:
            self.write(table, key, None, now, expired=True)
        return len(gone)


class _Events:
    """boto3's hooks before a call. `unwrapped` is the request that a hook puts into the place of a sample."""

    def __init__(self) -> None:
        self.hooks: dict[str, Callable[..., None]] = {}

    def register(self, event: str, hook: Callable[..., None], unique_id: str) -> None:  # boto3's names
        if event.startswith("before-call."):
            self.hooks[event.rpartition(".")[2]] = hook

    def unwrapped(self, operation: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        params: dict[str, Any] = {"body": b""}
        if operation in self.hooks:
            self.hooks[operation](params)
        return json.loads(params["body"], object_hook=_with_bytes) if params["body"] else request


class _Meta:
    """What boto3 hangs its hooks on."""

    def __init__(self) -> None:
        self.events = _Events()


class SimDynamoDB:
    """boto3's client, as far as the product uses it. `page` bounds the items of a page beside the megabyte."""

    def __init__(self, tables: SimTables, world: World | None = None, *, page: int | None = None) -> None:
        self.meta = _Meta()
        self.tables = tables
        self.world = world
        self.page = page
        self.refuses: dict[str, str] = {}
        """By table, what no item may contain: the engine refuses such a one for its content."""
        self._lock = threading.RLock()

    # ------------------------------------------------------------------ calls

    def create_table(self, *, TableName: str, **_: Any) -> None:  # noqa: N803  # boto3's names
        self.tables.items[TableName] = {}

    def get_item(self, *, TableName: str, Key: Any, ConsistentRead: bool = False) -> dict[str, Any]:  # noqa: N803
        key = _key(Key)
        _check_key(key)
        found = self._request(
            "get",
            lambda trouble: self._read(TableName, key, trouble == "old"),
            READS if ConsistentRead else (*READS, *self._older([(TableName, key)])),
            lambda: f"reads {_said(key)}",
            lambda item: item and item.seal,
            [(TableName, key)],
        )
        return {"Item": dict(found.values)} if found else {}

    def batch_get_item(self, **sample: Any) -> dict[str, Any]:
        asked = self.meta.events.unwrapped("BatchGetItem", sample)["RequestItems"]
        keys = [(table, _key(key)) for table, of_table in asked.items() for key in of_table["Keys"]]
        if not 0 < len(keys) <= 100 or len(set(keys)) != len(keys):
            raise _error("ValidationException", "1 to 100 different keys")
        for _, key in keys:
            _check_key(key)
        eventual = [place for place in keys if not asked[place[0]].get("ConsistentRead")]
        troubles = (*READS, *self._older(eventual))
        if len(keys) > 1 and self.world and self.world.random_time:
            troubles = (*troubles, "part")

        def perform(trouble: str) -> tuple[list[tuple[str, SimStored]], list[tuple[str, ItemKey]]]:
            done = keys[: len(keys) // 2] if trouble == "part" else keys
            read = [(table, self._read(table, key, trouble == "old")) for table, key in done]
            return [(table, item) for table, item in read if item], keys[len(done) :]

        found, left = self._request(
            "batch_get",
            perform,
            troubles,
            lambda: f"reads {', '.join(_said(key) for _, key in keys)}",
            lambda answer: (tuple(item.seal for _, item in answer[0]), len(answer[1])),
            keys,
        )
        answers: dict[str, list[Any]] = {table: [] for table in asked}
        for table, item in found:
            names = asked[table].get("ExpressionAttributeNames")
            answers[table].append(_projected(item.values, set(names.values()) if names else None))
        unprocessed: dict[str, Any] = {}
        for table, key in left:
            unprocessed.setdefault(table, {**asked[table], "Keys": []})["Keys"].append(_as_key(key))
        return {"Responses": answers, "UnprocessedKeys": unprocessed}

    def put_item(self, **sample: Any) -> dict[str, Any]:
        put = _Action("Put", self.meta.events.unwrapped("PutItem", sample))
        self._check_content(put.table, put.request)
        self._request(
            "put",
            lambda trouble: self._put(put, trouble),
            (*WRITES, "conflict"),
            lambda: f"puts {put.said}",
            lambda _: "stored",
        )
        return {"ConsumedCapacity": {"CapacityUnits": 1.0}}

    def query(self, **request: Any) -> dict[str, Any]:
        return self._page("query", request)

    def scan(self, **request: Any) -> dict[str, Any]:
        return self._page("scan", request)

    def transact_write_items(self, **sample: Any) -> dict[str, Any]:
        request = self.meta.events.unwrapped("TransactWriteItems", sample)
        items, token = request["TransactItems"], request.get("ClientRequestToken")
        if not 0 < len(items) <= ACTIONS:
            raise _error("ValidationException", "1 to 100 actions")
        actions = [_Action(kind, action) for one in items for kind, action in one.items()]
        if len({(one.table, one.key) for one in actions}) != len(actions):
            raise _error("ValidationException", "Transaction request cannot include multiple operations on one item")
        if sum(one.stored.size for one in actions if one.stored) > TRANSACTION_BYTES:
            raise _error("ValidationException", "Transaction request exceeds 4 MB")
        for one in actions:
            self._check_content(one.table, one.request)
        self._request(
            "commit",
            lambda trouble: self._commit(actions, trouble, token),
            (*WRITES, "conflict"),
            lambda: f"commits {', '.join(one.said for one in actions)}",
            lambda _: "stored",
        )
        return {"ConsumedCapacity": [{"CapacityUnits": 2.0 * len(actions)}]}

    def batch_write_item(self, **sample: Any) -> dict[str, Any]:
        [(table, requests)] = self.meta.events.unwrapped("BatchWriteItem", sample)["RequestItems"].items()
        writes = [_put_or_delete(one) for one in requests]
        self._check_content(table, requests)
        if not 0 < len(writes) <= 25 or len({key for key, _ in writes}) != len(writes):
            raise _error("ValidationException", "1 to 25 writes of different items")

        def perform(trouble: str) -> int:
            done = writes[: len(writes) // 2] if trouble == "part" else writes
            for key, item in done:
                self._table(table)
                self.tables.write(table, key, item, self._second)
            if trouble == "lost":
                raise _error("InternalServerError", "the answer is lost")
            return len(done)

        done = self._request(
            "batch_write",
            perform,
            (*WRITES, "part") if len(writes) > 1 else WRITES,
            lambda: "writes " + ", ".join(("" if item else "- ") + _said(key) for key, item in writes),
            lambda count: count,
        )
        return {"UnprocessedItems": {table: requests[done:]} if done < len(writes) else {}}

    # ------------------------------------------------------------------ inside

    def _request(
        self,
        operation: str,
        perform: Callable[[str], Any],
        troubles: Sequence[str],
        describe: Callable[[], str],
        digest: Callable[[Any], Any],
        reads: Sequence[Any] | None = None,
    ) -> Any:
        def guarded(trouble: str) -> Any:
            if trouble == "refused":
                raise _error("ProvisionedThroughputExceededException", "refused")
            with self._lock:
                return perform(trouble)

        if self.world is None:
            return guarded("")
        return self.world.request(SimRequest(operation, troubles, describe, reads), guarded, digest)

    @property
    def _second(self) -> int:
        return int(self.world.now.timestamp()) if self.world else 0

    def _table(self, name: str) -> dict[ItemKey, SimStored]:
        try:
            return self.tables.items[name]
        except KeyError:
            raise _error("ResourceNotFoundException", f"no table {name}") from None

    def _read(self, table: str, key: ItemKey, old: bool) -> SimStored | None:
        now = self._table(table).get(key)
        return self.tables.past[table, key][-1] if old and (table, key) in self.tables.past else now

    def _older(self, places: Sequence[tuple[str, ItemKey]]) -> tuple[str, ...]:
        """An old read is worth a try only where it would say something else."""
        return ("old",) if any(place in self.tables.past for place in places) else ()

    def _put(self, put: _Action, trouble: str) -> None:
        if trouble == "conflict":
            raise _error("TransactionConflictException", "a transaction writes the item")
        if not put.holds(self._table(put.table).get(put.key)):
            raise _error("ConditionalCheckFailedException", "the condition is false")
        self.tables.write(put.table, put.key, put.stored, self._second)
        if trouble == "lost":
            raise _error("InternalServerError", "the answer is lost")

    def _commit(self, actions: Sequence[_Action], trouble: str, token: str | None) -> None:
        if trouble == "conflict":
            raise _cancelled(["TransactionConflict"] + ["None"] * (len(actions) - 1))
        if token and self._has_seen(token, actions):
            return
        old = [self._table(one.table).get(one.key) for one in actions]
        pairs = list(zip(actions, old, strict=True))
        after = [one.after(item) for one, item in pairs]
        codes = ["None" if one.holds(item) else "ConditionalCheckFailed" for one, item in pairs]
        for place, item in enumerate(after):
            if isinstance(item, SimExpressionError) and codes[place] == "None":
                codes[place] = "ValidationError"
        if set(codes) != {"None"}:
            raise _cancelled(codes, [one.returned(item) for one, item in pairs])
        for one, item in zip(actions, after, strict=True):
            if one.kind != "ConditionCheck" and not isinstance(item, SimExpressionError):
                self.tables.write(one.table, one.key, item, self._second)
        if trouble == "lost":
            raise _error("InternalServerError", "the answer is lost")

    def _check_content(self, table: str, request: Any) -> None:
        if table in self.refuses and self.refuses[table] in repr(request):
            raise _error("ValidationException", "Item size has exceeded the maximum allowed size")

    def _has_seen(self, token: str, actions: Sequence[_Action]) -> bool:
        """Whether a transaction came with this token before. In a world each has a token of its own."""
        if self.world is not None:
            return False
        content = hash(repr([one.request for one in actions]))
        known = self.tables.tokens.setdefault(token, content)
        if known != content:
            raise _error("IdempotentParameterMismatchException", "the token came with other writes")
        seen = token in self.tables.finished
        self.tables.finished.add(token)
        return seen

    def _page(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        table = request["TableName"]
        consistent = bool(request.get("ConsistentRead"))
        may_be_old = not consistent and operation != "scan" and self._may_be_old(table, request)

        def perform(trouble: str) -> tuple[list[SimStored], ItemKey | None]:
            return self._selected(table, request, old=trouble == "old")

        found, last = self._request(
            operation,
            perform,
            (*READS, "old") if may_be_old else READS,
            lambda: f"{operation}s {', '.join(v['S'] for v in request.get('ExpressionAttributeValues', {}).values())}",
            lambda answer: (tuple(item.seal for item in answer[0]), answer[1]),
            _partition(table, request),
        )
        more = {"LastEvaluatedKey": _as_key(last)} if last else {}
        names = KEYS_ONLY.get(request.get("IndexName", ""))
        return {"Items": [_projected(item.values, names) for item in found], **more}

    def _may_be_old(self, table: str, request: Mapping[str, Any]) -> bool:
        values = request.get("ExpressionAttributeValues", {})
        past = self.tables.past
        return any((table, key) in past for key in self._candidates(table, request.get("IndexName"), values))

    def _selected(self, table: str, request: Mapping[str, Any], *, old: bool) -> tuple[list[SimStored], ItemKey | None]:
        """One page: the items that the expressions accept, and where to go on."""
        names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})
        index = request.get("IndexName")
        wanted = condition(request["KeyConditionExpression"]) if "KeyConditionExpression" in request else None
        only = condition(request["FilterExpression"]) if "FilterExpression" in request else None
        candidates = self._candidates(table, index, values)
        if not candidates:
            return [], None
        now = self._table(table).get
        versions = ((key, self._read(table, key, old) if old else now(key)) for key in candidates)
        matching = [
            (key, item) for key, item in versions if item and (wanted is None or wanted(item.values, names, values))
        ]
        if index:
            sk = INDEXES[index][1]
            matching = [(key, item) for key, item in matching if sk in item.values]
            matching.sort(key=lambda pair: (pair[1].values[sk]["S"], pair[0]))
        else:
            matching.sort(key=lambda pair: pair[0])
        if not request.get("ScanIndexForward", True):
            matching.reverse()
        return _cut(
            matching, request.get("ExclusiveStartKey"), self.page, lambda i: only is None or only(i, names, values)
        )

    def _candidates(self, table: str, index: str | None, values: Mapping[str, Any]) -> list[ItemKey]:
        """Every key that may match now or did in the version before."""
        if index:
            return list(self.tables.indexed.get((index, values[":pk"]["S"]), ()))
        pk = values.get(":pk", {}).get("S")
        return list(self._table(table) if pk is None else self.tables.partitions.get((table, pk), ()))


class _Action:
    """One write of a transaction."""

    def __init__(self, kind: str, request: Mapping[str, Any]) -> None:
        self.kind, self.request, self.table = kind, request, request["TableName"]
        self.stored = stored(request["Item"]) if kind == "Put" else None
        self.key: ItemKey = _key(request["Item"] if kind == "Put" else request["Key"])
        _check_key(self.key)
        self.names = request.get("ExpressionAttributeNames", {})
        self.values = request.get("ExpressionAttributeValues", {})
        text = request.get("ConditionExpression")
        self.condition = condition(text) if text else None

    def holds(self, item: SimStored | None) -> bool:
        return self.condition is None or self.condition(item.values if item else {}, self.names, self.values)

    def after(self, item: SimStored | None) -> SimStored | SimExpressionError | None:
        """The item afterwards, or why it cannot be."""
        if self.kind != "Update":
            return self.stored
        start = dict(item.values) if item else _as_key(self.key)
        try:
            given = {name: _checked(value) for name, value in self.values.items()}
            changed = update(self.request["UpdateExpression"])(start, self.names, given)
        except SimExpressionError as error:
            return error
        size = _size_of(changed)
        if size > ITEM_BYTES:
            return SimExpressionError("Item size to update has exceeded the maximum allowed size")
        return SimStored(changed, size, hash(repr(changed)))

    def returned(self, item: SimStored | None) -> SimStored | None:
        """The item whose condition is false, when it was asked for."""
        wanted = self.request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
        return item if wanted and not self.holds(item) else None

    @property
    def said(self) -> str:
        mark = {"Put": "", "Update": "~ ", "Delete": "- ", "ConditionCheck": "? "}[self.kind]
        return mark + _said(self.key)


_STORED: dict[str, SimStored] = {}


def stored(item: Mapping[str, Any]) -> SimStored:
    """A checked version of an item, its numbers as DynamoDB keeps them. The same items come in many schedules."""
    text = repr(item)
    found = _STORED.get(text)
    if found is None:
        if len(_STORED) > REMEMBERED:
            _STORED.clear()
        found = _STORED[text] = _stored(item, text)
    return found


def _stored(item: Mapping[str, Any], text: str) -> SimStored:
    values = {name: _checked(value) for name, value in item.items()}
    size = _size_of(values)
    if size > ITEM_BYTES:
        raise _error("ValidationException", "Item size has exceeded the maximum allowed size")
    _check_key(_key(values))
    return SimStored(values, size, hash(text if values == item else repr(values)))


def _size_of(values: Mapping[str, Any]) -> int:
    return sum(len(name) + _size(value) for name, value in values.items())


def _checked(value: Any) -> Any:
    [(tag, content)] = value.items()
    if tag in {"S", "B"}:
        return value
    if tag == "N":
        if content.isdecimal() and len(content) < 38 and content[0] != "0":
            return value
        try:
            found = Decimal(content)
        except InvalidOperation:
            raise _error("ValidationException", "not a number") from None
        if not found.is_finite() or DIGITS.plus(found) != found:
            raise _error("ValidationException", "Attempting to store more than 38 significant digits in a Number")
        return {"N": number(found)}
    if tag == "M":
        return {"M": {name: _checked(inner) for name, inner in content.items()}}
    if tag == "L":
        return {"L": [_checked(inner) for inner in content]}
    return value


def _size(value: Any) -> int:
    [(tag, content)] = value.items()
    match tag:
        case "S":
            return len(content) if content.isascii() else len(content.encode())
        case "N":
            return len(content) // 2 + 2
        case "B":
            return len(content)
        case "M":
            return 3 + sum(1 + len(name.encode()) + _size(inner) for name, inner in content.items())
        case "L":
            return 3 + sum(1 + _size(inner) for inner in content)
        case "SS":
            return sum(len(one.encode()) for one in content)
    return 1


def _cut(
    matching: list[tuple[ItemKey, SimStored]], start: Any, page: int | None, accepts: Callable[[Any], bool]
) -> tuple[list[SimStored], ItemKey | None]:
    """The page after `start`. A filter works after the page was cut, as DynamoDB's does."""
    if start is not None:
        last_key = _key(start)
        after = [place for place, (key, _) in enumerate(matching) if key == last_key]
        matching = matching[after[0] + 1 :] if after else matching
    taken, size, last = [], 0, None
    for place, (key, item) in enumerate(matching):
        size += item.size
        taken.append(item)
        if (size > PAGE_BYTES or len(taken) == page) and place + 1 < len(matching):
            last = key
            break
    return [item for item in taken if accepts(item.values)], last


def _partition(table: str, request: Mapping[str, Any]) -> Sequence[Any] | None:
    """What a query reads; None for a scan."""
    pk = request.get("ExpressionAttributeValues", {}).get(":pk", {}).get("S")
    if "KeyConditionExpression" not in request:
        return None
    return [(request.get("IndexName", table), pk)]


def _put_or_delete(request: Mapping[str, Any]) -> tuple[ItemKey, SimStored | None]:
    if "PutRequest" in request:
        item = stored(request["PutRequest"]["Item"])
        return _key(item.values), item
    key = _key(request["DeleteRequest"]["Key"])
    _check_key(key)
    return key, None


def _with_bytes(value: dict[str, Any]) -> dict[str, Any]:
    """The wire has base64 text where boto3's callers hand over bytes."""
    return {"B": base64.b64decode(value["B"])} if value.keys() == {"B"} and isinstance(value["B"], str) else value


def _projected(values: Mapping[str, Any], wanted: set[str] | None) -> dict[str, Any]:
    return dict(values) if wanted is None else {name: value for name, value in values.items() if name in wanted}


def _key(item: Mapping[str, Any]) -> ItemKey:
    return item["pk"]["S"], item["sk"]["S"]


def _as_key(key: ItemKey) -> dict[str, Any]:
    return {"pk": {"S": key[0]}, "sk": {"S": key[1]}}


def _check_key(key: ItemKey) -> None:
    if not (0 < len(key[0].encode()) <= 2048 and 0 < len(key[1].encode()) <= 1024):
        raise _error("ValidationException", "One or more parameter values were invalid: the size of a key")


def _said(key: ItemKey) -> str:
    return f"{key[0]} {key[1]}".removesuffix(" FACT")


def _error(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "simulated")


def _cancelled(codes: Sequence[str], items: Sequence[SimStored | None] = ()) -> ClientError:
    """The message tells two answers apart."""
    message = f"Transaction cancelled {[*codes]} {[item and item.seal for item in items]}"
    reasons = [
        {"Code": code, **({"Item": dict(item.values)} if item else {})} for code, item in zip_longest(codes, items)
    ]
    response: Any = {
        "Error": {"Code": "TransactionCanceledException", "Message": message},
        "CancellationReasons": reasons,
    }
    return ClientError(response, "TransactWriteItems")
