"""Changes and facts on their way into Delta tables."""
