"""Changes and facts into Delta tables."""
