"""Changes of records that people are notified of, and their notifications."""
