"""Names for the ids that travel through the system, so that mypy keeps them apart."""

from __future__ import annotations

from typing import NewType

WorkspaceId = NewType("WorkspaceId", str)
CustomerId = NewType("CustomerId", str)
StripeEventId = NewType("StripeEventId", str)
MeterSlug = NewType("MeterSlug", str)
