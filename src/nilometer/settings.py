"""Environment → frozen settings, every problem reported at once. No other module reads the environment in a Lambda."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import TypeVar

from nilometer.errors import Misconfigured

_T = TypeVar("_T")


def load(settings: type[_T], environment: Mapping[str, str]) -> _T:
    """Fills each field from the variable of its name in capitals. `Misconfigured` names all that are missing.

    A field with a default may be missing.
    """
    wanted = fields(settings)  # type: ignore[arg-type]  # a dataclass below
    names = {one.name: one.name.upper() for one in wanted if environment.get(one.name.upper())}
    missing = [one.name.upper() for one in wanted if one.default is MISSING and one.name not in names]
    if missing:
        raise Misconfigured(
            f"set {', '.join(missing)} in the environment of {settings.__name__.removesuffix('Settings')}"
        )
    return settings(**{name: environment[variable] for name, variable in names.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """The bucket takes events that are too large for an entry of the bus."""

    bus_name: str
    stripe_secret_arn: str
    lake_bucket: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TablesSettings:
    """What usage and operations need."""

    records_table: str
    events_table: str
    lake_bucket: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingSettings(TablesSettings):
    """`billing_scopes` names the accounts and modes whose objects may name workspaces: `self/live acct_1/live`."""

    billing_scopes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsSettings:
    """The function reads both tables by name and writes alerts and reservations."""

    records_table: str
    events_table: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileSettings:
    """Also for refetching. The ARN is that of the secret with a Stripe key that may read."""

    records_table: str
    events_table: str
    stripe_api_key_arn: str
    stripe_api_base: str = ""  # another Stripe than the real one, where a test plays it


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesSettings:
    """From the table's stream to the bus and to the queues of the lake; the key signs rows of the audit."""

    bus_name: str
    lake_stripe_events_queue_url: str
    lake_usage_queue_url: str
    lake_bucket: str
    audit_key_arn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetsSettings:
    """`lake_uri` is where the Delta tables are; the bucket holds batches below `landing/`."""

    records_table: str
    events_table: str
    lake_bucket: str
    lake_uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeSettings:
    """`lake_uri` is where the Delta tables are; the key of the audit proves who wrote a row."""

    lake_bucket: str
    lake_uri: str
    audit_key_arn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceSettings:
    """What compaction, expiry and the sweeps of both tables need; `lake_uri` is where the Delta tables are."""

    records_table: str
    events_table: str
    lake_bucket: str
    lake_uri: str
