"""What people and services ask over HTTP: the API, and the console. Stripe's webhook is apart: it tells."""
