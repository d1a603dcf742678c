"""What an internal service publishes: usage events and dataset batches."""
