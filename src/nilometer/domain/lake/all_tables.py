"""Every table of ours: facts and audit, and the books of Stripe's objects."""

from __future__ import annotations

from nilometer.domain.lake.books import BOOKS
from nilometer.domain.lake.tables import TABLES, DeltaTable

ALL_TABLES: dict[str, DeltaTable] = {**TABLES, **BOOKS}
