"""The screens of alerts: incidents, and who is told of what, when, by which way."""
