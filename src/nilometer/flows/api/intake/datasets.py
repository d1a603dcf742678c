"""`POST /v1/datasets/{dataset}/rows`: a batch of rows, in one event of the bus.

Accepted means durably queued: all of the rows join the dataset once, or none does and the batch is kept as a reject
with its reason. What if the answer is lost? Send the same batch again: it is known by its source and id.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from nilometer.domain.acts.roles import Permission
from nilometer.domain.lake.dataset import check_feeds
from nilometer.flows.api.intake.events import SENDER
from nilometer.flows.api.problem import ApiProblem
from nilometer.flows.api.route import ApiCall, ApiRoute
from nilometer.flows.api.shapes import RowsAnswer
from nilometer.flows.lake.declaring import declared
from nilometer.flows.publish.datasets import send_rows

ROWS = 10_000
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_Rows = Annotated[
    list[msgspec.Raw],
    msgspec.Meta(min_length=1, max_length=ROWS, description="Objects with the declared columns; a file takes more"),
]


class RowsBody(msgspec.Struct, forbid_unknown_fields=True):
    """A batch; `source` and `id` are its own, chosen before it is sent first."""

    id: _Name
    source: _Name
    rows: _Rows


def _append(call: ApiCall) -> RowsAnswer:
    asked, name = call.decoded(RowsBody), call.request.path["dataset"]
    dataset = declared(call.store, name)
    if dataset is None:
        raise ApiProblem(404, "unknown_dataset", f"there is no dataset {name[:80]!r}; declare it first")
    check_feeds(dataset, asked.source)
    send_rows(
        call.means.bus,
        asked.rows,
        dataset=dataset.name,
        batch_id=asked.id,
        source=asked.source,
        now=call.now,
        sender=SENDER,
    )
    return RowsAnswer(len(asked.rows))


ROUTES = (
    ApiRoute(
        method="POST",
        path="/v1/datasets/{dataset}/rows",
        name="append_rows",
        says="Rows for a dataset; accepted is durably queued",
        scope=str(Permission.DATASET_DECLARE),
        run=_append,
        body=RowsBody,
        answer=RowsAnswer,
        of_services=True,
    ),
)
