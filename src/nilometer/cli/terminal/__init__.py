"""Connection, caller, output and times of every command."""
