"""The data of `dataset.batch_ready.v1`, apart from what reads the rows: describing the event needs no Delta."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from nilometer.aws.landing import PREFIX
from nilometer.flows.inbox.wire import Data, Sha256, Slug

InlineRows = Annotated[list[msgspec.Raw], msgspec.Meta(description="Few rows, in the place of an object")]


class LandedObject(Data):
    """An object below `landing/`, pinned by its ETag: what is written over it later is not read."""

    key: Annotated[str, msgspec.Meta(pattern=f"^{PREFIX}.", max_length=1024)]
    etag: Annotated[str, msgspec.Meta(pattern='^[^"]+$', max_length=256, description="As S3 answered, without quotes")]
    format: Literal["ndjson", "parquet"]
    sha256: Sha256 | None = None
    size: Annotated[int, msgspec.Meta(ge=0)] | None = None


class BatchReady(Data):
    """A batch is ready: all of its rows join the dataset once, or none does. Its `source` and `id` are the batch's."""

    dataset: Slug
    object: LandedObject | msgspec.UnsetType = msgspec.UNSET
    rows: InlineRows | msgspec.UnsetType = msgspec.UNSET
