"""Stripe webhooks and usage events into billing state, counters and an audit lake."""

__version__ = "0.1.0"
