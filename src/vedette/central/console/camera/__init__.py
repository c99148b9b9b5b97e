"""A camera's page: what it saw, what not, and why."""
