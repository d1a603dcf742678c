"""The API described: OpenAPI, and an example of each request."""
