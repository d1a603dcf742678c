"""CloudEvents, and how each message ends: outcomes and rejects."""
