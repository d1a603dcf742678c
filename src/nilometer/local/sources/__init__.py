"""Event sources of the local stack: HTTP, queues, streams and schedules."""
