"""Settings: one's own account, people, places, and central itself."""
