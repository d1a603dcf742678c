"""Changes of records that people hear of, and their notifications."""
