"""SQL: questions to the lake, read-only and bounded."""
