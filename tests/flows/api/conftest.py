"""The stacks that services test with, for the tests of the client itself."""

from __future__ import annotations

from nilometer.client.testing.plugin import nilometer_fake, nilometer_stack

__all__ = ["nilometer_fake", "nilometer_stack"]
