"""Registers: the merged states of one Stripe object."""
