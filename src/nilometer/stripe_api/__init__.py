"""Stripe over HTTP: the only room that imports its SDK."""
