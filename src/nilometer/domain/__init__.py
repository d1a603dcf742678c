"""What is true. Pure: no clock, environment, logging or I/O; the standard library alone."""
