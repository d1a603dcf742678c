"""The client on an event loop."""
