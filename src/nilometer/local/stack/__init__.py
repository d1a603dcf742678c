"""One running local stack: runner, status and idle."""
