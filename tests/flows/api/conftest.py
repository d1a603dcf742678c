"""The stacks that services test with, for the tests of the client itself, in a month that lasts."""

from __future__ import annotations

from tests.support.events.month import whole_month

from nilometer.client.testing.plugin import nilometer_fake, nilometer_stack

__all__ = ["nilometer_fake", "nilometer_stack", "whole_month"]
