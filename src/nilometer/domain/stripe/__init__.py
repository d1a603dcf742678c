"""Stripe's objects as we keep them: from events in any order to one true value an object. See docs/billing.md."""
