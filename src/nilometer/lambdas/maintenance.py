"""The schedule → the maintenance flow → one line a table."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from nilometer.flows import maintenance
from nilometer.lake.append import Lake
from nilometer.lake.storage import storage_options
from nilometer.lambdas.edge import count, logger
from nilometer.settings import LakeSettings, load

_RESERVE_SECONDS = 120.0  # one day's compaction, the checkpoint and the clean-up


def handler(_event: dict[str, Any], context: Any) -> dict[str, Any]:
    settings = load(LakeSettings, os.environ)
    lake = Lake(uri=settings.lake_uri, storage_options=storage_options(os.environ))
    deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - _RESERVE_SECONDS
    reports = []
    for report in maintenance.maintain(lake, now=datetime.now(UTC), deadline=deadline):
        log = logger.warning if report.stopped else logger.info
        log("maintenance.table", extra=asdict(report))
        reports.append(report)
    count("maintenance", ("stopped" if report.stopped else "maintained" for report in reports))
    return {"tables": [asdict(report) for report in reports]}
