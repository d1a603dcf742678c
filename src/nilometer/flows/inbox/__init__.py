"""What every queue consumer shares: the envelope, races, rejects."""
