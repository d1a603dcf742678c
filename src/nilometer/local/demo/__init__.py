"""A small company's month, its deliveries and what it costs."""
