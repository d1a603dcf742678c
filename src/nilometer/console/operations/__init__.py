"""Operations: queues, dead letters, rejects, schedules, checks."""
