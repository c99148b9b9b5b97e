"""A device's page: how the machine is, what happened to it, and what can be asked of it."""
