"""The Delta tables, on one page, as data: every column's type, meaning, source and example.

The writer's schema, the row decoder, `docs/lake.md` and the table definitions for other engines all come from here.
Evolution is a declared step: a new column is nullable and carries the `version` that added it; nothing is ever
renamed, retyped or dropped (`tests/lake/write/test_evolution.py`).
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from enum import StrEnum
from functools import partial

PARTITION = "event_date"
DECIMAL_PRECISION = 24
DECIMAL_SCALE = 9


class Type(StrEnum):
    """The type of a column. Each engine has one of its own for it."""

    STRING = "string"
    JSON = "json"  # stored as a string: VARIANT would lift the reader version
    INT64 = "int64"
    TIMESTAMP = "timestamp"  # microseconds, UTC
    DATE = "date"
    DECIMAL = "decimal"  # (24, 9)
    BOOL = "bool"
    DOUBLE = "double"


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `stamped` columns are filled by the writer and are not part of a row that is sent to it."""

    type: Type
    name: str
    meaning: str
    source: str
    example: str
    _: KW_ONLY
    nullable: bool = False
    stamped: bool = False
    statistics: bool = False
    version: int = 1


_text = partial(Column, Type.STRING)
_id = partial(Column, Type.STRING, statistics=True)
_instant = partial(Column, Type.TIMESTAMP, statistics=True)
_json = partial(Column, Type.JSON, nullable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaTable:
    """One table. A row is identified by `key`; two rows of one key have the same `created`, so the same partition.

    Connector datasets (`domain.lake.dataset`) are not partitioned, or by a column of their own (`partition_by`), and
    not all of them are append-only.
    """

    name: str
    meaning: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    partitioned: bool = True
    partition_by: str | None = None
    append_only: bool = True

    @property
    def version(self) -> int:
        """Of the declaration: the newest step among its columns."""
        return max(column.version for column in self.columns)

    def at(self, version: int) -> DeltaTable:
        """The declaration as it was after the step `version`."""
        columns = tuple(column for column in self.columns if column.version <= version)
        return DeltaTable(name=self.name, meaning=self.meaning, key=self.key, columns=columns)

    def column(self, name: str) -> Column:
        """By name; `StopIteration` when there is none."""
        return next(column for column in self.columns if column.name == name)


def day_column(of: str) -> Column:
    """The partition."""
    return Column(Type.DATE, PARTITION, f"UTC day of {of}; the partition", "`created`", "2026-11-23", stamped=True)


def created_column(of: str) -> Column:
    """The time that decides on the partition."""
    meaning = f"{of} in epoch seconds; some engines prune files on this only"
    return Column(Type.INT64, "created", meaning, "the event itself; immutable", "1795407245", statistics=True)


def recorded_column() -> Column:
    """The writer's stamp."""
    return _instant(
        "recorded_at",
        "When the writer committed the row",
        "the writer's clock",
        "2026-11-23T04:14:09.512Z",
        stamped=True,
    )


STRIPE_EVENTS = DeltaTable(
    name="stripe_events",
    meaning="Every Stripe event, once, redacted.",
    key=("event_id", "account"),
    columns=(
        day_column("the event's creation at Stripe"),
        _id("event_id", "Stripe's event id", "`id`", "evt_1SWfA2KZ9dQ"),
        _text("type", "Stripe's event type", "`type`", "invoice.paid"),
        _text("account", "Connected account, or `self`", "`account`", "self"),
        Column(Type.BOOL, "livemode", "False in a sandbox", "`livemode`", "true"),
        _text("api_version", "Version that rendered the payload", "`api_version`", "2026-10-28.endive", nullable=True),
        created_column("Creation at Stripe"),
        _instant("created_at", "Creation at Stripe", "`created`", "2026-11-23T04:14:05Z"),
        _text("object_type", "Type of the object", "`data.object.object`", "invoice", nullable=True),
        _text("object_id", "Id of the object", "`data.object.id`", "in_1SWfA1KZ9dQ", nullable=True),
        _text("customer_id", "Stripe customer of the object", "`data.object.customer`", "cus_TTw9", nullable=True),
        _text("workspace_id", "Workspace as known on arrival", "the customer's link", "ws_01H8XG", nullable=True),
        _text("request_id", "API request that caused the event", "`request.id`", "req_9AbC", nullable=True),
        _text("source", "How it came: webhook, partner or backfill", "the receiving flow", "webhook"),
        _instant("received_at", "When it arrived here", "the bus", "2026-11-23T04:14:06.120Z"),
        recorded_column(),
        _json("payload", "The whole event, redacted", "Stripe", '{"id": "evt_1SWfA2KZ9dQ", "type": "invoice.paid"}'),
        _text(
            "payload_ref",
            "S3 key of the redacted payload when it is too large for a row",
            "the changes flow",
            "payloads/9f86d081884c7d65",
            nullable=True,
        ),
    ),
)

USAGE = DeltaTable(
    name="usage",
    meaning="Every usage event that was counted, once. The sum of a meter's rows is its counter.",
    key=("source", "event_id"),
    columns=(
        day_column("the usage"),
        _id("event_id", "The producer's id", "CloudEvents `id`", "req_01JD8Q2Z5K"),
        _text("source", "The producer", "CloudEvents `source`", "/services/inference"),
        _text("type", "Event type", "CloudEvents `type`", "usage.recorded.v1"),
        _id("workspace_id", "Workspace that used it", "CloudEvents `subject`", "ws_01H8XG"),
        _text("meter", "Slug of the meter", "`data.meter`", "api_calls"),
        Column(
            Type.DECIMAL,
            "quantity",
            "How much, exactly; negative when a void takes usage back",
            "`data.quantity`",
            "1532.000000000",
        ),
        _text("unit", "Unit of the meter", "`data.unit`", "call", nullable=True),
        _json("dimensions", "Declared dimensions", "`data.dimensions`", '{"model": "m-large"}'),
        _instant("time", "When it was used", "CloudEvents `time`", "2026-11-23T04:14:05.123Z"),
        created_column("`time`"),
        _instant(
            "period_start", "Start of the period that it counts in", "billing", "2026-11-01T00:00:00Z", nullable=True
        ),
        _text(
            "voids_source",
            "Producer of the event that this one voids",
            "`data.source`",
            "/services/inference",
            nullable=True,
        ),
        _text("voids_id", "Id of the event that this one voids", "`data.id`", "req_01JD8Q2Z5K", nullable=True),
        _instant("received_at", "When it arrived here", "the bus", "2026-11-23T04:14:06.120Z"),
        recorded_column(),
    ),
)

AUDIT = DeltaTable(
    name="audit",
    meaning="Every change of every record, once, with its images. Folded by key it is the state as of any time.",
    key=("change_id",),
    columns=(
        day_column("the change"),
        _id("change_id", "Hash of stream and sequence number", "DynamoDB stream", "5f16c1e2a4b84d0f9a3c7e21b6d85f40"),
        _text("table_name", "Table that changed", "DynamoDB stream", "records"),
        _text("kind", "Kind of the record", "`kind`", "billing"),
        _id("pk", "Partition key", "`pk`", "WORKSPACE#ws_01H8XG"),
        _text("sk", "Sort key", "`sk`", "BILLING"),
        _text("workspace_id", "Workspace of the record", "`workspace_id`", "ws_01H8XG", nullable=True),
        _text("action", "INSERT, MODIFY, REMOVE, or EXPIRED when TTL removed it", "DynamoDB stream", "MODIFY"),
        _json("changed_fields", "Names of the attributes that differ", "both images", '["plan", "status"]'),
        _json("old_image", "The record before, redacted; null on INSERT", "DynamoDB stream", '{"plan": "free"}'),
        _json("new_image", "The record after, redacted; null on removal", "DynamoDB stream", '{"plan": "team"}'),
        _text(
            "images_ref",
            "S3 key of both images when they are too large for a row",
            "the changes flow",
            "payloads/9f86d081884c7d65",
            nullable=True,
        ),
        _text("actor", "Who did it", "`actor`", "user_42", nullable=True),
        _text("cause", "Event that caused it", "`cause`", "evt_1SWfA2KZ9dQ", nullable=True),
        _text(
            "sequence_number",
            "Order of a record's changes of one second; 40 digits, so that it sorts as text",
            "DynamoDB stream",
            "0000000000017954072450000000000000000017",
        ),
        _instant("occurred_at", "When the table changed, to the second", "DynamoDB stream", "2026-11-23T04:14:07Z"),
        created_column("`occurred_at`"),
        recorded_column(),
        _text(
            "proof",
            "MAC of the row by a key of the relay; null in rows from before there were proofs",
            "the changes flow",
            "1.5f0c9a1b.0d5e1f6a7b8c9d0e1f2a3b4c5d6e7f80",
            nullable=True,
            version=2,
        ),
    ),
)

TABLES = {table.name: table for table in (STRIPE_EVENTS, USAGE, AUDIT)}
