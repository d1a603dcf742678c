"""The HTTP API: one table of routes, and what every request to it is promised."""
