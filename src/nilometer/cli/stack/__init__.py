"""Commands about a stack: local, demo, doctor, status, cost."""
