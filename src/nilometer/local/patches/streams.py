"""Streams of MiniStack: how much fits into a megabyte is found with a third of the CPU."""

from __future__ import annotations

from typing import Any

import msgspec
from ministack.services import dynamodb_streams  # type: ignore[import-untyped]  # it has no types

# MiniStack's functions have no public names.
# ruff: noqa: SLF001

Page = list[dict[str, Any]]


def use() -> None:
    """Pages are cut so from now on."""
    whole, most = dynamodb_streams._cap_page_bytes, dynamodb_streams._GET_RECORDS_MAX_BYTES

    def cutting(page: Page) -> Page:
        size = 0
        for count, record in enumerate(page):
            try:
                size += len(msgspec.json.encode(record))
            except (msgspec.MsgspecError, UnicodeError, TypeError):
                found: Page = whole(page)
                return found
            if count and size > most:
                return page[:count]
        return page

    dynamodb_streams._cap_page_bytes = cutting
