"""The list of events, and one event with its evidence."""
