"""The tables in memory: those of `nilometer.client.testing`, and how an attribute is read."""

from __future__ import annotations

from nilometer.aws.items import from_attribute
from nilometer.client.testing.memory import Items, MemoryObjects, MemoryStore

__all__ = ["Items", "MemoryObjects", "MemoryStore", "from_attribute"]
