"""Dead letters, history, trace, verification and rebuild."""
