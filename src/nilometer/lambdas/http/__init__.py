"""Requests of people and services over HTTP: the API, and the console. Stripe's webhook is separate."""
