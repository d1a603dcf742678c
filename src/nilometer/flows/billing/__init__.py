"""Stripe's events and objects into registers, billing records and facts."""
