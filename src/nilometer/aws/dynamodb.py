"""The two tables behind reads and one write: `commit`.

Counts what it asks for (`requests`, `write_units`), so that a benchmark or a log line can say what an event costs.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from nilometer.aws import encoding
from nilometer.aws.items import marshal, to_attribute, unmarshal
from nilometer.domain.store import keys
from nilometer.domain.store.lists import is_whole
from nilometer.domain.store.writes import (
    Absent,
    Check,
    Delete,
    Enough,
    Expected,
    Item,
    Key,
    Less,
    Present,
    Put,
    Table,
    Unchanged,
    Update,
    Version,
    Write,
)
from nilometer.errors import Cancelled, NilometerError, Rejected, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BATCH_GET_LIMIT = 100  # keys in one BatchGetItem
BATCH_WRITE_LIMIT = 25  # items in one BatchWriteItem
TRANSACTION_LIMIT = 100  # actions in one TransactWriteItems
WALK_LIMIT = 500  # items that one page of a walk or a list reads
INDEX = "gsi1"  # the one overloaded index of `records`
LISTS = "gsi2"  # and the one of keys alone, by which lists find what they name

_T = TypeVar("_T")
_LOST = {
    "ConditionalCheckFailedException": "ConditionalCheckFailed",
    "TransactionConflictException": "TransactionConflict",
}
"""Errors of a plain write, and what a transaction calls them."""
_PERMANENT = {"ValidationException", "ItemCollectionSizeLimitExceededException"}
_DENIED = {
    "AccessDeniedException",
    "ExpiredTokenException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "UnrecognizedClientException",
}
"""Source: DynamoDB Developer Guide, "Error handling with DynamoDB", and AWS's common errors."""
_REFUSED = {"ValidationError", "ItemCollectionSizeLimitExceeded"}  # as a transaction names the same


class Store:
    """`records` and `events` in DynamoDB. Safe to share between threads, as boto3 clients are."""

    def __init__(self, client: DynamoDBClient, *, records: str, events: str) -> None:
        encoding.install(client)
        self._client = client
        self._names = {Table.RECORDS: records, Table.EVENTS: events}
        self.requests = 0
        self.write_units = 0.0

    def get(self, table: Table, key: Key, *, consistent: bool = False) -> dict[str, Any] | None:
        """The item as plain Python values, None when there is none. Eventually consistent unless `consistent`."""
        response = self._call(
            self._client.get_item,
            TableName=self._names[table],
            Key=_key(key),
            ConsistentRead=consistent,
        )
        item = response.get("Item")
        return unmarshal(item) if item else None

    def batch_get(
        self, table: Table, keys: Iterable[Key], *, consistent: bool = False, attributes: Sequence[str] = ()
    ) -> dict[Key, dict[str, Any]]:
        """The items that exist, by key; `attributes` narrows what travels (`pk` and `sk` always come).

        Not a snapshot: each item is read on its own. Unprocessed keys are asked for again.
        """
        named = [(table, key) for key in dict.fromkeys(keys)]
        return self._read(named, consistent=consistent, attributes={table: attributes})[table]

    def batch_get_both(
        self, events: Iterable[Key], records: Iterable[Key], *, consistent: bool = False
    ) -> tuple[Set[Key], dict[Key, dict[str, Any]]]:
        """Which of `events` exist, and the items of `records`, read together: few keys are one request."""
        named = [(Table.EVENTS, key) for key in dict.fromkeys(events)]
        named += [(Table.RECORDS, key) for key in dict.fromkeys(records)]
        found = self._read(named, consistent=consistent, attributes={Table.EVENTS: ("version",)})
        return found[Table.EVENTS].keys(), found[Table.RECORDS]

    def _read(
        self, named: Sequence[tuple[Table, Key]], *, consistent: bool, attributes: Mapping[Table, Sequence[str]]
    ) -> dict[Table, dict[Key, dict[str, Any]]]:
        found: dict[Table, dict[Key, dict[str, Any]]] = {table: {} for table in Table}
        for start in range(0, len(named), BATCH_GET_LIMIT):
            asked: dict[str, Any] = {}
            for table, key in named[start : start + BATCH_GET_LIMIT]:
                of_table = asked.setdefault(self._names[table], _request(consistent, attributes.get(table, ())))
                of_table["Keys"].append(_key(key))
            for table, items in self._batch_get(asked):
                found[table] |= {Key(item["pk"], item["sk"]): item for item in map(unmarshal, items)}
        return found

    def query(
        self,
        table: Table,
        pk: str,
        *,
        prefix: str = "",
        after: str = "",
        consistent: bool = False,
        newest_first: bool = False,
        page: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Items of one partition whose sort key starts with `prefix`, in its order, page by page.

        Those that follow the sort key `after`, where one is given; it need not exist. A request reads a megabyte, or
        `page` items: for who may need no more than the first of them.
        """
        condition, values = "pk = :pk", {":pk": {"S": pk}}
        if prefix:
            condition, values = "pk = :pk AND begins_with(sk, :sk)", {**values, ":sk": {"S": prefix}}
        start = {"ExclusiveStartKey": _key(Key(pk, after))} if after else {}
        yield from self._pages(
            self._client.query,
            **start,
            TableName=self._names[table],
            KeyConditionExpression=condition,
            ExpressionAttributeValues=values,
            ConsistentRead=consistent,
            ScanIndexForward=not newest_first,
            **({"Limit": page} if page else {}),
        )

    def query_index(
        self, gsi1pk: str, *, prefix: str = "", until: str = "", newest_first: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Items of `records` under one key of `gsi1` whose sort key there starts with `prefix` or is at most `until`,
        in its order.

        Eventually consistent, as every global index is: what was written a moment ago may be missing or old. A
        decision reads the item itself again.
        """
        condition, values = "gsi1pk = :pk", {":pk": {"S": gsi1pk}}
        if prefix:
            condition, values = "gsi1pk = :pk AND begins_with(gsi1sk, :sk)", {**values, ":sk": {"S": prefix}}
        elif until:
            condition, values = "gsi1pk = :pk AND gsi1sk <= :sk", {**values, ":sk": {"S": until}}
        yield from self._pages(
            self._client.query,
            TableName=self._names[Table.RECORDS],
            IndexName=INDEX,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=values,
            ScanIndexForward=not newest_first,
        )

    def every(self, kind: str) -> Iterator[dict[str, Any]]:
        """Every record of a kind of `keys.LISTED`: keys from the index, in the order of partitions, then the items.

        Reads the whole table, in its order, while the index may lack some. Eventually consistent either way.
        """
        return self.every_listed(kind) if self.has_lists() else self.scan(Table.RECORDS, kind=kind)

    def every_listed(self, kind: str) -> Iterator[dict[str, Any]]:
        """The same of those that the index has."""
        keys_of_kind = self.query_list(kind)
        while some := list(islice(keys_of_kind, BATCH_GET_LIMIT)):
            found = self.batch_get(Table.RECORDS, some)
            yield from (found[key] for key in some if key in found)

    def has_lists(self) -> bool:
        """Whether the index of lists is known to name every record that a list does."""
        return is_whole(self.get(Table.EVENTS, keys.LISTS))

    def query_list(self, kind: str, *, after: str = "") -> Iterator[Key]:
        """Keys of the records of one kind that the index of lists has, by their partitions; those past `after`.

        Eventually consistent, as every global index is.
        """
        condition, values = "gsi2pk = :pk", {":pk": {"S": kind}}
        if after:
            condition, values = "gsi2pk = :pk AND pk > :after", {**values, ":after": {"S": after}}
        found = self._pages(
            self._client.query,
            TableName=self._names[Table.RECORDS],
            IndexName=LISTS,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=values,
            Limit=WALK_LIMIT,
        )
        return (Key(item["pk"], item["sk"]) for item in found)

    def unlisted(
        self, table: Table, kinds: Sequence[str], *, after: Key | None = None
    ) -> Iterator[tuple[list[Key], Key | None]]:
        """The whole table page by page from the item past `after`: keys of the items of these kinds that the index of
        lists lacks, and the last item that was read, None at the table's end."""
        only = _of_kinds(kinds)
        only["FilterExpression"] = f"attribute_not_exists(gsi2pk) AND ({only['FilterExpression']})"
        request: dict[str, Any] = {"TableName": self._names[table], **only, "ProjectionExpression": "pk, sk"}
        while True:
            page = self._call(self._client.scan, **request, **({"ExclusiveStartKey": _key(after)} if after else {}))
            after = _key_of(page["LastEvaluatedKey"]) if "LastEvaluatedKey" in page else None
            yield [_key_of(item) for item in page["Items"]], after
            if after is None:
                return

    def scan(self, table: Table, *, kind: str | None = None) -> Iterator[dict[str, Any]]:
        """Every item, or every item of one `kind`. Reads the whole table: for operators, never for a flow."""
        yield from self._pages(self._client.scan, TableName=self._names[table], **(_of_kinds([kind]) if kind else {}))

    def walk(self, table: Table, kinds: Sequence[str], *, after: Key | None = None) -> Iterator[dict[str, Any]]:
        """Items of these kinds in the table's own order, page by page from the item past `after`.

        Reads only as far as it is asked for: for lists that go on at a cursor.
        """
        yield from self._pages(
            self._client.scan,
            TableName=self._names[table],
            **_of_kinds(kinds),
            Limit=WALK_LIMIT,
            **({"ExclusiveStartKey": _key(after)} if after else {}),
        )

    def commit(self, writes: Sequence[Write], *, returning: bool = False) -> None:
        """All of `writes` or none. `Cancelled` names why, write by write; `Unavailable` means unknown. With `returning`
        it has the items whose conditions were false, so that nobody need read them.

        One ClientRequestToken goes with all of botocore's retries, so a lost answer cannot apply a
        transaction twice within one call. A later call is a new transaction: conditions must carry it.
        """
        if len(writes) > TRANSACTION_LIMIT:
            raise ValueError(f"{len(writes)} writes in one commit; DynamoDB takes {TRANSACTION_LIMIT}")
        if writes:
            wanted = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"} if returning else {}
            actions = [{kind: action | wanted for kind, action in self._action(write).items()} for write in writes]
            common = {"ReturnConsumedCapacity": "TOTAL", "ClientRequestToken": str(uuid.uuid4())}
            response = self._call(
                encoding.call,
                method=self._client.transact_write_items,
                request={"TransactItems": actions, **common},
                sample={"TransactItems": actions[:1], **common},
            )
            self._count_units(response)

    def put(self, write: Put) -> None:
        """One item on its condition, for half the price of a transaction. `Cancelled` when the condition is false.

        It is false also when the answer to our own write was lost and botocore sent it again: for writes that a
        caller recognises as its own when it reads again.
        """
        request = self._named(write.table, write.expected, {"Item": marshal(write.item)})
        request["ReturnConsumedCapacity"] = "TOTAL"
        sample = {**request, "Item": _key(write.key)}
        response = self._call(encoding.call, method=self._client.put_item, request=request, sample=sample)
        self.write_units += response.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0)

    def delete_all(self, table: Table, keys: Iterable[Key]) -> None:
        """Remove items without conditions, 25 a request; not atomic. For clean-up that may be repeated."""
        self._write_all(table, [{"DeleteRequest": {"Key": _key(key)}} for key in keys])

    def put_all(self, table: Table, items: Iterable[Item]) -> None:
        """Replace items without conditions, 25 a request, no two under one key; not atomic. For writes that may be
        repeated: half the price of a transaction's."""
        self._write_all(table, [{"PutRequest": {"Item": marshal(item)}} for item in items])

    def _write_all(self, table: Table, requests: Sequence[Any]) -> None:
        for start in range(0, len(requests), BATCH_WRITE_LIMIT):
            pending: Any = {self._names[table]: requests[start : start + BATCH_WRITE_LIMIT]}
            for pause in _pauses():
                response = self._call(
                    encoding.call,
                    method=self._client.batch_write_item,
                    request={"RequestItems": pending, "ReturnConsumedCapacity": "TOTAL"},
                    sample={"RequestItems": {name: some[:1] for name, some in pending.items()}},
                )
                self._count_units(response)
                pending = response.get("UnprocessedItems")
                if not pending:
                    break
                time.sleep(pause)
            else:
                raise Unavailable("DynamoDB kept items unprocessed; try again")

    def _batch_get(self, asked: dict[str, Any]) -> Iterator[tuple[Table, Any]]:
        pending: Any = asked
        for pause in _pauses():
            response = self._call(
                encoding.call,
                method=self._client.batch_get_item,
                request={"RequestItems": pending},
                sample={"RequestItems": {name: {**some, "Keys": some["Keys"][:1]} for name, some in pending.items()}},
            )
            yield from ((table, response["Responses"].get(name, [])) for table, name in self._names.items())
            pending = response.get("UnprocessedKeys")
            if not pending:
                return
            time.sleep(pause)
        raise Unavailable("DynamoDB kept keys unprocessed; try again")

    def _pages(self, call: Callable[..., Any], **request: Any) -> Iterator[dict[str, Any]]:
        while True:
            page = self._call(call, **request)
            yield from map(unmarshal, page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _action(self, write: Write) -> dict[str, dict[str, Any]]:
        match write:
            case Put():
                return {"Put": self._named(write.table, write.expected, {"Item": marshal(write.item)})}
            case Update():
                return {"Update": self._update(write)}
            case Delete():
                return {"Delete": self._named(write.table, write.expected, {"Key": _key(write.key)})}
            case Check():
                return {"ConditionCheck": self._named(write.table, write.expected, {"Key": _key(write.key)})}

    def _update(self, write: Update) -> dict[str, Any]:
        expression = _Expression()
        sets = [f"{expression.name(n)} = {expression.value(v)}" for n, v in write.set.items()]
        sets += [
            f"{expression.name(n)} = if_not_exists({expression.name(n)}, {expression.value(v)})"
            for n, v in write.set_once.items()
        ]
        adds = [f"{expression.name(n)} {expression.value(v)}" for n, v in write.add.items()]
        clauses = [f"{verb} {', '.join(parts)}" for verb, parts in (("SET", sets), ("ADD", adds)) if parts]
        request: dict[str, Any] = {"Key": _key(write.key), "UpdateExpression": " ".join(clauses)}
        named = self._named(write.table, write.expected, request)
        named["ExpressionAttributeNames"] = {**expression.names, **named.get("ExpressionAttributeNames", {})}
        named["ExpressionAttributeValues"] = {**expression.values, **named.get("ExpressionAttributeValues", {})}
        return named

    def _named(self, table: Table, expected: Expected | None, request: dict[str, Any]) -> dict[str, Any]:
        return {"TableName": self._names[table], **request, **_condition(expected)}

    def _call(self, call: Callable[..., _T], **request: Any) -> _T:
        self.requests += 1
        try:
            return encoding.decoding(call, request)
        except ClientError as error:
            raise _translate(error) from error
        except BotoCoreError as error:
            raise Unavailable(f"DynamoDB did not answer: {error}") from error

    def _count_units(self, response: Any) -> None:
        self.write_units += sum(used.get("CapacityUnits", 0.0) for used in response.get("ConsumedCapacity", ()))


class _Expression:
    """Placeholders for an UpdateExpression: any attribute name is allowed, none is a reserved word."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, Any] = {}
        self._placeholders: dict[str, str] = {}

    def name(self, attribute: str) -> str:
        placeholder = self._placeholders.setdefault(attribute, f"#a{len(self._placeholders)}")
        self.names[placeholder] = attribute
        return placeholder

    def value(self, value: Any) -> str:
        placeholder = f":a{len(self.values)}"
        self.values[placeholder] = to_attribute(value)
        return placeholder


def _request(consistent: bool, attributes: Sequence[str]) -> dict[str, Any]:
    """What BatchGetItem asks of one table, without keys."""
    request: dict[str, Any] = {"Keys": [], "ConsistentRead": consistent}
    if attributes:
        names = {f"#{i}": name for i, name in enumerate(("pk", "sk", *attributes))}
        request |= {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}
    return request


def _of_kinds(kinds: Sequence[str]) -> dict[str, Any]:
    """What a scan answers of all that it reads."""
    values = {f":k{number}": {"S": kind} for number, kind in enumerate(kinds)}
    return {
        "FilterExpression": " OR ".join(f"#kind = {name}" for name in values),
        "ExpressionAttributeNames": {"#kind": "kind"},
        "ExpressionAttributeValues": values,
    }


def _condition(expected: Expected | None) -> dict[str, Any]:
    match expected:
        case None:
            return {}
        case Absent():
            return {"ConditionExpression": "attribute_not_exists(pk)"}
        case Present():
            return {"ConditionExpression": "attribute_exists(pk)"}
        case Version(number):
            return {
                "ConditionExpression": "#version = :version",
                "ExpressionAttributeNames": {"#version": "version"},
                "ExpressionAttributeValues": {":version": {"N": str(number)}},
            }
        case Unchanged(number, equal):
            return _compared("=", "version", number, equal)
        case Less(attribute, value):
            return {
                "ConditionExpression": "attribute_not_exists(#less) OR #less < :less",
                "ExpressionAttributeNames": {"#less": attribute},
                "ExpressionAttributeValues": {":less": to_attribute(value)},
            }
        case Enough(attribute, amount, equal):
            return _compared(">=", attribute, amount, equal)


def _compared(operator: str, attribute: str, amount: Any, equal: Mapping[str, Any]) -> dict[str, Any]:
    names = {f"#e{n}": name for n, name in enumerate(equal)}
    values = {f":e{n}": to_attribute(value) for n, value in enumerate(equal.values())}
    same = [f"#e{n} = :e{n}" for n in range(len(equal))]
    return {
        "ConditionExpression": " AND ".join([f"#compared {operator} :compared", *same]),
        "ExpressionAttributeNames": {"#compared": attribute, **names},
        "ExpressionAttributeValues": {":compared": to_attribute(amount), **values},
    }


def _key(key: Key) -> dict[str, Any]:
    return {"pk": {"S": key.pk}, "sk": {"S": key.sk}}


def _key_of(item: Mapping[str, Any]) -> Key:
    """Of an item on the wire."""
    return Key(item["pk"]["S"], item["sk"]["S"])


def _translate(error: ClientError) -> NilometerError:
    code = error.response["Error"]["Code"]
    if code == "TransactionCanceledException":
        reasons: Iterable[Mapping[str, Any]] = error.response.get("CancellationReasons", ())
        found = {n: unmarshal(reason["Item"]) for n, reason in enumerate(reasons) if reason.get("Item")}
        return _cancelled([reason.get("Code", "None") for reason in reasons], found)
    if code in _LOST:
        return Cancelled([_LOST[code]])
    if code in _PERMANENT:
        return Rejected("too_large", f"DynamoDB refused the write: {error.response['Error'].get('Message', code)}")
    return Unavailable(
        f"DynamoDB answered {code}; {'check credentials and rights' if code in _DENIED else 'try again'}"
    )


def _cancelled(reasons: Sequence[str], found: Mapping[int, Mapping[str, Any]]) -> NilometerError:
    """A write that the service refuses for what it holds is no race: it would be refused again."""
    if refused := _REFUSED & set(reasons):
        return Rejected("too_large", f"DynamoDB refused the write: {', '.join(sorted(refused))}")
    return Cancelled(reasons, found)


def _pauses() -> Iterator[float]:
    """Full jitter up to 1.6 s, seven tries: for the part of a batch that DynamoDB left undone."""
    return (random.uniform(0, 0.025 * 2**attempt) for attempt in range(7))
