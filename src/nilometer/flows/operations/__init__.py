"""Operations events of internal services, by type."""
