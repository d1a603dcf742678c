"""Events: live, one by one, and again."""
