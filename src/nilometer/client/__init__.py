"""The client of a service: everything over HTTP, with a key, and no right on a table."""
